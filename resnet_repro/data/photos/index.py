"""The index of a folder of photographs, stored in the data folder so that it opens quickly.

An index is valid as long as its folders are unchanged, that is, no file was added, removed or
renamed. Files that were overwritten or damaged are found when they are decoded: their size is
checked, and the SHA-256 of their contents if the identity covers contents.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_repro.base.errors import DataError
from resnet_repro.base.files import open_regular
from resnet_repro.data.dataset import Identity, Notify
from resnet_repro.data.folder_index import Arrays, FolderIndex, load_index, store_index
from resnet_repro.data.layout import in_order, of_system, order_in_words
from resnet_repro.data.npz import packed_texts, unpacked_texts
from resnet_repro.data.photos.decoding import LARGEST
from resnet_repro.data.photos.folder import Part, Scan, scan_folder
from resnet_repro.data.photos.photos import FilePhotos, PhotoDataset
from resnet_repro.data.photos.workers import map_files

__all__ = [
    "CONTENTS_LIMIT",
    "PhotoIndex",
    "hash_contents",
    "make_index",
    "read_index",
    "write_index",
]

_log = logging.getLogger(__name__)

FORMAT = 1
FOLDER = ".photographs"  # in the data folder
CONTENTS_LIMIT = 2**33  # bytes; for larger data sets only names and sizes are hashed


@dataclass(frozen=True, eq=False)
class PhotoIndex(FolderIndex[PhotoDataset]):
    """A folder of photographs that has been scanned."""

    scan: Scan

    @property
    def counts(self) -> tuple[int, int]:
        return len(self.scan.train.names), len(self.scan.val.names)

    @property
    def hashes_contents(self) -> bool:
        """Whether the identity's SHA-256 covers the files' contents, not only names and sizes."""
        return _total_bytes(self.scan) <= CONTENTS_LIMIT

    def is_current(self) -> bool:
        """Whether the folders are unchanged, and this version reads them in the same way."""
        classes, stamps = self.scan.classes, self.scan.stamps
        return (
            list(classes) == in_order(classes)
            and not any(of_system(name) for folder in stamps for name in folder.split("/"))
            and all((self.root / name).stat().st_mtime_ns == at for name, at in stamps.items())
        )

    def dataset(self) -> PhotoDataset:
        """The photographs, still in their files."""
        return PhotoDataset(
            self.identity,
            self.scan.classes,
            self._photos(self.scan.train, 0),
            self._photos(self.scan.val, len(self.scan.train.names)),
        )

    def _photos(self, part: Part, first: int) -> FilePhotos:
        contents = self.contents
        if contents is not None:
            contents = contents[first : first + len(part.names)]
        return FilePhotos(self.root, part.names, part.labels, part.sizes, contents)


def make_index(
    name: str,
    root: Path,
    source: str,
    *,
    official: bool = False,
    official_counts: tuple[int, int, int] | None = None,
    before: PhotoIndex | None = None,
    progress: Notify = _log.info,
) -> PhotoIndex:
    """Scan the folder of a data set of photographs.

    The identity's SHA-256 covers the names `part/class/file` and the sizes of all files in order,
    and their contents unless they exceed `CONTENTS_LIMIT`.

    Args:
        name: of the data set.
        root: its folder, with train and val.
        source: for the identity.
        official: whether it was unpacked from an archive with the official checksum.
        official_counts: classes, training and validation images of the official data set.
        before: an earlier index, whose identity is kept if the SHA-256 is the same.
        progress: gets messages.

    Raises:
        DataError: the folder is not one of photographs, or a file cannot be read.
    """
    progress(f"looking through {root}, once")
    scan = scan_folder(root)
    contents = hash_contents(root, [*scan.train.names, *scan.val.names], _total_bytes(scan))
    identity = Identity(name, official, _sha256(scan, contents), source, "")
    index = PhotoIndex(root, identity, contents, scan)
    if before and before.identity.sha256 == identity.sha256 and not official:
        return replace(index, identity=before.identity)
    note = "" if official else _unofficial(index, official_counts)
    return replace(index, identity=replace(identity, note=note))


def read_index(
    name: str, root: Path, data_dir: Path, *, outdated: bool = False
) -> PhotoIndex | None:
    """The stored index of `root`; None if there is none.

    Without `outdated`, also None if the folder has changed, or if this version reads it
    differently.
    """

    def unpack(identity: Identity, header: Any, values: Arrays) -> PhotoIndex:
        train, val = (_unpack(values, part) for part in ("train", "val"))
        scan = Scan(tuple(header["classes"]), train, val, header["left_out"], header["stamps"])
        return PhotoIndex(root, identity, values.get("contents"), scan)

    return load_index(data_dir / FOLDER, FORMAT, name, root, unpack, outdated=outdated)


def write_index(index: PhotoIndex, data_dir: Path) -> None:
    """Store `index` in `data_dir`, if that is writable."""
    scan = index.scan
    header = {"classes": scan.classes, "left_out": scan.left_out, "stamps": scan.stamps}
    arrays: dict[str, NDArray[Any]] = {}
    for name, part in (("train", scan.train), ("val", scan.val)):
        arrays[f"{name}_names"] = packed_texts(part.names)
        arrays[f"{name}_labels"], arrays[f"{name}_sizes"] = part.labels, part.sizes
    store_index(data_dir / FOLDER, FORMAT, index, header, arrays)


def _unpack(values: Arrays, name: str) -> Part:
    names = unpacked_texts(values[f"{name}_names"])
    part = Part(names, values[f"{name}_labels"], values[f"{name}_sizes"])
    if not len(part.names) == len(part.labels) == len(part.sizes):
        raise ValueError("not one label and size for each name")
    return part


def _total_bytes(scan: Scan) -> int:
    return int(scan.train.sizes.sum() + scan.val.sizes.sum())


def hash_contents(root: Path, names: Sequence[str], size: int) -> NDArray[np.uint8] | None:
    """SHA-256 [N, 32] of the contents of every file; None if their `size` in bytes is too large.

    Raises DataError if one cannot be read.
    """
    if size > CONTENTS_LIMIT:
        return None
    hashes = map_files(partial(_hashes, root), names)
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32)


def _hashes(root: Path, names: Sequence[str]) -> bytes:
    """SHA-256 of each file's contents, one after another."""
    hashes = b""
    for name in names:
        try:
            with open_regular(f"{root}/{name}", LARGEST) as file:
                hashes += hashlib.file_digest(file, "sha256").digest()
        except OSError as error:
            raise DataError(f"cannot read {root}/{name}: {error.strerror}") from error
    return hashes


