"""What a folder of images with boxes holds, kept in the data folder so that opening it is quick.

Like the index of photographs (`photos.index`). It is good as long as the lists, the annotations and
the folders of images have not changed; an image that changes in place shows when it is decoded.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_repro.data.boxes.boxes import PARTS, BoxDataset
from resnet_repro.data.boxes.parts import BoxPart, FileBoxes, Scan
from resnet_repro.data.dataset import Identity
from resnet_repro.data.folder_index import Arrays, FolderIndex, load_index, store_index
from resnet_repro.data.npz import packed_texts, unpacked_texts
from resnet_repro.data.photos.index import CONTENTS_LIMIT, hash_contents

__all__ = ["BoxIndex", "make_index", "read_index", "write_index"]

FORMAT = 2  # 1 had areas as well, which entered the hash
FOLDER = ".boxes"  # in the data folder
_ARRAYS = ("sizes", "first", "boxes", "labels", "difficult")


@dataclass(frozen=True, eq=False)
class BoxIndex(FolderIndex[BoxDataset]):
    """A folder of images with boxes that has been scanned."""

    scan: Scan

    @property
    def counts(self) -> tuple[int, int]:
        return len(self.scan.train.ids), len(self.scan.test.ids)

    def is_current(self) -> bool:
        stamps = self.scan.stamps.items()
        return all(os.stat(f"{self.root}/{name}").st_mtime_ns == at for name, at in stamps)  # noqa: PTH116

    def parts(self) -> tuple[FileBoxes, FileBoxes]:
        """The images to train and to test on, still in their files."""
        scan, contents = self.scan, self.contents
        count, _ = self.counts
        train, test = (None, None) if contents is None else (contents[:count], contents[count:])
        return FileBoxes(self.root, scan.train, train), FileBoxes(self.root, scan.test, test)

    def dataset(self) -> BoxDataset:
        """The data set of them."""
        return BoxDataset(self.identity, self.scan.classes, *self.parts(), self.scan.splits)


def make_index(
    name: str,
    root: Path,
    scan: Scan,
    source: str,
    *,
    official: bool,
    official_counts: tuple[int, int] | None,
    before: BoxIndex | None,
) -> BoxIndex:
    """Say what was found in `root`, and hash it.

    The identity's sha256 is of the classes, of names, sizes and objects of all images in order, and
    of the files' contents unless they exceed `CONTENTS_LIMIT`. `official` is for whoever unpacked
    the folder from archives with the official checksums, `official_counts` are the images to train
    and to test on that it should have. A folder with the same hash as `before`, an earlier index,
    is what that says it is.

    Raises DataError when a file cannot be read.
    """
    contents = hash_contents(root, [*scan.train.files, *scan.test.files], scan.bytes)
    digest = hashlib.sha256("\0".join(scan.classes).encode() + b"\0\0")
    for part in (scan.train, scan.test):
        part.update(digest)
    if contents is not None:
        digest.update(contents.data)
    sha256 = digest.hexdigest()
    if before and before.identity.sha256 == sha256 and not official:
        return BoxIndex(root, before.identity, contents, scan)
    note = _note(name, scan, official, official_counts, contents is not None)
    return BoxIndex(root, Identity(name, official, sha256, source, note), contents, scan)


def _note(
    name: str, scan: Scan, official: bool, expected: tuple[int, int] | None, hashed: bool
) -> str:
    """What to say beside results."""
    remarks = list(scan.remarks)
    if not official:
        what = "the user's own images" if name.startswith("voc:") else "unofficial copy"
        train, test = len(scan.train.ids), len(scan.test.ids)
        remarks[:0] = [
            f"{what}: {train:,} images to train on ({scan.splits['train']}) and {test:,} to test on"
            f" ({scan.splits['test'] or 'none'}) with boxes around objects of"
            f" {len(scan.classes):,} classes, from single files, which cannot be checked against"
            " anything official"
        ]
        if expected and expected != (train, test):
            remarks.append(f"the official one has {expected[0]:,} and {expected[1]:,}")
        if not hashed:
            remarks.append("told apart from other copies by names, sizes and boxes, not contents")
    return "; ".join(remarks)


def read_index(name: str, root: Path, data_dir: Path, *, outdated: bool = False) -> BoxIndex | None:
    """The index of `root` that `data_dir` keeps; None when there is none.

    One of a folder that has changed since is left out too, unless `outdated` asks for it.
    """

    def unpack(identity: Identity, header: Any, values: Arrays) -> BoxIndex:
        stamps = dict(
            zip(unpacked_texts(values["stamped"]), values["stamps"].tolist(), strict=True)
        )
        train, test = (_unpack(values, part) for part in PARTS)
        scan = Scan(
            tuple(header["classes"]),
            train,
            test,
            dict(header["splits"]),
            stamps,
            tuple(header["remarks"]),
        )
        contents = values.get("contents")
        if (contents is None) != (scan.bytes > CONTENTS_LIMIT):
            raise ValueError("hashed with another limit")
        return BoxIndex(root, identity, contents, scan)

    return load_index(data_dir / FOLDER, FORMAT, name, root, unpack, outdated=outdated)


def write_index(index: BoxIndex, data_dir: Path) -> None:
    """Store `index` in `data_dir`, if that is writable."""
    scan = index.scan
    header = {"classes": scan.classes, "splits": scan.splits, "remarks": scan.remarks}
    arrays: dict[str, NDArray[Any]] = {
        "stamped": packed_texts(list(scan.stamps)),
        "stamps": np.array(list(scan.stamps.values()), np.int64),
    }
    for name, part in zip(PARTS, (scan.train, scan.test), strict=True):
        arrays |= {f"{name}_ids": packed_texts(part.ids), f"{name}_files": packed_texts(part.files)}
        arrays |= {f"{name}_{key}": getattr(part, key) for key in _ARRAYS}
    store_index(data_dir / FOLDER, FORMAT, index, header, arrays)


def _unpack(values: Arrays, name: str) -> BoxPart:
    ids, files = unpacked_texts(values[f"{name}_ids"]), unpacked_texts(values[f"{name}_files"])
    part = BoxPart(ids, files, *(values[f"{name}_{key}"] for key in _ARRAYS))
    count, objects = len(part.ids), len(part.labels)
    lengths = (len(part.files), len(part.sizes), len(part.first) - 1)
    if lengths != (count,) * 3 or part.boxes.shape != (objects, 4) or part.first[-1] != objects:
        raise ValueError("not one row for each image or object")
    return part
