"""Data sets of images with boxes around the objects in them.

A box is x1, y1, x2, y2: the corners, in pixels from the image's upper left corner, so that an
object that fills an image of 640x480 has the box 0, 0, 640, 480, and x2 - x1 is its width. It is
the convention of torchvision's detectors. Labels are 1 to K, in the order of the data set's
classes; 0 is the background.

Imports torch only when an item is asked for: `data list` reads what a data set is without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from resnet_repro.base.errors import DataError
from resnet_repro.data.dataset import Identity

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PARTS", "BoxDataset", "BoxImages", "Detections", "Target"]

PARTS = ("train", "test")


@dataclass(frozen=True, eq=False)
class Target:
    """The objects in one image."""

    image_id: str  # as the data set calls the image: "000001"
    boxes: Tensor  # float32 [n, 4], corners in pixels
    labels: Tensor  # int64 [n], 1 to K
    difficult: Tensor  # bool [n], neither trained on nor counted: VOC's flag, COCO's crowds

    def mirrored(self, width: int) -> Target:
        """The same in the mirror image of an image that is `width` pixels wide."""
        boxes = self.boxes.clone()
        boxes[:, [0, 2]] = width - self.boxes[:, [2, 0]]
        return replace(self, boxes=boxes)


class Detections(NamedTuple):
    """What was found in one image: tensors, or arrays."""

    boxes: Any  # float32 [n, 4], corners in pixels of the image as its data set has it
    scores: Any  # float32 [n], 0 to 1; a detector's the highest first
    labels: Any  # int64 [n], 1 to K


class BoxImages(ABC):
    """One part, train or test, of a data set with boxes; `images[i]` is (image, target)."""

    ids: Sequence[str]  # [N], as the data set calls the images

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        """One image and its target. Raises IndexError, and DataError naming a broken file."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.image(index), self.target(index)

    @abstractmethod
    def image(self, index: int) -> Tensor:
        """uint8 [3, H, W], RGB. Raises DataError naming the file."""

    @abstractmethod
    def target(self, index: int) -> Target:
        """The objects in it, without decoding it."""


@dataclass(frozen=True, eq=False)
class BoxDataset:
    """Images with boxes to train and test on."""

    identity: Identity  # its sha256 covers images and boxes
    classes: tuple[str, ...]  # label k is classes[k - 1]
    train: BoxImages
    test: BoxImages

    def need_images(self, part: str, why: str) -> None:
        """Raise DataError, which says `why`, where a part, train or test, has no images."""
        if not len(getattr(self, part)):
            raise DataError(f"{self.identity.name} has nothing to {part} on here: {why}")
