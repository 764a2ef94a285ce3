"""Sizes and crops, against torchvision's and against cropping the whole resized image."""

from __future__ import annotations

import numpy as np
import pytest
from made_up_photos import nearly, photo
from PIL import Image
from torchvision.transforms import functional as reference

from resnet_repro.data.photos.crops import (
    centre_corners,
    crops_of,
    drawn_corner,
    five_corners,
    quick_crop_of,
    resized_size,
    whole,
)

SIZES = [(160, 160), (160, 213), (500, 375), (333, 500), (31, 47), (64, 64), (1024, 97)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", [64, 73, 137, 256])
def test_resizing_is_torchvisions(size: tuple[int, int], side: int) -> None:
    image = photo(1, *size)
    expected = reference.resize(image, [side], antialias=True)
    assert resized_size(size, side) == expected.size
    assert (whole(image, side) == np.asarray(expected)).all()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", [64, 73, 137])
def test_a_quick_crop_is_the_same_as_cropping_the_whole(size: tuple[int, int], side: int) -> None:
    image = photo(2, *size)
    everything = whole(image, side)
    width, height = resized_size(size, side)
    corners = [*five_corners(size, side, 64), ((height - 64) // 3, (width - 64) // 5)]
    for top, left in corners:
        expected = everything[top : top + 64, left : left + 64]
        assert (crops_of(image, side, [(top, left)], 64)[0] == expected).all()
        assert nearly(quick_crop_of(image, side, (top, left), 64), expected)
        if 0 < left < width - 64:  # a pixel to the side is something else
            assert not nearly(quick_crop_of(image, side, (top, left + 1), 64), expected)


@pytest.mark.parametrize("size", SIZES)
def test_places_of_testing_are_torchvisions(size: tuple[int, int]) -> None:
    resized = reference.resize(photo(3, *size), [73])
    rows = np.repeat(np.arange(resized.height)[:, None], resized.width, axis=1)
    columns = np.repeat(np.arange(resized.width)[None], resized.height, axis=0)
    for values, axis in ((rows, 0), (columns, 1)):
        expected = [
            np.asarray(c)[0, 0]
            for c in reference.five_crop(Image.fromarray(values.astype(np.int32)), 64)
        ]
        assert [corner[axis] for corner in five_corners(size, 73, 64)] == expected
        centre = np.asarray(reference.center_crop(Image.fromarray(values.astype(np.int32)), 64))[
            0, 0
        ]
        assert centre_corners(size, 73, 64)[0][axis] == centre


def test_a_drawn_corner_can_be_any_that_fits() -> None:
    fractions = [n / 1000 for n in range(1000)] + [np.nextafter(1.0, 0.0)]
    corners = [drawn_corner((200, 100), 70, 64, (f, f)) for f in fractions]
    assert {top for top, _ in corners} == set(range(7))
    assert {left for _, left in corners} == set(range(140 - 64 + 1))
