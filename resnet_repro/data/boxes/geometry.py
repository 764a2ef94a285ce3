"""Images and their boxes, mirrored together; torchvision's detectors resize them together.

Imports torch, so it is not part of what `resnet_repro.data` loads by itself.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from resnet_repro.data.boxes.boxes import Target

__all__ = ["flip"]


def flip(image: Tensor, target: Target) -> tuple[Tensor, Target]:
    """An image [..., H, W] and its objects, left and right exchanged; what comes in stays as is."""
    boxes = _flip_boxes(target.boxes, image.shape[-1])
    return image.flip(-1), replace(target, boxes=boxes)


def _flip_boxes(boxes: Tensor, width: float) -> Tensor:
    """Boxes [n, 4] in the mirror image of an image that is `width` pixels wide."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack((width - x2, y1, width - x1, y2), -1)
