"""How fast photographs become batches: our loader beside the textbook's, taking turns.

Both deliver what a network is given: random crops at random scales, mirrored, normalised, float32.
Neither trains anything meanwhile, so this is the most that each could feed.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from resnet_repro.base.errors import ConfigError
from resnet_repro.base.machine import cpu_name
from resnet_repro.bench.measure import median_and_range, speed
from resnet_repro.bench.textbook import textbook_batches, textbook_photographs
from resnet_repro.data.augment import finish
from resnet_repro.data.photos.in_memory import hold
from resnet_repro.data.photos.loader import TrainingCrops
from resnet_repro.data.photos.photos import FilePhotos, HeldPhotos, PhotoDataset, Photos
from resnet_repro.data.photos.workers import default_workers
from resnet_repro.spec.recipe_parts import Photographs
from resnet_repro.training.order import BatchOrder

__all__ = ["LoaderMeasurement", "measure_loader"]

READY = 2  # batches that each worker has ready, as torch's default is: they are not speed


@dataclass(frozen=True)
class LoaderMeasurement:
    """Images per second of both loaders: medians over rounds, with the lowest and the highest."""

    hardware: str
    dataset: str
    source: str  # of the photographs, as their identity has it
    photographs: int
    crop: int
    shorter_side: tuple[int, int]
    batch_size: int
    workers: int
    rounds: int
    in_memory: bool  # whether ours had decoded the photographs before
    decoding_seconds: float | None  # what that took, once
    images_per_second: float
    images_per_second_low: float
    images_per_second_high: float
    textbook_images_per_second: float
    textbook_images_per_second_low: float
    textbook_images_per_second_high: float
    ratio: float  # ours to the textbook's, median over rounds
    ratio_low: float
    ratio_high: float


def _our_batches(
    photos: Photos, photographs: Photographs, batch_size: int, workers: int
) -> Generator[Tensor]:
    order = BatchOrder(len(photos), batch_size, seed=0, pad=0, mirror=True, partial_batch="wrap")
    crops = TrainingCrops(photos, order, photographs, workers)
    mean = torch.full((3, photographs.crop, photographs.crop), 110.0)
    with contextlib.closing(crops):
        for iteration in itertools.count():
            batch = crops.batch(iteration)
            yield finish(batch.images, mean, batch.mirrored, batch.colour)


def measure_loader(
    photo_dataset: PhotoDataset,
    photographs: Photographs,
    *,
    batch_size: int = 64,
    rounds: int = 5,
    seconds: float = 4.0,
    progress: Callable[[str], None] = lambda _: None,
) -> LoaderMeasurement:
    """Measure both loaders on the training photographs of a data set.

    Args:
        photo_dataset: photographs in files, of which there are at least `batch_size`.
        photographs: crop and shorter sides.
        batch_size: images in a batch, of both.
        rounds: how often the two take turns; seconds: how long each turn takes at least.
        progress: hears of every round.

    Raises:
        ConfigError: the data set is not one of files, or too small.
        DataError: a photograph cannot be decoded.
    """
    photos = photo_dataset.train
    if not isinstance(photos, FilePhotos) or len(photos) < batch_size:
        raise ConfigError(
            f"loaders are compared on photographs in files, {batch_size} or more of them;"
            f" {photo_dataset.identity.name} is not such a data set"
        )
    count = default_workers()
    decoded_before, start = photos.held is not None, time.perf_counter()
    in_memory = isinstance(hold(photos), HeldPhotos)
    decoding = time.perf_counter() - start if in_memory and not decoded_before else None
    speeds: list[list[float]] = [[], []]
    contenders: list[Generator[Any]] = [
        _our_batches(photos, photographs, batch_size, count),
        textbook_batches(textbook_photographs(photos, photographs), batch_size, count),
    ]
    warm_up = READY * max(1, count)
    try:
        for turn in range(rounds):
            for batches, own in zip(contenders, speeds, strict=True):
                own.append(speed(partial(next, batches), batch_size, seconds, warm_up))
            progress(
                f"loader: round {turn + 1} of {rounds}, {speeds[0][-1]:,.0f} images/s,"
                f" textbook {speeds[1][-1]:,.0f}"
            )
    finally:
        for batches in contenders:
            batches.close()
    ours, textbook = speeds
    ratios = [a / b for a, b in zip(ours, textbook, strict=True)]
    return LoaderMeasurement(
        hardware=cpu_name(),
        dataset=photo_dataset.identity.name,
        source=photo_dataset.identity.source,
        photographs=len(photos),
        crop=photographs.crop,
        shorter_side=photographs.shorter_side,
        batch_size=batch_size,
        workers=count,
        rounds=rounds,
        in_memory=in_memory,
        decoding_seconds=None if decoding is None else round(decoding, 2),
        **median_and_range("images_per_second", ours, 1),
        **median_and_range("textbook_images_per_second", textbook, 1),
        **median_and_range("ratio", ratios, 3),
    )
