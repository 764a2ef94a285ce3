"""Resizing by the shorter side and cropping, with Pillow: what training and testing look at.

Resizing is Pillow's bilinear filter, which is antialiased when it makes an image smaller. For
testing, the whole image is resized and then cropped. For training, a crop is computed without the
rest of the resized image, which takes a third of the time. That is the same up to rounding, since
Pillow takes its `box` in single precision: a few values in a hundred differ by one level of 255,
hardly any by two.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from resnet_repro.data.photos.photos import Pixels

__all__ = [
    "FIVE_PLACES",
    "centre_corner",
    "crops_of",
    "drawn_corner",
    "five_corners",
    "quick_crop_of",
    "resized_size",
    "whole",
]

Corner = tuple[int, int]  # (top, left) of a crop in the resized image, pixels
FIVE_PLACES = 5  # the four corners and the centre of 10-crop testing

_FILTER = Image.Resampling.BILINEAR


def resized_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(width, height) whose shorter side is `side`, of an image of (width, height) `size`.

    The longer side is rounded down, as torchvision does it.
    """
    width, height = size
    if width <= height:
        return side, side * height // width
    return side * width // height, side


def whole(image: Image.Image, side: int) -> Pixels:
    """The whole image, its shorter side resized to `side`: uint8 [H, W, 3]."""
    return np.asarray(image.resize(resized_size(image.size, side), _FILTER))


def crops_of(image: Image.Image, side: int, corners: list[Corner], crop: int) -> list[Pixels]:
    """Square crops [crop, crop, 3] at `corners` of the image resized to shorter side `side`."""
    resized = whole(image, side)
    return [resized[top : top + crop, left : left + crop] for top, left in corners]


def quick_crop_of(image: Image.Image, side: int, corner: Corner, crop: int) -> Pixels:
    """One of `crops_of`, to rounding, without computing the rest of the resized image."""
    width, height = resized_size(image.size, side)
    (top, left), across, down = corner, image.width / width, image.height / height
    box = (left * across, top * down, (left + crop) * across, (top + crop) * down)
    # In single precision, which Pillow uses, the far edge may come out beyond the image.
    box = (*box[:2], min(box[2], image.width), min(box[3], image.height))
    return np.asarray(image.resize((crop, crop), _FILTER, box))


def drawn_corner(
    size: tuple[int, int], side: int, crop: int, fractions: tuple[float, float]
) -> Corner:
    """The corner that two uniform random numbers of [0, 1) choose among all that fit."""
    width, height = resized_size(size, side)
    down, across = fractions
    return int(down * (height - crop + 1)), int(across * (width - crop + 1))


def centre_corner(size: tuple[int, int], side: int, crop: int) -> Corner:
    """The corner of the centre crop, rounded as torchvision does it."""
    width, height = resized_size(size, side)
    return round((height - crop) / 2), round((width - crop) / 2)


def five_corners(size: tuple[int, int], side: int, crop: int) -> list[Corner]:
    """The corners of 10-crop testing's five places: four corners and centre."""
    width, height = resized_size(size, side)
    bottom, right = height - crop, width - crop
    return [(0, 0), (0, right), (bottom, 0), (bottom, right), centre_corner(size, side, crop)]
