"""Indexes of folders of images, stored in the data folder so that a data set opens quickly."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from resnet_repro.data.dataset import Identity
from resnet_repro.data.npz import read_npz, write_npz

__all__ = ["Arrays", "FolderIndex", "Index", "load_index", "store_index"]

_log = logging.getLogger(__name__)

Loaded = TypeVar("Loaded")
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class FolderIndex(ABC, Generic[Loaded]):
    """A folder that has been scanned."""

    root: Path
    identity: Identity
    contents: NDArray[np.uint8] | None  # SHA-256 [N, 32] of each file to train on, then to test on

    @property
    @abstractmethod
    def counts(self) -> tuple[int, int]:
        """The numbers of images for training and for testing."""

    @property
    def images(self) -> int:
        """The number of images, for training and testing together."""
        return sum(self.counts)

    @property
    def test_images(self) -> int:
        """The number of images for testing."""
        return self.counts[1]

    @abstractmethod
    def is_current(self) -> bool:
        """Whether the folder is unchanged. Raises OSError if it cannot be looked at."""

    @abstractmethod
    def dataset(self) -> Loaded:
        """The data set, its images still in their files."""


Index = TypeVar("Index", bound=FolderIndex[Any])


def store_index(
    folder: Path, version: int, index: FolderIndex[Any], header: Mapping[str, Any], arrays: Arrays
) -> None:
    """Write an index into `folder`, if that is writable: what `header` and `arrays` say of it."""
    every = {"format": version, "identity": asdict(index.identity), **header}
    packed = {"header": np.frombuffer(json.dumps(every).encode(), np.uint8), **arrays}
    if index.contents is not None:
        packed["contents"] = index.contents
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_npz(_path(folder, index.identity.name, index.root), packed)
    except OSError as error:
        _log.info("looked through again each time, since it cannot be kept: %s", error)


def load_index(
    folder: Path,
    version: int,
    name: str,
    root: Path,
    unpack: Callable[[Identity, Any, Arrays], Index],
    *,
    outdated: bool,
) -> Index | None:
    """The index in `folder` of the data set `name` in `root`; None if there is none.

    Without `outdated`, also None if the folder has changed. `unpack` gets the identity, header and
    arrays that were stored, and may raise anything if they are of no such index.
    """
    values = read_npz(_path(folder, name, root)) or {}
    try:
        header = json.loads(values["header"].tobytes())
        if header["format"] != version:
            return None
        index = unpack(Identity.from_dict(header["identity"]), header, values)
        if index.contents is not None and index.contents.shape != (index.images, 32):
            return None
        return index if outdated or index.is_current() else None
    except Exception:  # missing, damaged or written by another version: made again
        return None


def _path(folder: Path, name: str, root: Path) -> Path:
    place = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:8]
    return folder / f"{name.replace(':', '-')}-{place}.npz"