def _sha256(scan: Scan, contents: NDArray[np.uint8] | None) -> str:
    sizes: NDArray[np.int64] = np.concatenate([scan.train.sizes, scan.val.sizes])
    digest = hashlib.sha256()
    for number, (name, size) in enumerate(zip(scan.canonical_names(), sizes.tolist(), strict=True)):
        content = b"" if contents is None else contents[number].tobytes()
        digest.update(os.fsencode(name) + f"\0{size}\0".encode() + content)
    return digest.hexdigest()


def _unofficial(index: PhotoIndex, expected: tuple[int, int, int] | None) -> str:
    """The note on results with photographs that cannot be checked against official ones."""
    scan, name = index.scan, index.identity.name
    what = "the user's own photographs" if name.startswith("folder:") else "unofficial copy"
    note = (
        f"{what}: {len(scan.train.names):,} training and {len(scan.val.names):,} validation images"
        f" of {len(scan.classes):,} classes from single files, which cannot be checked against"
        " anything official"
    )
    if not scan.train.names:
        note += "; with none to train on, enough to test somebody else's weights"
    if not index.hashes_contents:
        note += "; told apart from other copies by file names and sizes, not contents"
    if expected and expected != (len(scan.classes), len(scan.train.names), len(scan.val.names)):
        note += f"; the official one has {expected[1]:,} and {expected[2]:,} of {expected[0]:,}"
    missing = len(scan.classes) - len(np.unique(scan.val.labels))
    if missing:
        note += f"; {missing:,} classes have no validation images"
    order = order_in_words(scan.classes)
    if order not in ("names", "numbers"):
        note += f"; the classes are in the order of their folders' {order}"
    if scan.left_out:
        note += f"; {scan.left_out:,} files that are not images were left out"
    return note
