"""Drawing random crops, and resizing and cropping with Pillow (section 3.4).

Images are resized with Pillow's bilinear filter, which is antialiased when reducing. For testing,
the whole image is resized and then cropped. For training, only the crop of the resized image is
computed, in a third of the time. The results differ by rounding, since Pillow's `box` is in single
precision: a few values in a hundred by one level of 255, hardly any by two.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resnet_repro.data.photos.photos import Pixels
from resnet_repro.spec.recipe_parts import Photographs

__all__ = [
    "FIVE_PLACES",
    "centre_corners",
    "crops_of",
    "draw_crops",
    "drawn_corner",
    "five_corners",
    "quick_crop_of",
    "resized_size",
    "whole",
]

Corner = tuple[int, int]  # (top, left) of a crop in the resized image, pixels
FIVE_PLACES = 5  # the four corners and the centre of 10-crop testing

_FILTER = Image.Resampling.BILINEAR


@dataclass(frozen=True)
class CropDraw:
    """Random draws for each image of a batch, [B] each."""

    sides: NDArray[np.int64]  # shorter side, pixels
    fractions: NDArray[np.float64]  # [B, 2] in [0, 1): the crop's place, down and across
    mirrored: NDArray[np.bool_]
    alphas: NDArray[np.float32]  # [B, 3], AlexNet's: one per principal component of the colours


def draw_crops(seed: int, iteration: int, batch_size: int, photographs: Photographs) -> CropDraw:
    """Draw the crops of a whole batch: a pure function of seed and iteration (from 0)."""
    digest = hashlib.sha256(f"photographs/{seed}/{iteration}".encode()).digest()
    random = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
    low, high = photographs.shorter_side
    uniform = random.random((batch_size, 4))
    # Drawn even if unused, so that switching it off does not change the other draws.
    alphas = random.standard_normal((batch_size, 3)) * photographs.colour_std
    return CropDraw(
        sides=low + (uniform[:, 0] * (high - low + 1)).astype(np.int64),
        fractions=uniform[:, 1:3],
        mirrored=(uniform[:, 3] < 0.5) & photographs.mirror,
        alphas=alphas.astype(np.float32),
    )


def resized_size(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(width, height) whose shorter side is `side`, of an image of (width, height) `size`.

    The longer side is rounded down, as in torchvision.
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
    """One of `crops_of` up to rounding, without computing the rest of the resized image."""
    width, height = resized_size(image.size, side)
    (top, left), across, down = corner, image.width / width, image.height / height
    box = (left * across, top * down, (left + crop) * across, (top + crop) * down)
    # In Pillow's single precision the far edge may lie beyond the image.
    box = (*box[:2], min(box[2], image.width), min(box[3], image.height))
    return np.asarray(image.resize((crop, crop), _FILTER, box))


def drawn_corner(
    size: tuple[int, int], side: int, crop: int, fractions: tuple[float, float]
) -> Corner:
    """A corner among all that fit, chosen by two uniform random numbers in [0, 1)."""
    width, height = resized_size(size, side)
    down, across = fractions
    return int(down * (height - crop + 1)), int(across * (width - crop + 1))


def centre_corners(size: tuple[int, int], side: int, crop: int) -> list[Corner]:
    """The corner of the centre crop, rounded as in torchvision."""
    width, height = resized_size(size, side)
    return [(round((height - crop) / 2), round((width - crop) / 2))]


def five_corners(size: tuple[int, int], side: int, crop: int) -> list[Corner]:
    """The corners of 10-crop testing's five crops: four corners and the centre."""
    width, height = resized_size(size, side)
    bottom, right = height - crop, width - crop
    return [(0, 0), (0, right), (bottom, 0), (bottom, right), *centre_corners(size, side, crop)]
