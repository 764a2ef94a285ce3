"""What follows from a network's name alone is what the built network has."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from resnet_repro.networks.architecture import architecture
from resnet_repro.networks.network import build_network

NETWORKS = (
    *("plain-8", "resnet-20", "resnet-20-b", "resnet-14-c", "resnet-56", "resnet-50-cifar"),
    *("plain-18", "resnet-18-a", "resnet-34-b", "resnet-34-c", "plain-50"),
    *("resnet-50", "resnet-50-a", "resnet-50-c", "resnet-50-v1.5", "resnet-101"),
)


@pytest.mark.parametrize("network", NETWORKS)
def test_observed_layers_are_those_of_the_built_network(network: str) -> None:
    with torch.device("meta"):
        built = build_network(network, 7)
    convolutions = {n: m for n, m in built.named_modules() if isinstance(m, nn.Conv2d)}
    found = architecture(network)
    wide = [name for name, module in convolutions.items() if module.kernel_size == (3, 3)]
    assert found.observed == tuple(name.replace("conv", "bn") for name in wide)
