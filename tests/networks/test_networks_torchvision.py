"""Weights travel: the same state dict gives the same output as torchvision's networks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from resnet_repro.networks.network import build_network

TWINS = {
    "resnet-18-b": models.resnet18,
    "resnet-34-b": models.resnet34,
    "resnet-50-v1.5": models.resnet50,
    "resnet-101-v1.5": models.resnet101,
    "resnet-152-v1.5": models.resnet152,
}


def on_meta(network: str) -> tuple[nn.Module, nn.Module]:
    """(ours, torchvision's), without weights."""
    with torch.device("meta"):
        return build_network(network), TWINS[network]()


def random_weights(shapes: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights, and statistics as of a trained network, that keep signals in range."""
    generator = torch.Generator().manual_seed(5)
    weights = {}
    for name, like in shapes.items():
        if like.dim() > 1:
            values = torch.randn(like.shape, generator=generator) * (2 / like[0].numel()) ** 0.5
        elif name.endswith(("running_var", "weight")):
            values = 0.5 + torch.rand(like.shape, generator=generator)
        else:
            values = torch.randn(like.shape, generator=generator) * 0.2
        weights[name] = torch.tensor(0) if name.endswith("num_batches_tracked") else values
    return weights


def assert_same_outputs(ours: nn.Module, theirs: nn.Module) -> None:
    """The same logits from the same weights, with batch statistics and with running ones."""
    weights = random_weights(theirs.state_dict())
    for network in (ours, theirs):
        network.load_state_dict({k: v.clone() for k, v in weights.items()}, assign=True)
    images = torch.randn(3, 3, 40, 33, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for training in (True, False):
            a, b = ours.train(training)(images), theirs.train(training)(images)
            assert a.shape == (3, 1000)
            assert a.std() > 0.01
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4 * a.std().item())


@pytest.mark.parametrize("network", TWINS)
def test_parameter_names_and_shapes_are_torchvisions(network: str) -> None:
    ours, theirs = (
        {name: tuple(value.shape) for name, value in model.state_dict().items()}
        for model in on_meta(network)
    )
    assert ours == theirs


@pytest.mark.parametrize("network", ["resnet-18-b", "resnet-34-b", "resnet-50-v1.5"])
def test_the_output_is_torchvisions(network: str) -> None:
    """Deeper ones have more of the last one's blocks: their names and shapes are compared above."""
    assert_same_outputs(*on_meta(network))


def test_the_papers_resnet_50_has_its_stride_in_the_first_1x1() -> None:
    with torch.device("meta"):
        ours, theirs = build_network("resnet-50"), models.resnet50()
    for stage in (theirs.layer2, theirs.layer3, theirs.layer4):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    assert_same_outputs(ours, theirs)


def test_plain_34_is_resnet_34_without_its_shortcuts() -> None:
    with torch.device("meta"):
        ours, theirs = build_network("plain-34"), models.resnet34()
    for module in theirs.modules():
        if isinstance(module, models.resnet.BasicBlock):
            module.downsample = Nothing()
    assert_same_outputs(ours, theirs)


class Nothing(nn.Module):
    def forward(self, _: Tensor) -> float:
        return 0.0
