"""The index of a folder of files, stored in the data folder so that a data set opens quickly.

An index is valid as long as what was listed or read to make it is unchanged: folders, files that
tell the classes of photographs, and for boxes lists and annotations. Images that were overwritten
or damaged are found when they are decoded: their size is checked, and the SHA-256 of their contents
if the identity covers contents.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from resnet_repro.base.errors import DataError
from resnet_repro.base.files import open_regular
from resnet_repro.data.dataset import Identity
from resnet_repro.data.npz import read_npz, write_npz
from resnet_repro.data.photos.decoding import LARGEST
from resnet_repro.data.photos.workers import map_files

__all__ = [
    "CONTENTS_LIMIT",
    "AnyPart",
    "FilePart",
    "FolderIndex",
    "Scan",
    "hash_contents",
    "load_index",
    "stamp",
    "store_index",
]

Arrays = dict[str, NDArray[Any]]

CONTENTS_LIMIT = 2**33  # bytes; for larger data sets only names and sizes are hashed


@dataclass(frozen=True, eq=False)
class FilePart:
    """The image files of train or test, in order; subclasses say what is in the images."""

    names: list[str]  # [N], paths relative to the data set's folder
    sizes: NDArray[np.int64]  # [N], bytes

    def packed(self, key: str) -> Arrays:
        """Its fields as arrays, whose names begin with `key`."""
        return {
            f"{key}_{name}": _packed_texts(value) if isinstance(value, list) else value
            for name, value in vars(self).items()
        }

    @classmethod
    def unpacked(cls, key: str, arrays: Arrays) -> Self:
        """The inverse of `packed`. May raise anything if the arrays are not of such a part."""
        values: dict[str, Any] = {}
        for item in fields(cls):
            array = arrays[f"{key}_{item.name}"]
            values[item.name] = _unpacked_texts(array) if item.type == "list[str]" else array
        return cls(**values)


def _packed_texts(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Texts without NUL, such as file names, as one array."""
    return np.frombuffer("\0".join(texts).encode("utf-8", "surrogateescape"), np.uint8)


def _unpacked_texts(array: NDArray[np.uint8]) -> list[str]:
    """The inverse of `_packed_texts`."""
    text = array.tobytes().decode("utf-8", "surrogateescape")
    return text.split("\0") if text else []


AnyPart = TypeVar("AnyPart", bound=FilePart)


@dataclass(frozen=True, eq=False)
class Scan(Generic[AnyPart]):
    """The contents of a folder."""

    classes: tuple[str, ...]
    train: AnyPart
    test: AnyPart
    # What was listed or read, relative to the folder -> time of its last change, nanoseconds.
    stamps: dict[str, int] = field(repr=False)
    splits: dict[str, str] = field(default_factory=dict)  # part -> what the data set calls it
    remarks: tuple[str, ...] = ()  # for the identity's note; not stored

    @property
    def counts(self) -> tuple[int, int]:
        """The numbers of images for training and for testing."""
        return len(self.train.names), len(self.test.names)

    @property
    def is_hashed(self) -> bool:
        """Whether the files' contents are hashed, not only their names and sizes."""
        return int(self.train.sizes.sum() + self.test.sizes.sum()) <= CONTENTS_LIMIT


@dataclass(frozen=True, eq=False)
class FolderIndex(Generic[AnyPart]):
    """A folder that has been scanned."""

    root: Path
    identity: Identity
    contents: NDArray[np.uint8] | None  # SHA-256 [N, 32] of each file to train on, then to test on
    scan: Scan[AnyPart]

    @property
    def part_contents(self) -> tuple[NDArray[np.uint8] | None, NDArray[np.uint8] | None]:
        """`contents` of the images for training and for testing."""
        if self.contents is None:
            return None, None
        train = len(self.scan.train.names)
        return self.contents[:train], self.contents[train:]

    def is_current(self) -> bool:
        """Whether the folder is unchanged, and its files are hashed as this version does it.

        Raises OSError if the folder cannot be looked at.
        """
        return (self.contents is not None) == self.scan.is_hashed and all(
            (self.root / name).stat().st_mtime_ns == at for name, at in self.scan.stamps.items()
        )


def store_index(
    path: Path, index: FolderIndex[AnyPart], version: int, keys: tuple[str, str]
) -> None:
    """Write an index; `keys` are the names of the parts there. Raises OSError if that fails."""
    scan = index.scan
    header = {"format": version, "identity": index.identity.to_dict(), "classes": scan.classes}
    header |= {"stamps": scan.stamps, "splits": scan.splits}
    arrays = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}
    arrays |= scan.train.packed(keys[0]) | scan.test.packed(keys[1])
    if index.contents is not None:
        arrays["contents"] = index.contents
    path.parent.mkdir(parents=True, exist_ok=True)
    write_npz(path, arrays)


def load_index(
    path: Path, root: Path, version: int, keys: tuple[str, str], part: type[AnyPart]
) -> FolderIndex[AnyPart] | None:
    """The index that `store_index` wrote; None if it is missing, damaged or of another version."""
    arrays = read_npz(path) or {}
    try:
        header = json.loads(arrays["header"].tobytes())
        if header["format"] != version:
            return None
        train, test = (part.unpacked(key, arrays) for key in keys)
        splits, stamps = dict(header.get("splits", {})), dict(header["stamps"])
        scan = Scan(tuple(header["classes"]), train, test, stamps, splits)
        identity = Identity(**header["identity"])
        index = FolderIndex(root, identity, arrays.get("contents"), scan)
        fits = index.contents is None or index.contents.shape == (sum(scan.counts), 32)
        return index if fits else None
    except Exception:  # a file of something else can raise nearly anything
        return None


def stamp(root: Path, name: str, stamps: dict[str, int]) -> None:
    """Note when a file or folder was last changed, before it is read for the first time.

    Raises DataError if it is missing or cannot be looked at.
    """
    try:
        stamps.setdefault(name, (root / name).stat().st_mtime_ns)
    except FileNotFoundError:
        raise DataError(f"{root / name} is missing") from None
    except OSError as error:
        raise DataError(f"cannot read {root / name}: {error.strerror}") from error


def hash_contents(
    root: Path, names: Sequence[str], should_stop: Callable[[], bool]
) -> NDArray[np.uint8]:
    """SHA-256 [N, 32] of the contents of every file.

    Raises DataError if one cannot be read, Stopped if `should_stop` said so.
    """
    hashes = map_files(partial(_sha256, root), names, should_stop)
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, 32)


def _sha256(root: Path, name: str) -> bytes:
    try:
        with open_regular(f"{root}/{name}", LARGEST) as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise DataError(f"cannot read {root}/{name}: {error.strerror}") from error
