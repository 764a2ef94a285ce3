"""Batches of crops from worker processes, for training and for testing (section 3.4).

Imports torch, so it is not part of what `resnet_repro.data` loads by itself. The workers do not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resnet_repro.base.errors import ReproError
from resnet_repro.data.holding import chunks, hold
from resnet_repro.data.photos import tasks
from resnet_repro.data.photos.crop_draws import CropDraw, draw_crops
from resnet_repro.data.photos.crops import FIVE_PLACES
from resnet_repro.data.photos.photos import ArrayPhotos, Photos, Pixels
from resnet_repro.data.photos.shared_buffer import SharedBuffer
from resnet_repro.data.photos.workers import Workers, default_workers

if TYPE_CHECKING:
    from resnet_repro.spec.recipe_parts import Photographs

__all__ = ["CropBatch", "TestChunk", "TestViews", "TrainingCrops"]

_AHEAD = 3  # batches that are prepared while one is in use
_CHUNK_BYTES = 2**25
_MOST_IN_CHUNK = 256
_SMALLEST_TASK = 8  # crops; less is not worth sending to another worker


class ImageDraw(Protocol):
    """One batch's images, int64 [B]."""

    @property
    def images(self) -> Tensor: ...


class ImageOrder(Protocol):
    """Which images each iteration sees; `training.BatchOrder` is one."""

    @property
    def seed(self) -> int: ...

    def batch(self, iteration: int) -> ImageDraw: ...


@dataclass(frozen=True)
class CropBatch:
    """One process's slice of a batch, on the CPU; `photo_augment.finish` does the rest."""

    images: Tensor  # uint8 [b, crop, crop, 3], not mirrored yet
    labels: Tensor  # int64 [b]
    mirrored: Tensor  # bool [b]
    colour: Tensor  # float32 [b, 3]: alphas, which `PhotoStatistics.colour_shift` takes


@dataclass
class _InFlight:
    iteration: int
    slot: int
    tickets: list[int]
    labels: NDArray[np.int64]
    draw: CropDraw


