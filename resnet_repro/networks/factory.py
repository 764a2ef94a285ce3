"""From a network's name to the network."""

from __future__ import annotations

from torch import nn

from resnet_repro.networks.blocks import BatchNormSettings, ZeroChannels
from resnet_repro.networks.cifar import CifarNetwork
from resnet_repro.networks.imagenet import ImageNetNetwork
from resnet_repro.networks.vgg import make_vgg16
from resnet_repro.spec.network_names import parse_network

__all__ = ["build_network"]


def build_network(
    network: str,
    classes: int | None = None,
    norm: BatchNormSettings | None = None,
    zero_channels: ZeroChannels = "end",
) -> nn.Module:
    """Build a network by name, by default for 10 (CIFAR family) or 1000 classes (ImageNet).

    VGG-16 has neither BN nor shortcuts: the last two arguments do not concern it.

    Raises:
        ConfigError: there is no such network.
    """
    name = parse_network(network)
    if name.family == "cifar":
        return CifarNetwork(name, classes or 10, norm, zero_channels)
    if name.kind == "vgg":
        return make_vgg16(classes or 1000)
    return ImageNetNetwork(name, classes or 1000, norm, zero_channels)
