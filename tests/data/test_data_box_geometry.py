"""Boxes go where their pixels go when an image is mirrored or resized."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from resnet_repro.data.boxes.boxes import Target
from resnet_repro.data.boxes.geometry import flip, flip_boxes, resize, resized_size


def made_up(height: int, width: int, box: tuple[int, int, int, int]) -> tuple[Tensor, Target]:
    """A black image with one white box."""
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    x1, y1, x2, y2 = box
    image[:, y1:y2, x1:x2] = 255
    boxes = torch.tensor([box], dtype=torch.float32)
    areas = torch.tensor([float((x2 - x1) * (y2 - y1))])
    return image, Target("a", boxes, torch.tensor([1]), torch.tensor([False]), areas)


def box_of(image: Tensor) -> list[int]:
    rows, columns = torch.where(image[0] > 127)
    return [int(v) for v in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]


@pytest.mark.parametrize("box", [(2, 3, 7, 9), (0, 0, 20, 10), (19, 9, 20, 10), (0, 4, 1, 5)])
def test_a_mirrored_box_is_around_the_same_pixels(box: tuple[int, int, int, int]) -> None:
    image, target = made_up(10, 20, box)
    mirrored, there = flip(image, target)
    assert there.boxes.tolist() == [[float(v) for v in box_of(mirrored)]]
    back, again = flip(mirrored, there)
    assert torch.equal(back, image)
    assert torch.equal(again.boxes, target.boxes)
    assert target.boxes.tolist() == [list(map(float, box))]  # what came in is as it was
    assert again.labels is target.labels


def test_no_boxes_stay_no_boxes() -> None:
    assert flip_boxes(torch.zeros(0, 4), 7).shape == (0, 4)


@pytest.mark.parametrize(
    ("height", "width", "shorter", "longest", "expected"),
    [
        (375, 500, 600, 1000, (600, 800)),
        (500, 375, 600, 1000, (800, 600)),
        (300, 900, 600, 1000, (333, 1000)),
        (600, 600, 600, 1000, (600, 600)),
        (333, 500, 600, 1000, (600, 900)),
        (1000, 10, 600, 1000, (1000, 10)),
        (5000, 1, 600, 1000, (1000, 1)),
    ],
)
def test_the_shorter_side_and_the_longest(
    height: int, width: int, shorter: int, longest: int, expected: tuple[int, int]
) -> None:
    assert resized_size(height, width, shorter, longest) == expected


@pytest.mark.parametrize(("height", "width"), [(375, 500), (333, 500), (500, 334), (224, 317)])
def test_sizes_are_torchvisions(height: int, width: int) -> None:
    transform = GeneralizedRCNNTransform(600, 1000, [0.0] * 3, [1.0] * 3).eval()
    resized, _ = transform.resize(torch.zeros(3, height, width))
    assert resized_size(height, width, 600, 1000) == tuple(resized.shape[1:])


def test_a_resized_box_is_around_the_same_pixels() -> None:
    image, target = made_up(40, 60, (12, 8, 30, 24))
    resized, there = resize(image, target, 80, 1000)
    assert resized.dtype == torch.uint8
    assert resized.shape == (3, 80, 120)
    assert there.boxes.tolist() == [[24, 16, 60, 48]]
    assert box_of(resized) == [24, 16, 60, 48]
    assert there.areas.tolist() == [4 * target.areas.item()]
    smaller, there = resize(resized, there, 40, 50)  # 50 bounds the longer side
    assert smaller.shape == (3, 33, 50)
    assert torch.allclose(
        there.boxes, torch.tensor([[24 * 50 / 120, 16 * 33 / 80, 25, 48 * 33 / 80]])
    )
    assert resize(image, target, 40, 60)[0] is image
