"""From a network's name to the network: plain and residual ones, and those compared with."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from resnet_repro.networks.architecture import Architecture, architecture
from resnet_repro.networks.blocks import (
    BasicBlock,
    BatchNormSettings,
    Bottleneck,
    ZeroChannels,
    make_shortcut,
    pool_and_flatten,
)
from resnet_repro.spec.network_names import parse_network

__all__ = ["Network", "build_network"]


class Network(nn.Module):
    """A plain or residual network, with torchvision's parameter names.

    Maps [N, 3, H, W] (mean subtracted; the paper's H and W are `architecture.side`) to logits
    [N, classes].
    """

    def __init__(
        self,
        architecture: Architecture,
        classes: int | None = None,
        norm: BatchNormSettings | None = None,
        zero_channels: ZeroChannels = "end",
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.norm, self.zero_channels = norm or BatchNormSettings(), zero_channels
        kernel, channels, stride, _ = architecture.stem
        self.conv1 = nn.Conv2d(3, channels, kernel, stride, padding=kernel // 2, bias=False)
        self.bn1 = self.norm(channels)
        for stage, (width, count) in enumerate(
            zip(architecture.widths, architecture.blocks, strict=True), start=1
        ):
            strides = [2 if stage > 1 else 1] + [1] * (count - 1)
            blocks = []
            for stride in strides:
                blocks.append(self._block(channels, width, stride))
                channels = width * architecture.expansion
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self.fc = nn.Linear(channels, classes or architecture.classes)

    def _block(self, channels: int, width: int, stride: int) -> nn.Module:
        built = self.architecture
        out = width * built.expansion
        shortcut = make_shortcut(built.option, channels, out, stride, self.norm, self.zero_channels)
        if built.block == "basic":
            return BasicBlock(channels, width, stride, self.norm, shortcut)
        return Bottleneck(channels, width, stride, self.norm, shortcut, built.stride_in_3x3)

    def features(self, x: Tensor) -> Tensor:
        """The final map of a batch of images: [N, channels, h, w]."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        if self.architecture.stem.pooled:
            x = F.max_pool2d(x, 3, stride=2, padding=1)
        for stage in range(1, len(self.architecture.blocks) + 1):
            x = getattr(self, f"layer{stage}")(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of images."""
        return self.fc(pool_and_flatten(self.features(x)))


def build_network(
    network: str,
    classes: int | None = None,
    norm: BatchNormSettings | None = None,
    zero_channels: ZeroChannels = "end",
) -> nn.Module:
    """Build a network by name, by default for 10 (CIFAR family) or 1000 classes (ImageNet).

    Those that are only compared with (`networks.compared`) have neither shortcuts nor BN of ours:
    the last two arguments do not concern them.

    Raises:
        ConfigError: there is no such network.
    """
    built = architecture(network)
    if built.blocks:
        return Network(built, classes, norm, zero_channels)
    from resnet_repro.networks.compared import build_compared  # torchvision takes a second

    return build_compared(parse_network(network).label, classes or built.classes)
