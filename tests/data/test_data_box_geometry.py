"""Boxes go where their pixels go when an image is mirrored or resized."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from resnet_repro.data.boxes.annotations import SMALLEST, check_box
from resnet_repro.data.boxes.boxes import Target


def made_up(height: int, width: int, *boxes: tuple[int, int, int, int]) -> tuple[Tensor, Target]:
    """A black image with white boxes."""
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    for x1, y1, x2, y2 in boxes:
        image[:, y1:y2, x1:x2] = 255
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    count = len(boxes)
    return image, Target("a", corners, torch.ones(count).long(), torch.zeros(count).bool())


def box_of(image: Tensor) -> list[int]:
    rows, columns = torch.where(image[0] > 127)
    return [int(v) for v in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]


@pytest.mark.parametrize("box", [(2, 3, 7, 9), (0, 0, 20, 10), (19, 9, 20, 10), (0, 4, 1, 5)])
def test_a_mirrored_box_is_around_the_same_pixels(box: tuple[int, int, int, int]) -> None:
    image, target = made_up(10, 20, box)
    mirrored, there = image.flip(-1), target.mirrored(20)
    assert there.boxes.tolist() == [[float(v) for v in box_of(mirrored)]]
    again = there.mirrored(20)
    assert torch.equal(again.boxes, target.boxes)
    assert target.boxes.tolist() == [list(map(float, box))]  # what came in is as it was
    assert again.labels is target.labels


def test_the_smallest_box_is_still_one_when_it_is_mirrored_and_resized() -> None:
    """In float32, which torchvision's detectors need it to be."""
    size = (20_000, 100)
    corners = [at * 19.73 for at in range(1_000)] + [0.0, size[0] - SMALLEST * 1.001]
    boxes = [check_box((x, 0, x + SMALLEST * 1.001, 9), size, "a") for x in corners]
    flags = torch.zeros(len(boxes))
    target = Target("a", torch.tensor(boxes), flags.long(), flags.bool())
    for there in (target.boxes, target.mirrored(size[0]).boxes):
        for scale in (1, torch.tensor(1_000.0) / size[0]):
            assert (there[:, 2] * scale > there[:, 0] * scale).all()


def test_no_boxes_stay_no_boxes() -> None:
    assert made_up(10, 20)[1].mirrored(20).boxes.shape == (0, 4)
