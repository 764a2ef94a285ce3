"""Batches: which images each iteration sees and how they are cropped, by seed and iteration.

Nothing has to be saved to resume, and every device sees the same batches.
"""

from __future__ import annotations

import hashlib
from typing import Literal, NamedTuple

import torch
from torch import Tensor

__all__ = [
    "WHOLE",
    "Batch",
    "BatchOrder",
    "Draw",
    "Part",
    "Shard",
    "evenly_spaced",
    "generator",
    "seed_of",
    "split_indices",
]

_SPLIT_SEED = "validation split"

Part = Literal["test", "validation"]


class Batch(NamedTuple):
    """What goes into a network, on its device, and what should come out."""

    inputs: Tensor  # float32 [B, 3, H, W], the mean subtracted, channels last
    targets: Tensor  # int64 [B]


class Shard(NamedTuple):
    """Which process's share of each batch is meant, of how many that train together."""

    rank: int
    world: int


WHOLE = Shard(0, 1)


class Draw(NamedTuple):
    """One batch, [B] each: image indices, crop corners in the padded image, mirrored or not."""

    images: Tensor  # int64
    top: Tensor  # int64, 0 to 2 * pad
    left: Tensor  # int64
    mirrored: Tensor  # bool

    def to(self, device: torch.device) -> Draw:
        """The same on a device."""
        return Draw(*(value.to(device, non_blocking=True) for value in self))

    def pinned(self) -> Draw:
        """The same in memory from which a large copy does not wait for the device."""
        return Draw(*(value.pin_memory() for value in self))

    def share(self, rank: int, count: int) -> Draw:
        """The part of one of `count` processes, which divide the batch evenly."""
        each = len(self.images) // count
        return self if count == 1 else _slice(self, rank * each, (rank + 1) * each)


def seed_of(*parts: object) -> int:
    """A seed below 2**63 that depends on all of `parts`."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: object) -> torch.Generator:
    """A generator (CPU) seeded from all of `parts`."""
    return torch.Generator().manual_seed(seed_of(*parts))


def split_indices(images: int, held_out: int) -> tuple[Tensor, Tensor]:
    """(training, validation) indices of a fixed random split, the same for every seed."""
    if not held_out:
        return torch.arange(images), torch.empty(0, dtype=torch.int64)
    shuffled = torch.randperm(images, generator=generator(_SPLIT_SEED, images))
    return shuffled[held_out:].sort().values, shuffled[:held_out].sort().values


def evenly_spaced(images: int, size: int) -> Tensor:
    """At most `size` indices of so many images."""
    count = min(size, images)
    return torch.arange(count) * images // count


class BatchOrder:
    """The batches of a training: one permutation and one set of crops per epoch.

    `wrap` fills the last partial batch from the next epoch, `drop` leaves it out.
    """

    def __init__(
        self,
        images: int,
        batch_size: int,
        seed: int,
        pad: int,
        mirror: bool,
        partial_batch: Literal["wrap", "drop"],
    ) -> None:
        if not 1 <= batch_size <= images:
            raise ValueError(f"batch of {batch_size} from {images} images")
        self.images, self.batch_size, self.seed = images, batch_size, seed
        self.pad, self.mirror, self.partial_batch = pad, mirror, partial_batch
        self._epochs: dict[int, Draw] = {}

    def epoch(self, iterations: int) -> float:
        """Epochs completed after so many iterations (163.84 for 64k of 128 from 50k)."""
        if self.partial_batch == "drop":
            return iterations / (self.images // self.batch_size)
        return iterations * self.batch_size / self.images

    def batch(self, iteration: int) -> Draw:
        """The batch of the given iteration, counted from 0."""
        return self.batches(iteration, 1)

    def batches(self, iteration: int, count: int) -> Draw:
        """The batches of so many iterations, the first of which is given: one after another."""
        used = self.images  # of an epoch
        if self.partial_batch == "drop":
            used -= used % self.batch_size
        start, pieces, left = iteration * self.batch_size, [], count * self.batch_size
        while left:
            epoch, first = divmod(start, used)
            size = min(used - first, left)
            pieces.append(_slice(self._draw_epoch(epoch), first, first + size))
            start, left = start + size, left - size
        if len(pieces) == 1:
            return pieces[0]
        return Draw(*map(torch.cat, zip(*pieces, strict=True)))

    def _draw_epoch(self, epoch: int) -> Draw:
        if epoch not in self._epochs:
            drawn = generator("epoch", self.seed, epoch)
            corners = torch.randint(0, 2 * self.pad + 1, (2, self.images), generator=drawn)
            mirrored = torch.rand(self.images, generator=drawn) < 0.5
            self._epochs = {e: d for e, d in self._epochs.items() if e == epoch - 1}
            self._epochs[epoch] = Draw(
                torch.randperm(self.images, generator=drawn),
                corners[0],
                corners[1],
                mirrored if self.mirror else torch.zeros_like(mirrored),
            )
        return self._epochs[epoch]


def _slice(draw: Draw, start: int, end: int) -> Draw:
    return Draw(*(value[start:end] for value in draw))
