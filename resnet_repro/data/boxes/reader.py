"""Folders of images with boxes: opening, preparing and checking them."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from resnet_repro.base.plain_text import plural
from resnet_repro.data.boxes.boxes import PARTS, BoxDataset
from resnet_repro.data.boxes.parts import BoxPart, FileBoxes
from resnet_repro.data.folder_index import FolderIndex, Scan
from resnet_repro.data.folders import FolderReader
from resnet_repro.data.photos.photos import FilePhotos

__all__ = ["BoxReader"]


class BoxReader(FolderReader[BoxPart, BoxDataset]):
    """A data set of images with boxes; what `scan` reads is special to each."""

    images_in_words = "images"
    index_folder, index_format, index_keys = ".boxes", 3, PARTS
    part = BoxPart

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
        return BoxDataset(index.identity, index.scan.classes, train, test, index.scan.splits)

    def _parts(self, index: FolderIndex[BoxPart]) -> tuple[FileBoxes, FileBoxes]:
        """The images to train and to test on, still in their files."""
        train, test = index.part_contents
        return (
            FileBoxes(index.root, index.scan.train, train),
            FileBoxes(index.root, index.scan.test, test),
        )
