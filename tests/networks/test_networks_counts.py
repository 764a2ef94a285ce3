"""Counts that others print or report of networks beside the paper's, from their definitions.

The networks that are built here are in `test_networks_compared.py` and `test_networks_cost.py`. The
CIFAR networks below are not: their layers are written out, and agree with what is reported of them.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models
from torchvision.models.googlenet import InceptionAux

from resnet_repro.networks.compared import GoogLeNetConv
from resnet_repro.networks.layer import Layer


def densenet(depth: int, growth: int, *, bottleneck: bool) -> Iterator[Layer]:
    """Huang et al. 2017 on CIFAR-10: three blocks; BC has bottlenecks and halves in transitions."""
    channels, side = 2 * growth if bottleneck else 16, 32
    yield Layer("conv", "", 3, 1, 3, channels, side, 0)
    for block in range(3):
        for _ in range((depth - 4) // (6 if bottleneck else 3)):
            inputs = channels
            if bottleneck:
                yield Layer("conv", "", 1, 1, channels, 4 * growth, side, channels)
                inputs = 4 * growth
            yield Layer("conv", "", 3, 1, inputs, growth, side, inputs)
            channels += growth
        if block < 2:
            after = channels // 2 if bottleneck else channels
            yield Layer("conv", "", 1, 1, channels, after, side, channels)
            channels, side = after, side // 2
    yield Layer("avg pool", "", 0, 1, channels, channels, 1, channels)
    yield Layer("fc", "", 0, 1, channels, 10, 1)


def network_in_network() -> Iterator[Layer]:
    """Lin et al. 2014, as it is commonly built: nine convolutions."""
    channels, side = 3, 32
    for kernels, widths in (
        ((5, 1, 1), (192, 160, 96)),
        ((5, 1, 1), (192, 192, 192)),
        ((3, 1, 1), (192, 192, 10)),
    ):
        for kernel, width in zip(kernels, widths, strict=True):
            yield Layer("conv", "", kernel, 1, channels, width, side)
            channels = width
        side //= 2


@pytest.mark.parametrize(
    ("layers", "parameters", "mega_multiply_adds"),
    [
        (densenet(40, 12, bottleneck=False), 1_019_722, 265),
        (densenet(100, 12, bottleneck=False), 6_979_642, None),
        (densenet(100, 12, bottleneck=True), 769_162, 288),
        (densenet(250, 24, bottleneck=True), 15_324_406, None),
        (densenet(190, 40, bottleneck=True), 25_624_430, None),
        (network_in_network(), 966_986, 223),
    ],
    ids=["40-12", "100-12", "bc-100-12", "bc-250-24", "bc-190-40", "nin"],
)
def test_other_cifar_networks(
    layers: Iterator[Layer], parameters: int, mega_multiply_adds: int | None
) -> None:
    found = list(layers)
    assert sum(layer.parameters for layer in found) == parameters
    if mega_multiply_adds:
        cost = sum(layer.multiply_adds for layer in found)
        assert abs(cost / 1e6 - mega_multiply_adds) < 1


@pytest.mark.parametrize(("channels", "parameters"), [(512, 3_188_840), (528, 3_190_888)])
def test_the_heads_that_googlenet_is_built_without(channels: int, parameters: int) -> None:
    head = InceptionAux(channels, 1000, conv_block=GoogLeNetConv)
    assert sum(p.numel() for p in head.parameters()) == parameters


def test_torchvisions_networks_that_are_not_those_of_a_paper() -> None:
    """GoogLeNet with its heads, and Inception v3, which is no BN-Inception."""
    with torch.device("meta"):
        with_heads = models.googlenet(init_weights=False, aux_logits=True)
        inception = models.inception_v3(init_weights=False, aux_logits=False).eval()
        images = torch.empty(1, 3, 299, 299)
    assert sum(weights.numel() for weights in with_heads.parameters()) == 13_004_888
    assert sum(weights.numel() for weights in inception.parameters()) == 23_834_568
    with FlopCounterMode(display=False) as flops:
        inception(images)
    assert flops.get_total_flops() / 2e9 == pytest.approx(5.713, abs=5e-4)
