"""The batched augmentation against an obvious one, image by image."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from resnet_repro.data.augment import augment, per_pixel_mean, subtract_mean

Fill = Literal["mean", "black"]
Floats = NDArray[np.float32]
HEIGHT, WIDTH = 6, 10  # not square, so that rows and columns cannot be mixed up unnoticed


def random_images(count: int, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (count, 3, height, width), dtype=np.uint8)


def random_mean(height: int = HEIGHT, width: int = WIDTH) -> Floats:
    return np.random.default_rng(2).uniform(50, 200, (3, height, width)).astype(np.float32)


def one_by_one(
    image: NDArray[np.uint8],
    mean: Floats,
    top: int,
    left: int,
    mirrored: bool,
    pad: int,
    fill: Fill,
) -> Floats:
    """Section 4.2 for one image: pad, crop, perhaps mirror."""
    _, height, width = image.shape
    pixels = image.astype(np.float32)
    if fill == "mean":
        pixels = pixels - mean
    padded = np.zeros((3, height + 2 * pad, width + 2 * pad), np.float32)
    padded[:, pad : pad + height, pad : pad + width] = pixels
    crop = padded[:, top : top + height, left : left + width]
    if mirrored:
        crop = crop[:, :, ::-1]
    return crop - mean if fill == "black" else crop


def every_view(pad: int) -> tuple[list[int], list[int], list[bool]]:
    """Every crop corner with and without mirroring."""
    views = list(itertools.product(range(2 * pad + 1), range(2 * pad + 1), (False, True)))
    tops, lefts, mirrors = zip(*views, strict=True)
    return list(tops), list(lefts), list(mirrors)


def batched(
    images: NDArray[np.uint8],
    mean: Floats,
    views: tuple[list[int], list[int], list[bool]],
    pad: int,
    fill: Fill,
) -> Tensor:
    top, left, mirrored = map(torch.tensor, views)
    return augment(torch.from_numpy(images), torch.from_numpy(mean), top, left, mirrored, pad, fill)


@pytest.mark.parametrize("fill", ["mean", "black"])
@pytest.mark.parametrize("pad", [0, 1, 4])
def test_every_crop_and_mirror_is_that_of_the_obvious_way(pad: int, fill: Fill) -> None:
    views = every_view(pad)
    images, mean = random_images(len(views[0])), random_mean()
    expected = [
        one_by_one(image, mean, *view, pad, fill)
        for image, *view in zip(images, *views, strict=True)
    ]
    result = batched(images, mean, views, pad, fill)
    assert result.dtype == torch.float32
    np.testing.assert_array_equal(result.numpy(), np.stack(expected))


def test_the_batch_lies_in_memory_channels_last() -> None:
    images, mean = random_images(3, 32, 32), random_mean(32, 32)
    views = ([0, 4, 8], [8, 4, 0], [True, False, True])
    for result in (
        batched(images, mean, views, 4, "mean"),
        batched(images, mean, views, 4, "black"),
        subtract_mean(torch.from_numpy(images), torch.from_numpy(mean)),
    ):
        assert result.shape == (3, 3, 32, 32)
        assert result.is_contiguous(memory_format=torch.channels_last)


def test_the_border_is_the_mean() -> None:
    """Zero once the mean is subtracted; everything else is a shifted image minus its own mean."""
    images, mean = random_images(1), random_mean()
    result = batched(images, mean, ([0], [8], [False]), 4, "mean")[0].numpy()
    assert not result[:, :4].any()
    assert not result[:, :, -4:].any()
    np.testing.assert_array_equal(result[:, 4:, :-4], (images[0] - mean)[:, :-4, 4:])


def test_the_border_can_be_black() -> None:
    images, mean = random_images(1), random_mean()
    result = batched(images, mean, ([0], [8], [False]), 4, "black")[0].numpy()
    np.testing.assert_array_equal(result[:, :4], -mean[:, :4])
    np.testing.assert_array_equal(result[:, :, -4:], -mean[:, :, -4:])


def test_the_middle_crop_is_the_test_view() -> None:
    images, mean = random_images(5), random_mean()
    views = ([4] * 5, [4] * 5, [False] * 5)
    expected = images.astype(np.float32) - mean
    np.testing.assert_array_equal(batched(images, mean, views, 4, "mean").numpy(), expected)
    single = subtract_mean(torch.from_numpy(images), torch.from_numpy(mean))
    assert single.dtype == torch.float32
    np.testing.assert_array_equal(single.numpy(), expected)


def test_the_images_themselves_are_left_alone() -> None:
    images, mean = random_images(2), random_mean()
    before = images.copy()
    batched(images, mean, ([0, 1], [0, 1], [True, False]), 4, "black")
    subtract_mean(torch.from_numpy(images), torch.from_numpy(mean))
    np.testing.assert_array_equal(images, before)


def test_the_mean_is_exact() -> None:
    """Several chunks, a partial one, and sums that float32 cannot hold."""
    images = np.random.default_rng(3).integers(200, 256, (100_001, 3, 1, 2), dtype=np.uint8)
    expected = images.mean(axis=0, dtype=np.float64).astype(np.float32)
    mean = per_pixel_mean(torch.from_numpy(images))
    assert mean.dtype == torch.float32
    np.testing.assert_array_equal(mean.numpy(), expected)


def test_the_mean_of_white_images_is_white() -> None:
    assert (per_pixel_mean(torch.full((10_001, 3, 2, 2), 255, dtype=torch.uint8)) == 255).all()
