"""Data sets of small images: images, labels, and their identity."""

from __future__ import annotations

import hashlib
import os
import shlex
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnet_repro.base.errors import DataError, plain
from resnet_repro.base.files import data_option

__all__ = [
    "Contents",
    "Dataset",
    "DatasetStatus",
    "Identity",
    "Images",
    "PrepareRequest",
    "cannot_prepare",
    "data_command",
    "not_there",
    "prepare_command",
]

Images = NDArray[np.uint8]  # [N, 3, 32, 32]: red, green and blue planes, row by row


@dataclass(frozen=True)
class Identity:
    """What a data set is and where it came from; recorded with every result."""

    name: str  # "cifar10", "synthetic"
    official: bool  # contents verified to be the official ones; always True for generated images
    sha256: str  # of the canonical contents, see `Contents.sha256`
    source: str  # a phrase without paths, since results get published: "binary version"
    note: str  # a phrase to print with results; empty if official

    def to_dict(self) -> dict[str, Any]:
        """The identity as plain values for JSON."""
        return asdict(self)


class Contents(NamedTuple):
    """The four arrays of a data set, in the order of storing and hashing."""

    train_images: Images
    train_labels: NDArray[np.uint8]  # [N], from 0
    test_images: Images
    test_labels: NDArray[np.uint8]

    def sha256(self) -> str:
        """Hash of the canonical contents: the bytes of the four arrays, one after another."""
        digest = hashlib.sha256()
        for array in self:
            digest.update(np.ascontiguousarray(array).reshape(-1).data)
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels for training and testing, in memory; not to be changed."""

    identity: Identity
    classes: tuple[str, ...]
    train_images: Images
    train_labels: NDArray[np.int64]  # [N], from 0
    test_images: Images
    test_labels: NDArray[np.int64]

    @classmethod
    def of(cls, identity: Identity, classes: tuple[str, ...], contents: Contents) -> Dataset:
        """A data set of `contents`, with labels as int64, which loss functions need."""
        train, train_labels, test, test_labels = contents
        labels = [some.astype(np.int64) for some in (train_labels, test_labels)]
        return cls(identity, classes, train, labels[0], test, labels[1])

    @property
    def contents(self) -> Contents:
        """As it is stored and hashed."""
        labels = [some.astype(np.uint8) for some in (self.train_labels, self.test_labels)]
        return Contents(self.train_images, labels[0], self.test_images, labels[1])


class PrepareRequest(NamedTuple):
    """The options of `data prepare`."""

    source: Path | None  # the user's copy; None: one in the data folder, or a download
    download: bool  # fetch the official copy
    size: str  # of the Imagenette to download


@dataclass(frozen=True)
class DatasetStatus:
    """One line of `data list`; the defaults are those of a data set that is not prepared."""

    name: str
    description: str
    prepared: bool = False
    official: bool = False
    images: int = 0  # training and test together
    source: str = ""  # where the contents came from
    note: str = ""  # why it is unofficial or unusable, or what would be prepared

    @classmethod
    def of(cls, description: str, identity: Identity, images: int) -> DatasetStatus:
        """Of a data set that is prepared, with so many images."""
        official, source, note = identity.official, identity.source, identity.note
        return cls(identity.name, description, True, official, images, source, note)


def prepare_command(name: str, data_dir: Path, *how: str) -> str:
    """The command, in backticks, that prepares a data set in the data folder `data_dir`."""
    return data_command("prepare", name, data_dir, *how)


def data_command(verb: str, name: str, data_dir: Path, *how: str) -> str:
    """The command `resnet-repro data VERB`, in backticks; `name` may be KIND:PATH."""
    words = ["resnet-repro data", verb, shlex.quote(name), *how]
    return f"`{' '.join(words)}{data_option(data_dir)}`"


def not_there(name: str, what: str, data_dir: Path, *, downloadable: bool) -> DataError:
    """The error if there is no copy of a data set: no `what`."""
    how = f"bring a copy with {prepare_command(name, data_dir, '--from PATH')}"
    if downloadable:
        how += f", or download it with {prepare_command(name, data_dir, '--download')}"
    return DataError(f"no {what}: {how}\nno data at hand? `run` with `--preset demo` needs none")


def cannot_prepare(name: str, data_dir: Path, source: Path | None, error: OSError) -> DataError:
    """The error for a failed preparation; it says what to do if `data_dir` is not writable.

    `source` is the copy that was being prepared, None for a download.
    """
    text = f"cannot prepare {name} in {data_dir}: {plain(str(error), 300)}"
    existing = next(
        path for path in (data_dir, *data_dir.absolute().parents) if os.access(path, os.F_OK)
    )
    if not os.access(existing, os.W_OK):
        how = "--download" if source is None else f"--from {shlex.quote(str(source))}"
        text += (
            "\nprepare it where you may write, and run with the same --data-dir:"
            f" {prepare_command(name, Path('A_FOLDER_OF_YOURS'), how)}"
        )
    return DataError(text)
