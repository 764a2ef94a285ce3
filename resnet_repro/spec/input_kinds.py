"""The words with which `evaluate` is told what somebody else's weights expect."""

from __future__ import annotations

from typing import Literal

__all__ = ["InputKind", "Padding"]

InputKind = Literal[
    "torchvision", "paper", "cifar", "cifar100", "kuangliu", "paper-0-1", "half", "0-1"
]
Padding = Literal["end", "both"]  # where option A's zero channels are
