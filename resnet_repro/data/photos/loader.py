"""Batches of crops for training and views for testing (section 3.4)."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from resnet_repro.data.photos.crops import (
    FIVE_PLACES,
    centre_corners,
    crops_of,
    draw_crops,
    drawn_corner,
    five_corners,
    quick_crop_of,
    whole,
)
from resnet_repro.data.photos.in_memory import hold
from resnet_repro.data.photos.photos import Photos, Pixels
from resnet_repro.data.photos.workers import chunks, default_workers, parallel_map, worker_count
from resnet_repro.spec.recipe_parts import Photographs
from resnet_repro.spec.tables_figures import Views

__all__ = ["CropBatch", "TrainingCrops", "ViewChunk", "photo_views"]

_CHUNK_BYTES = 2**25
_MOST_IN_CHUNK = 256


class CropBatch(NamedTuple):
    """One process's slice of a batch, on the CPU; `augment.finish` does the rest."""

    images: Tensor  # uint8 [b, crop, crop, 3], not mirrored yet
    labels: Tensor  # int64 [b]
    mirrored: Tensor  # bool [b]
    colour: Tensor  # float32 [b, 3]: alphas, which `PhotoStatistics.colour_shift` takes


@dataclass(frozen=True)
class _Crops:
    """The batches of a training by iteration, as workers make them."""

    photos: Photos
    order: Any  # as for `TrainingCrops`
    photographs: Photographs
    shard: tuple[int, int]

    def __call__(self, iteration: int) -> tuple[NDArray[np.generic], ...]:
        """The arrays of a `CropBatch`."""
        images = self.order.batch(iteration).images.numpy()
        draw = draw_crops(self.order.seed, iteration, len(images), self.photographs)
        rank, world = self.shard
        size = len(images) // world
        mine, crop = slice(rank * size, (rank + 1) * size), self.photographs.crop
        pixels = np.empty((size, crop, crop, 3), np.uint8)
        drawn = zip(
            images[mine].tolist(),
            draw.sides[mine].tolist(),
            draw.fractions[mine].tolist(),
            strict=True,
        )
        for position, (index, side, fractions) in enumerate(drawn):
            image = self.photos.image(index)
            corner = drawn_corner(image.size, side, crop, fractions)
            pixels[position] = quick_crop_of(image, side, corner, crop)
        return pixels, self.photos.labels[images[mine]], draw.mirrored[mine], draw.alphas[mine]


class TrainingCrops:
    """Training batches of crops, prepared a few iterations ahead by worker processes.

    A batch is a pure function of the order's seed and the iteration, so training can resume at any
    iteration, with any number of workers. Photographs that fit in memory are decoded first.
    """

    def __init__(
        self,
        photos: Photos,
        order: Any,
        photographs: Photographs,
        workers: int | None = None,
        shard: tuple[int, int] = (0, 1),
        *,
        pin: bool = False,
        should_stop: Callable[[], bool] | None = None,
    ) -> None:
        """Decode the photographs if they fit in memory; workers start with the first batch.

        Args:
            photos: to crop from.
            order: the images of each iteration, as `training.order.BatchOrder` gives them: it has
                a `seed`, and `batch(iteration)` has `images`, indices int64 [B].
            photographs: sizes and augmentation.
            workers: number of processes; 0 crops in this one, None takes `default_workers`.
            shard: (rank, world): this process gets slice `rank` of `world` equal slices.
            pin: put images into page-locked memory, which GPUs copy from in the background.
            should_stop: called while decoding.

        Raises:
            DataError: a photograph cannot be decoded.
            ReproError: a worker died.
            Stopped: `should_stop` said so.
        """
        self.photos = hold(photos, should_stop=should_stop)
        self.workers = default_workers(self.photos) if workers is None else workers
        self.pin = pin
        self._crops = _Crops(self.photos, order, photographs, shard)
        self._coming: Generator[tuple[NDArray[np.generic], ...]] | None = None
        self._next = 0

    def batch(self, iteration: int) -> CropBatch:
        """This process's slice of the batch of an iteration, counted from 0.

        Raises:
            DataError: a photograph cannot be decoded.
            ReproError: a worker died.
        """
        if self._coming is None or iteration != self._next:
            self.close()
            self._coming = parallel_map(self._crops, itertools.count(iteration), self.workers)
        try:
            batch = CropBatch(*map(torch.from_numpy, next(self._coming)))
        except BaseException:
            self.close()
            raise
        self._next = iteration + 1
        return batch._replace(images=batch.images.pin_memory()) if self.pin else batch

    def close(self) -> None:
        """End the workers; the next batch starts others."""
        if self._coming is not None:
            self._coming.close()
            self._coming = None


@dataclass(frozen=True)
class ViewChunk:
    """Photographs as input of a network, not mirrored."""

    which: Tensor  # int64 [n], their indices
    labels: Tensor  # int64 [n]
    images: Tensor  # uint8 [n, views, H, W, 3]


def photo_views(
    photos: Photos,
    photographs: Photographs,
    views: Views,
    *,
    side: int | None = None,
    chunk: int | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Generator[ViewChunk]:
    """Photographs in order, in chunks of `chunk`, by default about 32 MB of them.

    `centre` gives one crop of each photograph, `10-crop` the four corners and the centre,
    `multi-scale` the whole image; all at the shorter side `side`, by default `test_shorter_side`.
    Of whole images, those of a chunk come by size. The caller makes mirror images. Raises what
    `TrainingCrops` raises.
    """
    photos = hold(photos, should_stop=should_stop)
    side = photographs.test_shorter_side if side is None else side
    places = {"centre": 1, "10-crop": FIVE_PLACES, "multi-scale": 0}[views]
    pixels = places * photographs.crop**2 or 2 * side**2
    size = chunk or max(1, min(_MOST_IN_CHUNK, _CHUNK_BYTES // (3 * pixels)))
    parts = list(chunks(len(photos), size))
    task = partial(_views, photos, views, side, photographs.crop)
    found = parallel_map(task, parts, worker_count(parts, photos), should_stop)
    for which, images in itertools.chain.from_iterable(found):
        labels = photos.labels[which]
        yield ViewChunk(*map(torch.from_numpy, (which, labels, images)))


def _views(
    photos: Photos, views: Views, side: int, crop: int, part: range
) -> list[tuple[NDArray[np.int64], Pixels]]:
    """(Indices [n], views uint8 [n, places, H, W, 3]) of some photographs, those of a size each."""
    corners_of = centre_corners if views == "centre" else five_corners
    by_size: dict[tuple[int, ...], dict[int, Pixels]] = defaultdict(dict)
    for index in part:
        image = photos.image(index)
        if views == "multi-scale":
            pixels = whole(image, side)[None]
        else:
            pixels = np.stack(crops_of(image, side, corners_of(image.size, side, crop), crop))
        by_size[pixels.shape][index] = pixels
    return [(np.array(list(some)), np.stack(list(some.values()))) for some in by_size.values()]
