"""Images and their boxes, mirrored and resized together.

Imports torch, so it is not part of what `resnet_repro.data` loads by itself.
"""

from __future__ import annotations

from dataclasses import replace

import torch.nn.functional as F
from torch import Tensor

from resnet_repro.data.boxes.boxes import Target

__all__ = ["flip", "flip_boxes", "resize", "resize_boxes", "resized_size"]


def flip(image: Tensor, target: Target) -> tuple[Tensor, Target]:
    """An image [..., H, W] and its objects, left and right exchanged; what comes in stays as is."""
    boxes = flip_boxes(target.boxes, image.shape[-1])
    return image.flip(-1), replace(target, boxes=boxes)


def flip_boxes(boxes: Tensor, width: float) -> Tensor:
    """Boxes [n, 4] in the mirror image of an image that is `width` pixels wide."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    flipped: Tensor = boxes.new_empty(boxes.shape)
    for column, values in enumerate((width - x2, y1, width - x1, y2)):
        flipped[..., column] = values
    return flipped


def resized_size(height: int, width: int, shorter: int, longest: int) -> tuple[int, int]:
    """(height, width) with the shorter side `shorter`, unless the longer one exceeded `longest`.

    The ratio of the sides is kept, to whole pixels (rounded down, as torchvision's detectors do).
    """
    # Of two fractions the smaller, in whole numbers: no rounding that differs between machines.
    short, long = min(height, width), max(height, width)
    numerator, denominator = (
        (shorter, short) if shorter * long <= longest * short else (longest, long)
    )
    return (
        max(1, height * numerator // denominator),
        max(1, width * numerator // denominator),
    )


def resize(image: Tensor, target: Target, shorter: int, longest: int) -> tuple[Tensor, Target]:
    """An image uint8 [3, H, W] and its objects with the shorter side `shorter` (section A).

    The image is interpolated bilinearly, with antialiasing where it shrinks, and rounded.
    """
    height, width = image.shape[-2:]
    size = resized_size(height, width, shorter, longest)
    if size != (height, width):
        image = F.interpolate(image[None].float(), size, mode="bilinear", antialias=True)[0]
        image = image.round().clamp(0, 255).byte()
    boxes = resize_boxes(target.boxes, (height, width), size)
    scale = size[0] * size[1] / (height * width)
    return image, replace(target, boxes=boxes, areas=target.areas * scale)


def resize_boxes(boxes: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Boxes [n, 4] of an image of `old` (height, width) in one of `new`."""
    across, down = new[1] / old[1], new[0] / old[0]
    return boxes * boxes.new_tensor([across, down, across, down])
