"""Loss and error of the training batches since the last point of the curve."""

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

    def __init__(self, device: torch.device, processes: Processes = ALONE) -> None:
        self.processes = processes
        self.loss = torch.zeros((), dtype=torch.float32, device=device)  # sum of batch means
        self.wrong = torch.zeros((), dtype=torch.int64, device=device)
        self.first_bad = torch.full((), -1, dtype=torch.int64, device=device)
        self.batches = self.images = 0  # images of whole batches

    def add(self, iteration: int, loss: Tensor, wrong: Tensor, images: int) -> None:
        """Count one batch, the one after which so many iterations have been made.

        `loss` and `wrong` are of this process's share, `images` is the size of the whole batch.
        """
        self.loss += loss
        self.wrong += wrong
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
        """Percent of the images."""
        return 100.0 * self.processes.sum_(self.wrong.clone()).item() / max(1, self.images)

    def clear(self) -> None:
        """Start anew."""
        self.loss.zero_()
        self.wrong.zero_()
        self.batches = self.images = 0

    def state(self) -> dict[str, float | int]:
        """The sums over all processes, for a checkpoint."""
        return {
            "loss": self.processes.average_(self.loss.clone()).item(),
            "wrong": int(self.processes.sum_(self.wrong.clone()).item()),
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
        loss, *counts = (state[name] for name in ("loss", "wrong", "batches", "images"))
        if type(loss) is not float or not all(type(count) is int for count in counts):
            raise ValueError("metrics without numbers")
        # Losses are averaged over the processes, but errors are counted: one has the old ones.
        self.loss.fill_(loss)
        self.wrong.fill_(counts[0] if self.processes.first else 0)
        _, self.batches, self.images = counts
