"""Data sets of photographs, each a folder with train and val: opening, preparing and checking."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resnet_repro.base.plain_text import plural
from resnet_repro.data.folder_index import FolderIndex, Scan
from resnet_repro.data.folder_reader import Copy, FolderReader
from resnet_repro.data.layout import has_parts, in_order, of_system
from resnet_repro.data.photos.photos import FilePhotos, PhotoDataset
from resnet_repro.data.photos.scanning import PhotoPart, scan_folder
from resnet_repro.data.scratch import refuse_occupied

__all__ = ["PhotoReader", "moved_in"]


class PhotoReader(FolderReader[PhotoPart, PhotoDataset]):
    """`folder:NAME`, a user's own photographs; other data sets override what differs."""

    description = "photographs of your own"
    images_in_words = "photographs"
    index_folder, index_format, index_keys = ".photographs", 1, ("train", "val")
    part = PhotoPart

    def scan(self, root: Path, should_stop: Callable[[], bool]) -> Scan[PhotoPart]:
        return scan_folder(root, should_stop)

    def summary(self, scan: Scan[PhotoPart]) -> str:
        train, val = scan.counts
        classes = plural(len(scan.classes), "class")
        return f"{train:,} training and {val:,} validation images of {classes}"

    def sha256(self, scan: Scan[PhotoPart], contents: NDArray[np.uint8] | None) -> str:
        """Of the names `part/class/file` and sizes of all files in order, and their contents."""
        digest = hashlib.sha256()
        for index, (name, size) in enumerate(_names_and_sizes(scan)):
            digest.update(os.fsencode(name) + f"\0{size}\0".encode())
            if contents is not None:
                digest.update(contents[index].tobytes())
        return digest.hexdigest()

    def photos(self, index: FolderIndex[PhotoPart]) -> tuple[FilePhotos, FilePhotos]:
        parts, contents = (index.scan.train, index.scan.test), index.part_contents
        train, test = (
            FilePhotos(index.root, part.names, part.labels, part.sizes, sums)
            for part, sums in zip(parts, contents, strict=True)
        )
        return train, test

    def dataset(self, index: FolderIndex[PhotoPart]) -> PhotoDataset:
        return PhotoDataset(index.identity, index.scan.classes, *self.photos(index))

    def is_current(self, index: FolderIndex[PhotoPart]) -> bool:
        classes = index.scan.classes
        inside = [name for name in index.scan.stamps if not name.startswith("../")]
        return (
            list(classes) == in_order(classes)
            and not any(of_system(part) for name in inside for part in name.split("/"))
            and index.is_current()
        )


def moved_in(folder: Path, official: bool, data_dir: Path) -> Copy:
    """An unpacked folder, to be moved to its name in `data_dir`; it may be inside that already."""
    target = data_dir / folder.name
    if not folder.is_relative_to(target):
        refuse_occupied(target, usable=has_parts(target))
    return Copy(folder, official, target, lambda: _move(folder, target))


def _names_and_sizes(scan: Scan[PhotoPart]) -> Iterator[tuple[str, int]]:
    """`part/class/file` and size of every file in order, also of a val without class folders."""
    for key, part in (("train", scan.train), ("val", scan.test)):
        rows = zip(part.names, part.labels.tolist(), part.sizes.tolist(), strict=True)
        for name, label, size in rows:
            prefix = f"{key}/{scan.classes[label]}/"
            yield (name if name.startswith(prefix) else prefix + name.partition("/")[2]), size


def _move(folder: Path, target: Path) -> None:
    """Move an unpacked folder to `target`, which may be a folder already."""
    if target.is_dir():
        for part in sorted(folder.iterdir()):
            part.rename(target / part.name)
    else:
        folder.rename(target)