class TrainingCrops:
    """Training batches of crops, prepared a few iterations ahead by worker processes.

    A batch is a pure function of the order's seed and the iteration, whatever the number of
    workers, so training resumes at any iteration. Photographs that fit in memory are decoded first.
    """

    def __init__(
        self,
        photos: Photos,
        order: ImageOrder,
        photographs: Photographs,
        workers: int | None = None,
        shard: tuple[int, int] = (0, 1),
        *,
        pin: bool = False,
        progress: Callable[[str], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        """Start the workers.

        Args:
            photos: what to crop from.
            order: the images of each iteration.
            photographs: sizes and augmentation.
            workers: how many processes; 0 crops in this one, None takes this process's share of
                the cores (0 for small images that are in memory anyway).
            shard: (rank, world): this process gets that one of `world` equal, consecutive slices.
            pin: put images into page-locked memory, which a GPU copies from in the background.
            progress: hears when photographs are decoded into memory; the log by default.
            should_stop: asked meanwhile.

        Raises:
            DataError: a photograph cannot be decoded.
            ReproError: workers cannot be started, or die.
            Stopped: `should_stop` said so.
        """
        told = {} if progress is None else {"progress": progress}
        self.photos = hold(photos, workers, should_stop=should_stop, **told)
        self.order, self.photographs, self.pin = order, photographs, pin
        rank, world = shard
        batch_size = len(order.batch(0).images)
        if not 0 <= rank < world or batch_size % world:
            raise ValueError(f"slice {rank} of {world} of a batch of {batch_size}")
        self._size = batch_size // world
        self._slice = slice(rank * self._size, (rank + 1) * self._size)
        crop = photographs.crop
        self._shape = (self._size, crop, crop, 3)
        self._slot_bytes = self._size * crop * crop * 3
        self._slots = _room(self._slot_bytes * (_AHEAD + 1))
        self._free = deque(range(_AHEAD + 1))
        self._flying: deque[_InFlight] = deque()
        self._pool = Workers(_worker_count(photos, workers), [*self.photos.shared, self._slots])

    def batch(self, iteration: int) -> CropBatch:
        """This process's slice of the batch of an iteration, counted from 0.

        Raises:
            DataError: a photograph cannot be decoded.
            ReproError: a worker died.
        """
        if not self._flying or self._flying[0].iteration != iteration:
            self._drain()
        ahead = _AHEAD if len(self._pool) else 0
        start = self._flying[-1].iteration + 1 if self._flying else iteration
        for coming in range(start, iteration + ahead + 1):
            self._flying.append(self._send(coming))
        flying = self._flying.popleft()
        try:
            self._pool.collect(flying.tickets)
            images = torch.from_numpy(self._slot(flying.slot))
            # A copy: the slot is the workers' again as soon as this returns.
            images = images.pin_memory() if self.pin else images.clone()
        finally:
            self._free.append(flying.slot)
        draw = flying.draw
        return CropBatch(
            images,
            torch.from_numpy(flying.labels),
            torch.from_numpy(draw.mirrored[self._slice]),
            torch.from_numpy(draw.alphas[self._slice]),
        )

    def close(self) -> None:
        """End the workers."""
        self._pool.close()
        self._flying.clear()
        self._slots.close()

    def __enter__(self) -> TrainingCrops:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, iteration: int) -> _InFlight:
        """Have the crops of an iteration made, in a slot that is free."""
        images = self.order.batch(iteration).images.numpy()
        draw = draw_crops(self.order.seed, iteration, len(images), self.photographs)
        images, slot = images[self._slice], self._free.popleft()
        sides, fractions = draw.sides[self._slice], draw.fractions[self._slice]
        share = max(_SMALLEST_TASK, -(-len(images) // max(1, len(self._pool))))
        crop, tickets = self.photographs.crop, []
        for part in chunks(len(images), share):
            some = slice(part.start, part.stop)
            offset = slot * self._slot_bytes + part.start * crop * crop * 3
            selection = self.photos.select(images[some])
            tickets.append(
                self._pool.submit(
                    tasks.training_crops, selection, sides[some], fractions[some], crop, offset
                )
            )
        return _InFlight(iteration, slot, tickets, self.photos.labels[images], draw)

    def _drain(self) -> None:
        """Forget what was prepared, once nobody writes into its slots any more."""
        while self._flying:
            flying = self._flying.popleft()
            self._pool.forget(flying.tickets)
            self._free.append(flying.slot)

    def _slot(self, slot: int) -> NDArray[np.uint8]:
        start = slot * self._slot_bytes
        return self._slots.bytes[start : start + self._slot_bytes].reshape(self._shape)


@dataclass(frozen=True)
class TestChunk:
    """Consecutive photographs of the val part as a network sees them, not mirrored."""

    __test__ = False  # for pytest

    first: int  # index of the first of them
    labels: Tensor  # int64 [n]
    crops: Tensor | None  # uint8 [n, views, crop, crop, 3]; None for whole images
    images: list[Pixels] | None  # whole images, uint8 [H, W, 3] each; None for crops


class TestViews:
    """The val part in order, in chunks, as often as it is iterated over.

    `centre` gives one crop of each photograph and `five` the four corners and the centre, both at
    `test_shorter_side`; `whole` gives whole images whose shorter side is `side`. Mirror images are
    left to whoever has them on the device.
    """

    __test__ = False  # for pytest

    def __init__(
        self,
        photos: Photos,
        photographs: Photographs,
        views: Literal["centre", "five", "whole"],
        *,
        side: int | None = None,
        chunk: int | None = None,
        workers: int | None = None,
        progress: Callable[[str], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        """Start the workers; arguments and errors are those of `TrainingCrops`.

        `side` is the shorter side, by default `photographs.test_shorter_side`; `chunk` is how many
        photographs come at once, by default as many as make about 32 MB.
        """
        told = {} if progress is None else {"progress": progress}
        self.photos = hold(photos, workers, should_stop=should_stop, **told)
        self.photographs, self.views = photographs, views
        self.side = photographs.test_shorter_side if side is None else side
        self.should_stop = should_stop
        self._places = {"centre": 1, "five": FIVE_PLACES, "whole": 0}[views]
        pixels = self._places * photographs.crop**2 or 2 * self.side**2
        self.chunk = chunk or max(1, min(_MOST_IN_CHUNK, _CHUNK_BYTES // (3 * pixels)))
        self._chunk_bytes = self.chunk * self._places * photographs.crop**2 * 3
        self._slots = _room(self._chunk_bytes * (_AHEAD + 1))
        self._pool = Workers(_worker_count(photos, workers), [*self.photos.shared, self._slots])

    def __iter__(self) -> Iterator[TestChunk]:
        """Chunks in order; Stopped is raised when `should_stop` says so."""
        ahead = _AHEAD if len(self._pool) else 0
        flying: deque[tuple[range, int, list[int]]] = deque()
        coming = enumerate(chunks(len(self.photos), self.chunk))
        try:
            while True:
                while len(flying) <= ahead and (following := next(coming, None)):
                    number, part = following
                    slot = number % (_AHEAD + 1)
                    flying.append((part, slot, self._send(part, slot)))
                if not flying:
                    return
                part, slot, tickets = flying[0]
                results = self._pool.collect(tickets, self.should_stop)
                flying.popleft()
                yield self._chunk_of(part, slot, results)
        finally:
            for _, _, tickets in flying:
                self._pool.forget(tickets)

    def close(self) -> None:
        """End the workers."""
        self._pool.close()
        self._slots.close()

    def __enter__(self) -> TestViews:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, part: range, slot: int) -> list[int]:
        share = max(_SMALLEST_TASK, -(-len(part) // max(1, len(self._pool))))
        tickets = []
        for some in chunks(len(part), share):
            selection = self.photos.select(range(part[some[0]], part[some[-1]] + 1))
            if self.views == "whole":
                tickets.append(self._pool.submit(tasks.whole_images, selection, self.side))
                continue
            task = tasks.centre_crops if self.views == "centre" else tasks.five_crops
            crop = self.photographs.crop
            offset = slot * self._chunk_bytes + some.start * self._places * crop * crop * 3
            tickets.append(self._pool.submit(task, selection, self.side, crop, offset))
        return tickets

    def _chunk_of(self, part: range, slot: int, results: list[Any]) -> TestChunk:
        labels = torch.from_numpy(self.photos.labels[part.start : part.stop])
        if self.views == "whole":
            return TestChunk(part.start, labels, None, [i for some in results for i in some])
        crop = self.photographs.crop
        shape = (len(part), self._places, crop, crop, 3)
        start = slot * self._chunk_bytes
        pixels = self._slots.bytes[start : start + int(np.prod(shape))].reshape(shape)
        return TestChunk(part.start, labels, torch.from_numpy(pixels).clone(), None)


def _room(size: int) -> SharedBuffer:
    try:
        return SharedBuffer(size)
    except OSError as error:
        raise ReproError(
            f"no memory for batches of photographs ({size / 1e9:.1f} GB): {error.strerror}"
        ) from error


def _worker_count(photos: Photos, workers: int | None) -> int:
    if workers is not None:
        return workers
    return 0 if isinstance(photos, ArrayPhotos) else default_workers()
