"""What somebody else's weights expect, and the words with which `evaluate` is told."""

from __future__ import annotations

from typing import Literal

__all__ = ["IMAGENET_DEVIATION", "IMAGENET_MEAN", "InputKind", "Padding"]

InputKind = Literal[
    "torchvision", "paper", "cifar", "cifar100", "kuangliu", "paper-0-1", "half", "0-1"
]
# Red, green and blue of ImageNet's photographs, 0 to 255, as torchvision's weights expect them.
IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_DEVIATION = (58.395, 57.12, 57.375)
# Where option A's zero channels are, as `--padding` calls `recipe_parts.ZeroChannels`.
Padding = Literal["end", "both"]
