"""The CIFAR-10 networks of section 4.2: 6n+2 layers, 16/32/64 filters on 32/16/8 maps."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from resnet_repro.networks.blocks import (
    BasicBlock,
    BatchNormSettings,
    ZeroChannels,
    conv3x3,
    make_shortcut,
    pool_and_flatten,
)
from resnet_repro.spec.network_names import NetworkName

__all__ = ["CifarNetwork"]

WIDTHS = (16, 32, 64)


class CifarNetwork(nn.Module):
    """A plain or residual network of 6n+2 weighted layers for 32x32 images.

    Maps [N, 3, 32, 32] (mean subtracted) to logits [N, classes].
    """

    def __init__(
        self,
        name: NetworkName,
        classes: int = 10,
        norm: BatchNormSettings | None = None,
        zero_channels: ZeroChannels = "end",
    ) -> None:
        super().__init__()
        norm = norm or BatchNormSettings()
        blocks_per_stage = (name.depth - 2) // 6
        self.conv1 = conv3x3(3, WIDTHS[0])
        self.bn1 = norm(WIDTHS[0])
        channels = WIDTHS[0]
        stages: list[nn.Sequential] = []
        for stage, width in enumerate(WIDTHS):
            blocks = []
            for index in range(blocks_per_stage):
                stride = 2 if stage > 0 and index == 0 else 1
                shortcut = make_shortcut(name.option, channels, width, stride, norm, zero_channels)
                blocks.append(BasicBlock(channels, width, stride, norm, shortcut))
                channels = width
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3 = stages
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of images."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(pool_and_flatten(x))
