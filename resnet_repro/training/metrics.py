"""Loss and errors, or terms of the loss, of the batches since the last point of the curve."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from resnet_repro.training.processes import ALONE, Processes

__all__ = ["RunningMetrics"]


SLOTS = 512  # batches whose numbers stay on the device; to add them up takes waiting for it


class RunningMetrics:
    """Running sums. A batch's loss and errors stay on the device until a sum is asked for.

    Each of several processes counts its share; what is read and saved is of all of them, so they
    have to ask at the same time.
    """

    def __init__(self, nothing: Tensor, processes: Processes = ALONE) -> None:
        """`nothing` is what is counted beside the loss, at zero: errors, or terms of the loss."""
        self.processes, device = processes, nothing.device
        self._losses = torch.zeros(SLOTS, dtype=torch.float32, device=device)
        self._counted = nothing.new_zeros((SLOTS, *nothing.shape))
        self._next = torch.zeros(1, dtype=torch.int64, device=device)  # slot
        self._waiting = 0  # slots that are not added up yet
        self._iteration = 0  # of the last batch
        self.loss = torch.zeros((), dtype=torch.float32)  # sum of batch means
        self.counted = nothing.clone().cpu()
        self.first_bad: int | None = None
        self.batches = self.images = 0  # images of whole batches

    def record(self, loss: Tensor, counted: Tensor) -> None:
        """Keep one batch's numbers, of this process's share: tensor operations alone.

        So it can be part of a CUDA graph; `count` belongs after each batch, outside of it.
        """
        self._losses.index_copy_(0, self._next, loss.unsqueeze(0))
        self._counted.index_copy_(0, self._next, counted.unsqueeze(0))
        self._next += 1

    def count(self, iteration: int, images: int) -> None:
        """Count the recorded batch, of so many images in all processes.

        It is the one after which so many iterations have been made.
        """
        self._iteration = iteration
        self._waiting += 1
        self.batches += 1
        self.images += images
        if self._waiting == SLOTS:
            self._add_up()

    def _add_up(self) -> None:
        """Add the slots to the sums, in their order: float32 has no other way to the same bits."""
        if not self._waiting:
            return
        losses, counts = (slots[: self._waiting].cpu() for slots in (self._losses, self._counted))
        first = self._iteration - self._waiting + 1
        for number, (loss, counted) in enumerate(zip(losses, counts, strict=True), start=first):
            self.loss += loss
            self.counted += counted
            if self.first_bad is None and not math.isfinite(loss):
                self.first_bad = number
        self._empty()

    def _empty(self) -> None:
        self._next.zero_()
        self._waiting = 0

    def first_bad_iteration(self) -> int | None:
        """The first iteration whose loss was infinite or not a number."""
        self._add_up()
        # The earliest over the processes: the largest of what gets smaller with the iteration.
        mine = -(1 << 62) if self.first_bad is None else -self.first_bad
        (code,) = self.processes.largest([mine])
        return -code if code > -(1 << 62) else None

    @property
    def _of_losses(self) -> bool:
        """Whether terms of the loss are counted, and not errors."""
        return self.counted.is_floating_point()

    def mean_loss(self) -> float:
        """Mean over the batches."""
        self._add_up()
        return self.processes.average_(self.loss.clone()).item() / max(1, self.batches)

    def error(self) -> float:
        """Percent of the images, where errors are counted."""
        self._add_up()
        return 100.0 * self.processes.sum_(self.counted.clone()).item() / max(1, self.images)

    def mean_terms(self) -> list[float]:
        """Means over the batches, where terms of the loss are counted."""
        self._add_up()
        terms = self.processes.average_(self.counted.clone()) / max(1, self.batches)
        return [float(term) for term in terms.tolist()]

    def clear(self) -> None:
        """Start anew, but for the first iteration that was bad."""
        self._add_up()
        self.loss.zero_()
        self.counted.zero_()
        self.batches = self.images = 0

    @property
    def _keys(self) -> tuple[str, str, str, str]:
        """Of a checkpoint's sums."""
        return "loss", "parts" if self._of_losses else "wrong", "batches", "images"

    def state(self) -> dict[str, float | int | list[float]]:
        """The sums over all processes, of losses their averages, for a checkpoint."""
        self._add_up()
        processes, counted = self.processes, self.counted.clone()
        loss = processes.average_(self.loss.clone()).item()
        counted = processes.average_(counted) if self._of_losses else processes.sum_(counted)
        return dict(
            zip(self._keys, (loss, counted.tolist(), self.batches, self.images), strict=True)
        )

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned, on whatever number of processes.

        Raises:
            TypeError, ValueError, KeyError: it is not that.
        """
        if not isinstance(state, dict):
            raise TypeError("metrics are a mapping")
        loss, counted, *counts = (state[key] for key in self._keys)
        if type(loss) is not float or not all(type(count) is int for count in counts):
            raise ValueError("metrics without numbers")
        numbers = counted if isinstance(counted, list) else [counted]
        kind = float if self._of_losses else int
        if not all(type(number) is kind for number in numbers):
            raise ValueError("metrics without numbers")
        found = torch.tensor(counted, dtype=self.counted.dtype)
        if found.shape != self.counted.shape:
            raise ValueError("metrics of another training")
        self._empty()
        # Losses are averaged over the processes, errors are added up: one has the old sum.
        self.loss.fill_(loss)
        mine = self._of_losses or self.processes.first
        self.counted.copy_(found if mine else torch.zeros_like(found))
        self.batches, self.images = counts
