"""Loss and errors, or parts of the loss, of the batches since the last point of the curve."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from resnet_repro.training.processes import ALONE, Processes

__all__ = ["RunningMetrics"]


class RunningMetrics:
    """Running sums on the device, read only where a number is needed.

    Each of several processes counts its share; what is read and saved is of all of them, so they
    have to ask at the same time.
    """

    def __init__(self, nothing: Tensor, processes: Processes = ALONE) -> None:
        """`nothing` is what is counted beside the loss, at zero: errors, or parts of the loss."""
        self.processes, device = processes, nothing.device
        self.loss = torch.zeros((), dtype=torch.float32, device=device)  # sum of batch means
        self.counted = nothing.clone()
        self.first_bad = torch.full((), -1, dtype=torch.int64, device=device)
        self.batches = self.images = 0  # images of whole batches

    def add(self, iteration: int, loss: Tensor, counted: Tensor, images: int) -> None:
        """Count one batch, the one after which so many iterations have been made.

        `loss` and `counted` are of this process's share, `images` is the size of the whole batch.
        """
        self.loss += loss
        self.counted += counted
        bad = ~torch.isfinite(loss) & (self.first_bad < 0)
        self.first_bad = torch.where(bad, iteration, self.first_bad)
        self.batches += 1
        self.images += images

    def first_bad_iteration(self) -> int | None:
        """The first iteration whose loss was infinite or not a number."""
        mine = int(self.first_bad.item())
        # The earliest over the processes: the largest of what gets smaller with the iteration.
        (code,) = self.processes.largest([-mine if mine >= 0 else -(1 << 62)])
        return -code if code > -(1 << 62) else None

    def mean_loss(self) -> float:
        """Mean over the batches."""
        return self.processes.average_(self.loss.clone()).item() / max(1, self.batches)

    def error(self) -> float:
        """Percent of the images, where errors are counted."""
        return 100.0 * self.processes.sum_(self.counted.clone()).item() / max(1, self.images)

    def mean_parts(self) -> list[float]:
        """Means over the batches, where parts of the loss are counted."""
        parts = self.processes.average_(self.counted.clone()) / max(1, self.batches)
        return [float(part) for part in parts.tolist()]

    def clear(self) -> None:
        """Start anew."""
        self.loss.zero_()
        self.counted.zero_()
        self.batches = self.images = 0

    def state(self) -> dict[str, float | int | list[float]]:
        """The sums over all processes, for a checkpoint."""
        return {
            "loss": self.processes.average_(self.loss.clone()).item(),
            # Of errors one number, under the name that it has always had.
            "wrong": self.processes.sum_(self.counted.clone()).tolist(),
            "batches": self.batches,
            "images": self.images,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned, on whatever number of processes.

        Raises:
            TypeError, ValueError, KeyError: it is not that.
        """
        if not isinstance(state, dict):
            raise TypeError("metrics are a mapping")
        loss, counted, *counts = (state[name] for name in ("loss", "wrong", "batches", "images"))
        if type(loss) is not float or not all(type(count) is int for count in counts):
            raise ValueError("metrics without numbers")
        numbers = counted if isinstance(counted, list) else [counted]
        kind = float if self.counted.is_floating_point() else int
        if not all(type(number) is kind for number in numbers):
            raise ValueError("metrics without numbers")
        found = torch.tensor(counted, dtype=self.counted.dtype)
        if found.shape != self.counted.shape:
            raise ValueError("metrics of another training")
        # Losses are averaged over the processes, what is counted is added up: one has the old sums.
        self.loss.fill_(loss)
        self.counted.copy_(found if self.processes.first else torch.zeros_like(found))
        self.batches, self.images = counts
