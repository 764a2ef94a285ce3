"""Outlines (what is drawn and tabulated) against the networks that are trained."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from resnet_repro.networks.architecture import BlockOrder, architecture
from resnet_repro.networks.layer import Layer
from resnet_repro.networks.network import build_network
from resnet_repro.networks.outline import folded, outline
from resnet_repro.spec.network_names import COMPARED

NETWORKS = (
    *("plain-20", "resnet-20", "resnet-110", "resnet-56-b", "resnet-32-c", "plain-18", "plain-34"),
    *("plain-50", "resnet-18-a", "resnet-34-a", "resnet-34-b", "resnet-34-c", "resnet-50-a"),
    *("resnet-50", "resnet-50-c", "resnet-50-v1.5", "resnet-101", "resnet-101-v1.5", "resnet-152"),
    "resnet-152-v1.5",
    *COMPARED,
    *("preact-20", "preact-164", "resnet-164", "resnet-20-relu-before-add", "preact-20-relu-only"),
    *("resnet-20-exclusive-gate", "resnet-20-dropout-shortcut", "resnet-164-bn-after-add"),
)


def paper_sized(network: str) -> tuple[nn.Module, torch.Tensor]:
    """A network without weights, and an image of the paper's size."""
    side = architecture(network).side
    with torch.device("meta"):
        return build_network(network).eval(), torch.empty(1, 3, side, side)


def torch_counts(model: nn.Module, image: torch.Tensor) -> tuple[int, int]:
    """Trainable parameters, and multiply-adds of convolutions and classifier for one image."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    parameters = sum(p.numel() for p in model.parameters())
    return parameters, counter.get_total_flops() // 2  # two operations per multiply-add


def test_every_order_of_a_block_is_among_them() -> None:
    assert {architecture(network).order for network in NETWORKS} == set(get_args(BlockOrder))


@pytest.mark.parametrize("network", NETWORKS)
def test_an_outline_is_the_module_tree_and_costs_what_it_does(network: str) -> None:
    """Same names, kinds, widths, strides and sizes of maps, in the same order."""
    found = outline(network)
    model, image = paper_sized(network)
    seen: dict[str, tuple[int, int, tuple[int, ...], int]] = {}

    def record(name: str) -> object:
        def hook(module: nn.Module, _: object, output: torch.Tensor) -> None:
            assert isinstance(module, nn.Conv2d | nn.Linear)
            conv = isinstance(module, nn.Conv2d)
            window = (module.kernel_size[0], module.stride[0]) if conv else (0, 1)
            side = output.shape[-1] if conv else 1
            seen[name] = (*window, tuple(module.weight.shape), side)

        return hook

    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(record(name))  # type: ignore[arg-type]
    assert (found.parameters, found.multiply_adds) == torch_counts(model, image)

    def row(layer: Layer) -> tuple[int, int, tuple[int, ...], int]:
        return (layer.kernel, layer.stride, layer.shape, layer.side)

    weighted = [layer for layer in found.layers if layer.name]
    projections = [layer for shortcut in found.shortcuts for layer in shortcut.layers]
    assert {layer.name: row(layer) for layer in (*weighted, *projections)} == seen
    main = [name for name in seen if "downsample" not in name and not name.endswith("gate")]
    assert [layer.name for layer in weighted] == main


def test_torch_counts_what_torchvision_publishes_of_resnet_50() -> None:
    """Whose strides are in the 3x3 convolutions; the other sizes are `test_networks_cost.py`'s."""
    parameters, multiply_adds = torch_counts(*paper_sized("resnet-50-v1.5"))
    assert (parameters, round(multiply_adds / 1e9, 3)) == (25_557_032, 4.089)


@pytest.mark.parametrize("network", [*NETWORKS, "resnet-1202"])
def test_parameters_for_other_classes_are_counted_without_building(network: str) -> None:
    with torch.device("meta"):
        model = build_network(network, 7)
    assert outline(network, None, 7).parameters == sum(p.numel() for p in model.parameters())


def test_shortcuts_are_dotted_where_fig_3_dots_them() -> None:
    found = outline("resnet-34-a")
    assert len(found.shortcuts) == 16
    widths = [found.layers[s.first].outputs for s in found.shortcuts if s.resized]
    assert widths == [128, 256, 512]
    assert all(s.last == s.first + 1 for s in found.shortcuts)
    assert not outline("plain-34").shortcuts


@pytest.mark.parametrize(
    ("network", "repeats"), [("resnet-152", [2, 7, 35, 2]), ("plain-110", [18, 17, 17])]
)
def test_equal_blocks_are_folded_with_their_number(network: str, repeats: list[int]) -> None:
    whole = outline(network)
    found = folded(whole)
    assert [times for *_, times in found.repeats] == repeats
    hidden = sum((last - first + 1) * (times - 1) for first, last, times in found.repeats)
    assert len(found.layers) + hidden == len(whole.layers)


def test_layers_read_as_in_the_figure() -> None:
    texts = [layer.text for layer in outline("resnet-34-a").layers]
    assert texts[:3] == ["7x7 conv, 64, /2", "pool, /2", "3x3 conv, 64"]
    assert texts[-2:] == ["avg pool", "fc 1000"]
    assert texts.count("3x3 conv, 128, /2") == 1
