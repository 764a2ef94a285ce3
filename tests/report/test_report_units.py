"""Drawings of blocks step by step: what is drawn is what the built block computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from matplotlib.patches import FancyBboxPatch, PathPatch
from torch.overrides import TorchFunctionMode

from resnet_repro.base.errors import ConfigError
from resnet_repro.networks.architecture import BlockOrder, architecture
from resnet_repro.networks.network import build_network
from resnet_repro.report.figures.drawing import blocks_figure
from resnet_repro.report.figures.units import steps
from resnet_repro.spec.loading import load_experiment

KINDS = {
    "conv2d": "weight",
    "batch_norm": "BN",
    "relu": "ReLU",
    "add": "+",
    "__add__": "+",
    "add_": "+",
    "__iadd__": "+",
}
NETWORKS = (
    *("resnet-14", "resnet-14-bn-after-add", "resnet-14-relu-before-add", "preact-14-relu-only"),
    *("preact-14", "resnet-164", "preact-164", "resnet-164-bn-after-add", "preact-164-relu-only"),
    *("resnet-14-half-shortcut", "resnet-14-dropout-shortcut"),
)


class Recorder(TorchFunctionMode):
    """Writes down which steps of a block are computed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: list[str] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, "__name__", "")
        before = len(self.kinds)
        result = func(*args, **(kwargs or {}))
        if name in KINDS and len(self.kinds) == before:  # the outermost one only
            self.kinds.append(KINDS[name])
        return result


def test_every_order_of_a_block_is_among_them() -> None:
    assert {architecture(network).order for network in NETWORKS} == set(get_args(BlockOrder))


@pytest.mark.parametrize("network", NETWORKS)
def test_the_steps_are_those_that_are_computed(network: str) -> None:
    model = build_network(network).eval()
    block = model.get_submodule("layer1.1")  # dimensions stay
    inputs = torch.randn(1, 64 if "164" in network else 16, 8, 8)
    with torch.no_grad(), Recorder() as recorder:
        block(inputs)
    drawn = steps(architecture(network))
    assert [step.kind for step in drawn] == recorder.kinds
    weights = [step for step in drawn if step.kind == "weight"]
    for number, step in enumerate(weights, start=1):
        convolution = block.get_submodule(f"conv{number}")
        assert (step.kernel, step.outputs) == (
            convolution.kernel_size[0],  # type: ignore[index,union-attr]
            convolution.out_channels,
        )


def words(networks: tuple[str, ...]) -> list[str]:
    return [text.get_text() for text in blocks_figure(networks).axes[0].texts]


def test_what_impedes_a_shortcut_is_written_on_it() -> None:
    assert "× (1 − g(x))" in words(("resnet-110-exclusive-gate",))
    assert "× g(x)" in words(("resnet-110-exclusive-gate",))
    assert "× g(x)" not in words(("resnet-110-shortcut-gate",))
    assert "dropout 0.5" in words(("resnet-110-dropout-shortcut",))
    assert words(("resnet-110-half-both",)).count("× 0.5") == 2
    assert "1x1 conv" in words(("preact-110", "resnet-110-c"))
    assert "1x1 conv, × 0.5" in words(("resnet-110-c-half-shortcut",))


def test_a_plain_block_is_none() -> None:
    with pytest.raises(ConfigError, match="no block with a shortcut"):
        blocks_figure(("preact-20", "plain-20"))


@pytest.mark.parametrize(
    ("network", "activations"),
    [("preact-20-c", 1), ("preact-20-c-relu-only", 1), ("resnet-20-c", 0), ("preact-20", 0)],
)
def test_a_projection_takes_what_the_first_layer_takes(network: str, activations: int) -> None:
    """The shortcut leaves x above the first box, or below the block's first activation."""
    axes = blocks_figure((network, "preact-20")).axes[0]
    curve = next(patch for patch in axes.patches if isinstance(patch, PathPatch))
    x, leaves = curve.get_path().vertices[0]
    boxes = [one.get_bbox() for one in axes.patches if isinstance(one, FancyBboxPatch)]
    above = [one for one in boxes if one.x0 < x < one.x1 and one.y0 > leaves]
    kinds = [step.kind for step in steps(architecture(network))]
    assert len(above) == (kinds.index("ReLU") + 1 if activations else 0)


@pytest.mark.parametrize("name", ["preact-fig2", "preact-fig4", "preact-164"])
def test_drawings_fit_their_page(name: str) -> None:
    plot = None if name == "preact-164" else load_experiment(name).plot
    axes = blocks_figure(plot.networks if plot else (name,)).axes[0]  # type: ignore[union-attr]
    assert axes.texts
    assert all(0 <= text.get_position()[1] <= axes.get_ylim()[1] for text in axes.texts)
    assert min(patch.get_window_extent().y0 for patch in axes.patches) > 0
