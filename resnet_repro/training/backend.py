"""A device and the precision of what it computes."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Literal

import torch

__all__ = ["Backend", "Resolved"]

Resolved = Literal["fp32", "bf16"]  # what a precision of `auto` comes to


@dataclass(frozen=True)
class Backend:
    """A device and the precision of convolutions and matrix products on it.

    Weights, their updates, BN statistics and the loss are fp32 in either precision.
    """

    device: torch.device
    precision: Resolved

    def autocast(self) -> AbstractContextManager[object]:
        """The context of a forward pass."""
        return torch.autocast(
            self.device.type,
            torch.bfloat16,
            enabled=self.precision == "bf16",
            cache_enabled=True,
        )

    def with_precision(self, precision: Resolved) -> Backend:
        """The same device in another precision."""
        return replace(self, precision=precision)

    def synchronize(self) -> None:
        """Wait for the device, before a clock is read."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()
