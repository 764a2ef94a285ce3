"""From a network's name to the network: plain and residual ones, and those compared with."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from resnet_repro.networks.architecture import Architecture, architecture
from resnet_repro.networks.blocks import (
    BasicBlock,
    BatchNorm,
    Bottleneck,
    Norm,
    make_shortcut,
    norm_relu,
)
from resnet_repro.networks.orders import BLOCKS, ImpededBlock
from resnet_repro.spec.network_names import parse_classifier
from resnet_repro.spec.recipe_parts import ZeroChannels

__all__ = ["Network", "build_network"]


class Network(nn.Module):
    """A plain or residual network, with torchvision's parameter names where it has them.

    Maps [N, 3, H, W] (mean subtracted; the paper's H and W are `architecture.side`) to logits
    [N, classes].
    """

    def __init__(
        self,
        architecture: Architecture,
        classes: int | None = None,
        norm: Norm = BatchNorm,
        zero_channels: ZeroChannels = "end",
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.norm, self.zero_channels = norm, zero_channels
        kernel, channels, stride, _ = architecture.stem
        self.conv1 = nn.Conv2d(3, channels, kernel, stride, padding=kernel // 2, bias=False)
        if not architecture.norm_first:
            self.bn1 = self.norm(channels)
        for stage, (width, count) in enumerate(
            zip(architecture.widths, architecture.blocks, strict=True), start=1
        ):
            blocks = []
            for number in range(count):
                stride = 2 if stage > 1 and number == 0 else 1
                blocks.append(self._block(channels, width, stride, first=stage + number == 1))
                channels = width * architecture.expansion
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        if architecture.norm_first:
            self.bn_last = self.norm(channels)
        self.fc = nn.Linear(channels, classes or architecture.classes)

    def _block(self, channels: int, width: int, stride: int, first: bool) -> nn.Module:
        built, norm = self.architecture, self.norm
        shortcut = make_shortcut(
            built.option, channels, width * built.expansion, stride, norm, self.zero_channels
        )
        if shortcut is not None and built.order != "original":
            shapes = built.convolutions(width, stride)
            return BLOCKS[built.order](channels, shapes, norm, shortcut, first)
        if shortcut is not None and built.impeded:
            return ImpededBlock(channels, width, stride, norm, shortcut, built.impeded)
        if built.block == "basic":
            return BasicBlock(channels, width, stride, norm, shortcut)
        return Bottleneck(channels, width, stride, norm, shortcut, built.stride_in_3x3)

    def features(self, x: Tensor) -> Tensor:
        """The final map of a batch of images: [N, channels, h, w]."""
        built, x = self.architecture, self.conv1(x)
        if built.order == "relu-only":  # its first block begins with a ReLU
            x = self.bn1(x)
        elif not built.norm_first:  # a block that begins with a BN needs none before it
            x = norm_relu(self.bn1, x)
        if built.stem.pooled:
            x = F.max_pool2d(x, 3, stride=2, padding=1)
        for stage in range(1, len(built.blocks) + 1):
            x = getattr(self, f"layer{stage}")(x)
        if built.norm_first:
            return norm_relu(self.bn_last, x)
        return F.relu(x) if built.order == "relu-only" else x

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of images."""
        return self.fc(F.adaptive_avg_pool2d(self.features(x), 1).flatten(1))


def build_network(
    network: str,
    classes: int | None = None,
    norm: Norm = BatchNorm,
    zero_channels: ZeroChannels = "end",
) -> nn.Module:
    """Build a network by name, by default for 10 (CIFAR family) or 1000 classes (ImageNet).

    Those that are only compared with (`networks.compared`) have neither shortcuts nor BN of ours:
    the last two arguments do not concern them.

    Raises:
        ConfigError: there is no such network, or it is a detector (`networks.detector`).
    """
    name = parse_classifier(network)
    built = architecture(network)
    if built.blocks:
        return Network(built, classes, norm, zero_channels)
    from resnet_repro.networks.compared import build_compared  # torchvision takes a second

    return build_compared(name.label, classes or built.classes)
