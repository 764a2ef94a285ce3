"""Photographs that fit in memory are decoded once, into memory that all workers share."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from resnet_repro.base.errors import DataError
from resnet_repro.data.photos import tasks
from resnet_repro.data.photos.decoding import read_size
from resnet_repro.data.photos.photos import FilePhotos, HeldPhotos, Photos
from resnet_repro.data.photos.shared_buffer import available_memory, local_processes
from resnet_repro.data.photos.workers import Workers, pool_size

__all__ = ["chunks", "hold"]

_log = logging.getLogger(__name__)

SHARE = 0.5  # of the available memory that decoded photographs may take
_SAMPLE = 256  # files whose headers are read to estimate how much they would take
_CHUNK = 64  # images in a task
_NEWS = 10.0  # seconds between two notes of progress


def hold(
    photos: Photos,
    workers: int | None = None,
    progress: Callable[[str], None] = _log.info,
    should_stop: Callable[[], bool] | None = None,
) -> Photos:
    """The same photographs in memory if they fit there, else as they are.

    They fit if, decoded, they take no more than half of the memory that is available, divided by
    the number of training processes on this machine. They are decoded once: later calls return the
    same `HeldPhotos`.

    Raises:
        DataError: a file cannot be decoded.
        ReproError: a worker died.
        Stopped: `should_stop` said so.
    """
    if not isinstance(photos, FilePhotos) or photos.too_large or not len(photos):
        return photos
    if photos.held is None:
        photos.held = _held(photos, workers, progress, should_stop)
        photos.too_large = photos.held is None
    return photos.held or photos


def _held(
    photos: FilePhotos,
    workers: int | None,
    progress: Callable[[str], None],
    should_stop: Callable[[], bool] | None,
) -> HeldPhotos | None:
    limit = (available_memory() or 0) * SHARE / local_processes()
    too_large = (
        f"{len(photos):,} photographs are decoded on the fly: in memory they would take more than"
        f" the {limit / 1e9:.1f} GB that can be spared"
    )
    estimate = _estimate(photos)
    if estimate > 1.1 * limit:
        progress(too_large)
        return None
    progress(f"decoding {len(photos):,} photographs into memory, about {estimate / 1e9:.1f} GB")
    parts = list(chunks(len(photos), _CHUNK))
    with Workers(pool_size(len(parts), workers)) as pool:
        jobs = ((str(photos.root), list(photos.names[part.start : part.stop])) for part in parts)
        sizes = np.concatenate(list(pool.map(tasks.header_sizes, jobs, should_stop)))
    if int(sizes.prod(axis=1).sum()) * 3 > limit:
        progress(too_large)
        return None
    try:
        held = HeldPhotos(photos, sizes)
    except OSError:  # less memory than it seemed
        progress(too_large)
        return None
    _decode(photos, held, workers, progress, should_stop)
    return held


def chunks(count: int, size: int) -> Iterator[range]:
    """Consecutive ranges of `size` (the last may be shorter) that make up `count`."""
    return (range(start, min(start + size, count)) for start in range(0, count, size))


def _estimate(photos: FilePhotos) -> float:
    """Bytes that all photographs would take, judged by evenly spread files' headers."""
    sample = np.linspace(0, len(photos) - 1, min(_SAMPLE, len(photos))).astype(np.int64)
    pixels = []
    for index in sample:
        name = photos.names[index]
        try:
            width, height = read_size(f"{photos.root}/{name}", name)
        except DataError:  # will be named when it is decoded
            continue
        pixels.append(width * height)
    return 3.0 * len(photos) * float(np.mean(pixels)) if pixels else 0.0


def _decode(
    photos: FilePhotos,
    held: HeldPhotos,
    workers: int | None,
    progress: Callable[[str], None],
    should_stop: Callable[[], bool] | None,
) -> None:
    told = time.monotonic()
    parts = list(chunks(len(photos), _CHUNK))
    with Workers(pool_size(len(parts), workers), held.shared) as pool:
        jobs = (_job(photos, held, part) for part in parts)
        results = pool.map(tasks.copy_pixels, jobs, should_stop)
        for part, shapes in zip(parts, results, strict=True):
            held.sizes[part.start : part.stop] = shapes
            if time.monotonic() - told > _NEWS:
                told = time.monotonic()
                progress(f"decoded {part.stop:,} of {len(photos):,} photographs")


def _job(photos: FilePhotos, held: HeldPhotos, part: range) -> tuple[Any, ...]:
    sizes = held.sizes[part.start : part.stop].prod(axis=1) * 3
    names = list(photos.names[part.start : part.stop])
    return photos.select(part), sizes.tolist(), names, int(held.offsets[part.start])
