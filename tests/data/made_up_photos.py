"""Photographs that nobody took."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

WritePhotos = Callable[..., Path]


def nearly(pixels: np.ndarray, expected: np.ndarray) -> bool:
    """Whether two arrays of levels are the same to rounding: of two passes, so two levels.

    Where many values lie half-way between two levels, many are rounded to the other one.
    """
    difference = np.abs(pixels.astype(int) - expected)
    return bool(difference.max() <= 2 and (difference > 0).mean() < 0.3)


def photo(seed: int, width: int, height: int) -> Image.Image:
    """A smooth but lively image: JPEG keeps it nearly as it is, shifts by a pixel show."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (max(2, height // 6), max(2, width // 6), 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
