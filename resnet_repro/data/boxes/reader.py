"""Folders of images with boxes: what is read of them, and opening, preparing and checking them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnet_repro.base.plain_text import plural
from resnet_repro.data.boxes.annotations import SMALLEST, Object
from resnet_repro.data.boxes.boxes import PARTS, BoxDataset, BoxImages, Target
from resnet_repro.data.folder_index import FilePart, FolderIndex, Scan
from resnet_repro.data.folder_reader import FolderReader
from resnet_repro.data.photos.photos import FilePhotos

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["AnnotatedImage", "BoxPart", "BoxReader", "FileBoxes"]


class AnnotatedImage(NamedTuple):
    """One image as its data set describes it."""

    image_id: str
    file: str  # relative to the data set's folder
    size: int  # bytes of the file
    objects: list[Object]


@dataclass(frozen=True, eq=False)
class BoxPart(FilePart):
    """The images of train or test in order, and all of their M objects in one row."""

    ids: list[str]  # [N]
    first: NDArray[np.int64]  # [N + 1], of each image the first of its objects; at last M
    boxes: NDArray[np.float32]  # [M, 4]
    labels: NDArray[np.int64]  # [M]
    difficult: NDArray[np.bool_]  # [M]

    def __post_init__(self) -> None:
        """Raise ValueError if there is not one row for each image or object."""
        images, objects = len(self.ids), len(self.labels)
        lengths = (len(self.names), len(self.sizes), len(self.first) - 1)
        if lengths != (images,) * 3 or (*self.boxes.shape, self.first[-1]) != (objects, 4, objects):
            raise ValueError("not one row for each image or object")

    @classmethod
    def of(cls, images: Sequence[AnnotatedImage], classes: Sequence[str]) -> BoxPart:
        """A part of these images, with the objects of these classes; others are left out."""
        label_of = {name: label for label, name in enumerate(classes, start=1)}
        kept = [[one for one in image.objects if one.name in label_of] for image in images]
        objects = [one for some in kept for one in some]
        return cls(
            [image.file for image in images],
            np.array([image.size for image in images], np.int64),
            [image.image_id for image in images],
            np.cumsum([0, *map(len, kept)], dtype=np.int64),
            np.array([one.box for one in objects], np.float32).reshape(-1, 4),
            np.array([label_of[one.name] for one in objects], np.int64),
            np.array([one.difficult for one in objects], bool),
        )

    def update(self, digest: hashlib._Hash) -> None:
        """Let a hash cover names, sizes and objects, not the files' contents."""
        for text in (*self.ids, *self.names):
            digest.update(os.fsencode(text) + b"\0")
        for array in (self.sizes, self.first, self.boxes, self.labels, self.difficult):
            digest.update(array.tobytes())


class FileBoxes(BoxImages):
    """Images in files, decoded when asked for, as they are stored: without EXIF's orientation."""

    def __init__(self, root: Path, part: BoxPart, contents: NDArray[np.uint8] | None) -> None:
        self.part, self.ids = part, part.ids
        no_class = np.zeros(len(part.ids), np.int64)  # of the image as a whole
        self.photos = FilePhotos(root, part.names, no_class, part.sizes, contents, turned=False)

    def image(self, index: int) -> Tensor:
        import torch

        return torch.tensor(self.photos.pixels(index)).permute(2, 0, 1).contiguous()

    def target(self, index: int) -> Target:
        import torch

        part = self.part
        mine = slice(*part.first[index : index + 2].tolist())
        arrays = (part.boxes, part.labels, part.difficult)
        return Target(self.ids[index], *(torch.tensor(array[mine]) for array in arrays))


class BoxReader(FolderReader[BoxPart, BoxDataset]):
    """A data set of images with boxes; what `scan` reads is special to each."""

    images_in_words = "images"
    index_folder, index_format, index_keys = ".boxes", 3, PARTS
    part = BoxPart

    def is_current(self, index: FolderIndex[BoxPart]) -> bool:
        # Earlier versions kept boxes that are empty today.
        parts = (index.scan.train, index.scan.test)
        sides = (part.boxes[:, 2:] - part.boxes[:, :2] for part in parts)
        empty = any((some < SMALLEST / 2).any() for some in sides)  # half, for float32's rounding
        return not empty and index.is_current()

    def summary(self, scan: Scan[BoxPart]) -> str:
        train, test = scan.counts
        return (
            f"{train:,} images to train on ({scan.splits['train']}) and"
            f" {test:,} to test on ({scan.splits['test'] or 'none'}) with boxes"
            f" around objects of {plural(len(scan.classes), 'class')}"
        )

    def sha256(self, scan: Scan[BoxPart], contents: NDArray[np.uint8] | None) -> str:
        """Of classes, of names, sizes and objects of all images in order, and of their contents."""
        digest = hashlib.sha256("\0".join(scan.classes).encode() + b"\0\0")
        for part in (scan.train, scan.test):
            part.update(digest)
        if contents is not None:
            digest.update(contents.tobytes())
        return digest.hexdigest()

    def photos(self, index: FolderIndex[BoxPart]) -> tuple[FilePhotos, FilePhotos]:
        train, test = self._parts(index)
        return train.photos, test.photos

    def dataset(self, index: FolderIndex[BoxPart]) -> BoxDataset:
        train, test = self._parts(index)
        return BoxDataset(index.identity, index.scan.classes, train, test)

    def _parts(self, index: FolderIndex[BoxPart]) -> tuple[FileBoxes, FileBoxes]:
        """The images to train and to test on, still in their files."""
        train, test = index.part_contents
        return (
            FileBoxes(index.root, index.scan.train, train),
            FileBoxes(index.root, index.scan.test, test),
        )
