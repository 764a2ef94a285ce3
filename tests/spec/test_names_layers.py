"""What is computed of a network from its name alone is what the built network has."""

from __future__ import annotations

import pytest
import torch

from resnet_repro.measure.responses import response_layers as layers_of
from resnet_repro.networks.factory import build_network
from resnet_repro.networks.layers import parameters, response_layers

NETWORKS = (
    *("plain-8", "resnet-20", "resnet-20-b", "resnet-14-c", "resnet-56", "resnet-50-cifar"),
    *("plain-18", "resnet-18-a", "resnet-34-b", "resnet-34-c", "plain-50"),
    *("resnet-50", "resnet-50-a", "resnet-50-c", "resnet-50-v1.5", "resnet-101"),
)


@pytest.mark.parametrize("network", NETWORKS)
def test_parameters_and_layers_are_those_of_the_built_network(network: str) -> None:
    with torch.device("meta"):
        built = build_network(network, 7)
    assert parameters(network, 7) == sum(p.numel() for p in built.parameters())
    assert response_layers(network) == tuple(name for name, _ in layers_of(built))


def test_a_network_that_is_only_evaluated_has_none() -> None:
    with pytest.raises(ValueError, match="never trained"):
        parameters("vgg-16", 1000)
