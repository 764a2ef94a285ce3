"""The ImageNet networks of Table 1: 18, 34, 50, 101 and 152 layers, plain and residual."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from resnet_repro.networks.blocks import (
    BasicBlock,
    BatchNormSettings,
    Bottleneck,
    ZeroChannels,
    make_shortcut,
    pool_and_flatten,
)
from resnet_repro.networks.layers import BLOCKS
from resnet_repro.spec.network_names import NetworkName

__all__ = ["ImageNetNetwork"]

WIDTHS = (64, 128, 256, 512)


class ImageNetNetwork(nn.Module):
    """A network of Table 1, with torchvision's parameter names.

    Maps [N, 3, H, W] (mean subtracted; 224x224 in the paper) to logits [N, classes].
    """

    def __init__(
        self,
        name: NetworkName,
        classes: int = 1000,
        norm: BatchNormSettings | None = None,
        zero_channels: ZeroChannels = "end",
    ) -> None:
        super().__init__()
        norm = norm or BatchNormSettings()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm(64)
        expansion = Bottleneck.expansion if name.bottleneck else BasicBlock.expansion
        channels = 64
        stages: list[nn.Sequential] = []
        for stage, (width, count) in enumerate(zip(WIDTHS, BLOCKS[name.depth], strict=True)):
            blocks: list[nn.Module] = []
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                shortcut = make_shortcut(
                    name.option, channels, width * expansion, stride, norm, zero_channels
                )
                blocks.append(
                    Bottleneck(channels, width, stride, norm, shortcut, name.stride_in_3x3)
                    if name.bottleneck
                    else BasicBlock(channels, width, stride, norm, shortcut)
                )
                channels = width * expansion
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(channels, classes)

    def features(self, x: Tensor) -> Tensor:
        """The final map [N, channels, ceil(H / 32), ceil(W / 32)] of a batch of images."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of images."""
        return self.fc(pool_and_flatten(self.features(x)))
