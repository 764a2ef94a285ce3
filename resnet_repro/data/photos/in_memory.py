"""Decoding photographs into memory if they fit."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from resnet_repro.base.errors import DataError
from resnet_repro.base.machine import available_memory, local_processes
from resnet_repro.data.photos.decoding import read_size
from resnet_repro.data.photos.photos import FilePhotos, HeldPhotos, Photos, Pixels
from resnet_repro.data.photos.workers import map_photos

__all__ = ["hold"]

_log = logging.getLogger(__name__)

SHARE = 0.5  # of the available memory that decoded photographs may use
_SAMPLE = 256  # files whose headers are read to estimate the memory needed


def hold(
    photos: Photos,
    should_stop: Callable[[], bool] | None = None,
) -> Photos:
    """The same photographs in memory if they fit, otherwise unchanged.

    They fit if, decoded, they take at most half of the available memory, divided by the number of
    training processes on this machine. Later calls return the same `HeldPhotos`.

    Raises:
        DataError: a file cannot be decoded.
        ReproError: a worker died.
        Stopped: `should_stop` said so.
    """
    if not isinstance(photos, FilePhotos) or photos.too_large or not len(photos):
        return photos
    if photos.held is None:
        limit = (available_memory() or 0) * SHARE / local_processes()
        estimate = _estimate(photos)
        images = None
        if estimate <= 1.1 * limit:
            size = f"about {estimate / 1e9:.1f} GB"
            _log.info(f"decoding {len(photos):,} photographs into memory, {size}")
            images = _decoded(photos, limit, should_stop)
        if images is None:
            photos.too_large = True
            _log.info(
                f"{len(photos):,} photographs are decoded on the fly: in memory they would take"
                f" more than the {limit / 1e9:.1f} GB that can be spared"
            )
            return photos
        photos.held = HeldPhotos(images, photos.labels)
    return photos.held


def _estimate(photos: FilePhotos) -> float:
    """Estimated bytes of all photographs, from the headers of evenly spaced files."""
    sample = np.linspace(0, len(photos) - 1, min(_SAMPLE, len(photos))).astype(np.int64)
    pixels = []
    for index in sample:
        name = photos.names[index]
        try:
            width, height = read_size(f"{photos.root}/{name}", name, turned=photos.turned)
        except DataError:  # reported when it is decoded
            continue
        pixels.append(width * height)
    return 3.0 * len(photos) * float(np.mean(pixels)) if pixels else 0.0


def _decoded(
    photos: FilePhotos,
    limit: float,
    should_stop: Callable[[], bool] | None,
) -> list[Pixels] | None:
    """All photographs, decoded; None if they take more than `limit` bytes."""
    images: list[Pixels] = []
    size = 0
    try:
        for some in map_photos(_pixels, photos, "decoded", should_stop):
            size += sum(image.nbytes for image in some)
            if size > limit:
                return None
            images += some
    except MemoryError:  # less memory than estimated
        return None
    return images


def _pixels(photos: Photos, part: range) -> list[Pixels]:
    return [photos.pixels(index) for index in part]
