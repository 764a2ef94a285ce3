"""What worker processes do with photographs. No torch here: they import this.

The first argument is the arrays of the shared buffers; a task that returns many pixels writes them
into the last one, at `offset`.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from resnet_repro.base.errors import DataError
from resnet_repro.base.files import open_regular
from resnet_repro.data.photos.crops import (
    FIVE_PLACES,
    centre_corner,
    crops_of,
    drawn_corner,
    five_corners,
    quick_crop_of,
    whole,
)
from resnet_repro.data.photos.decoding import LARGEST, read_size
from resnet_repro.data.photos.photos import Buffers, Pixels, Selection

__all__ = [
    "centre_crops",
    "colour_sums",
    "content_hashes",
    "copy_pixels",
    "find_broken",
    "five_crops",
    "header_sizes",
    "training_crops",
    "whole_images",
]


def training_crops(
    buffers: Buffers,
    selection: Selection,
    sides: NDArray[np.int64],
    fractions: NDArray[np.float64],
    crop: int,
    offset: int,
) -> None:
    """Crops [n, crop, crop, 3] of images resized to `sides` [n], placed by `fractions` [n, 2]."""
    out = _room(buffers, offset, (len(selection), crop, crop, 3))
    for position, (side, place) in enumerate(zip(sides.tolist(), fractions.tolist(), strict=True)):
        image = selection.image(position, buffers)
        corner = drawn_corner(image.size, side, crop, place)
        out[position] = quick_crop_of(image, side, corner, crop)


def centre_crops(buffers: Buffers, selection: Selection, side: int, crop: int, offset: int) -> None:
    """Centre crops [n, 1, crop, crop, 3]."""
    out = _room(buffers, offset, (len(selection), 1, crop, crop, 3))
    for position in range(len(selection)):
        image = selection.image(position, buffers)
        out[position] = crops_of(image, side, [centre_corner(image.size, side, crop)], crop)


def five_crops(buffers: Buffers, selection: Selection, side: int, crop: int, offset: int) -> None:
    """The five places of 10-crop testing, [n, 5, crop, crop, 3]."""
    out = _room(buffers, offset, (len(selection), FIVE_PLACES, crop, crop, 3))
    for position in range(len(selection)):
        image = selection.image(position, buffers)
        out[position] = crops_of(image, side, five_corners(image.size, side, crop), crop)


def whole_images(buffers: Buffers, selection: Selection, side: int) -> list[Pixels]:
    """Whole images [H, W, 3], resized to the shorter side."""
    return [whole(selection.image(n, buffers), side) for n in range(len(selection))]


def colour_sums(
    buffers: Buffers, selection: Selection, side: int, crop: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Over centre crops: sums per pixel [crop, crop, 3], sums of products of colours [3, 3]."""
    total = np.zeros((crop, crop, 3), np.int64)
    products = np.zeros((3, 3), np.int64)
    for position in range(len(selection)):
        image = selection.image(position, buffers)
        (pixels,) = crops_of(image, side, [centre_corner(image.size, side, crop)], crop)
        total += pixels
        flat = pixels.reshape(-1, 3).astype(np.float64)
        products += (flat.T @ flat).astype(np.int64)  # exact: far below 2**53
    return total, products


def header_sizes(buffers: Buffers, root: str, names: list[str]) -> NDArray[np.int64]:
    """(height, width) [n, 2] of image files, from their headers."""
    sizes = [read_size(f"{root}/{name}", name) for name in names]
    return np.array(sizes, np.int64).reshape(-1, 2)[:, ::-1]


def copy_pixels(
    buffers: Buffers, selection: Selection, sizes: list[int], names: list[str], offset: int
) -> list[tuple[int, int]]:
    """The pixels of images one after another, `sizes` bytes each; returns (height, width) of each.

    These are what `header_sizes` says, except where EXIF comes after the pixels and turns them.
    """
    shapes = []
    for position, (size, name) in enumerate(zip(sizes, names, strict=True)):
        pixels = np.asarray(selection.image(position, buffers))
        if pixels.size != size:
            raise DataError(f"{name}: has another size than its header says, or is being changed")
        _room(buffers, offset, (size,))[:] = pixels.reshape(-1)
        shapes.append(pixels.shape[:2])
        offset += size
    return shapes


def content_hashes(buffers: Buffers, root: str, names: list[str]) -> list[bytes]:
    """SHA-256 of each file's contents."""
    hashes = []
    for name in names:
        try:
            with open_regular(f"{root}/{name}", LARGEST) as file:
                hashes.append(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise DataError(f"cannot read {root}/{name}: {error.strerror}") from error
    return hashes


def find_broken(buffers: Buffers, selection: Selection) -> list[str]:
    """One line for each image that cannot be decoded."""
    broken = []
    for position in range(len(selection)):
        try:
            selection.image(position, buffers)
        except DataError as error:
            broken.append(str(error))
    return broken


def _room(buffers: Buffers, offset: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The part of the last buffer that an array of this shape has at `offset`."""
    return buffers[-1][offset : offset + int(np.prod(shape))].reshape(shape)
