"""Looking through a folder of photographs: train/<class>/* and val/<class>/*, or a flat val."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resnet_repro.data.decoding import SUFFIXES
from resnet_repro.errors import DataError, plain

__all__ = ["Part", "Scan", "scan_folder"]

MAX_DEPTH = 8  # folders below a class folder
_SHOWN = 3  # names in a message

GroundTruth = Callable[[Path, list[str]], list[str]]  # (root, file names of val) -> their classes


@dataclass(frozen=True, eq=False)
class Part:
    """The image files of train or val, ordered by class, then by name."""

    names: list[str]  # where they are, relative to the data set's folder
    labels: NDArray[np.int64]  # [N]
    sizes: NDArray[np.int64]  # [N], bytes


@dataclass(frozen=True, eq=False)
class Scan:
    """What a folder of photographs holds."""

    classes: tuple[str, ...]  # names of train's folders, sorted
    train: Part
    val: Part
    left_out: int  # files that are not images, by their suffix
    stamps: dict[str, int] = field(repr=False)  # folders looked through -> when they last changed

    def canonical_names(self) -> Iterator[str]:
        """`part/class/file` of every file in order, wherever it lies: a flat val has no folders."""
        for part, files in (("train", self.train), ("val", self.val)):
            for name, label in zip(files.names, files.labels.tolist(), strict=True):
                prefix = f"{part}/{self.classes[label]}/"
                yield name if name.startswith(prefix) else prefix + name.partition("/")[2]


def scan_folder(root: Path, ground_truth: GroundTruth | None = None) -> Scan:
    """List the photographs in `root`; none of them is opened.

    Args:
        root: the folder that holds train and val.
        ground_truth: tells the classes of the files of a flat val; without it, that is an error.

    Raises:
        DataError: a folder is missing or unreadable, there are fewer than two classes, a class or
            a part has no images, or val has a class that train lacks.
    """
    walk = _Walk(root)
    classes = walk.class_folders("train")
    if not classes:
        raise DataError(f"{root / 'train'} has no class folders: photographs belong in <class>/*")
    if len(classes) == 1:
        raise DataError(f"{root / 'train'} has only one class, {_shown(classes)}: two are needed")
    val_classes = walk.class_folders("val")
    _check_known(root, classes, val_classes)
    train = [walk.images(f"train/{name}") for name in classes]
    empty = [name for name, files in zip(classes, train, strict=True) if not files]
    if empty:
        raise DataError(f"{root / 'train'} has no images in {_shown(empty)}")
    if val_classes:
        val = {name: walk.images(f"val/{name}") for name in val_classes}
    else:
        val = _flat_val(root, walk.images("val"), classes, ground_truth)
    if not any(val.values()):
        raise DataError(f"{root / 'val'} has no images")
    return Scan(
        tuple(classes),
        _part(train),
        _part([val.get(name, []) for name in classes]),
        walk.left_out,
        walk.stamps,
    )


@dataclass
class _Walk:
    """Reads folders, and remembers when they last changed."""

    root: Path
    left_out: int = 0
    stamps: dict[str, int] = field(default_factory=dict)

    def class_folders(self, part: str) -> list[str]:
        """Names of the folders in train or val, sorted."""
        if not (self.root / part).is_dir():
            hint = "; there is a folder 'test': rename it" if (self.root / "test").is_dir() else ""
            raise DataError(
                f"{self.root} has no folder '{part}': photographs belong in train/<class>/ and"
                f" val/<class>/{hint if part == 'val' else ''}"
            )
        return sorted(entry.name for entry in self._entries(part) if _is_dir(entry))

    def images(self, folder: str, depth: int = 0) -> list[tuple[str, int]]:
        """(name relative to the root, bytes) of the images in a folder and below it, sorted."""
        found: list[tuple[str, int]] = []
        for entry in self._entries(folder):
            name = f"{folder}/{entry.name}"
            if _is_dir(entry):
                if depth == MAX_DEPTH:
                    raise DataError(f"{self.root / name}: too many folders in folders")
                found += self.images(name, depth + 1)
            elif os.path.splitext(entry.name)[1].lower() not in SUFFIXES:  # noqa: PTH122
                self.left_out += 1
            else:
                found.append((name, self._size(entry, name)))
        return sorted(found) if depth == 0 else found

    def _entries(self, folder: str) -> list[os.DirEntry[str]]:
        path = self.root / folder
        try:
            self.stamps[folder] = path.stat().st_mtime_ns
            with os.scandir(path) as entries:
                return [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from error

    def _size(self, entry: os.DirEntry[str], name: str) -> int:
        try:
            if not entry.is_file():
                raise DataError(f"{self.root / name} is not a file, or a link that leads nowhere")
            return entry.stat().st_size
        except OSError as error:
            raise DataError(f"cannot read {self.root / name}: {error.strerror}") from error


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _check_known(root: Path, classes: list[str], val_classes: Iterable[str]) -> None:
    strange = sorted(set(val_classes) - set(classes))
    if strange:
        some = "a class" if len(strange) == 1 else f"{len(strange)} classes"
        raise DataError(f"{root / 'val'} has {some} that train lacks: {_shown(strange)}")


def _flat_val(
    root: Path,
    files: list[tuple[str, int]],
    classes: list[str],
    ground_truth: GroundTruth | None,
) -> dict[str, list[tuple[str, int]]]:
    """The files of a val without class folders, by class."""
    if not files:
        raise DataError(f"{root / 'val'} has no class folders and no images")
    if ground_truth is None:
        raise DataError(
            f"{root / 'val'} has images but no class folders: they belong in val/<class>/"
        )
    val: dict[str, list[tuple[str, int]]] = {}
    names = ground_truth(root, [name for name, _ in files])
    for file, name in zip(files, names, strict=True):
        val.setdefault(name, []).append(file)
    _check_known(root, classes, val)
    return val


def _part(by_class: list[list[tuple[str, int]]]) -> Part:
    files = [file for some in by_class for file in some]
    return Part(
        [name for name, _ in files],
        np.repeat(np.arange(len(by_class), dtype=np.int64), [len(some) for some in by_class]),
        np.array([size for _, size in files], np.int64),
    )


def _shown(names: list[str]) -> str:
    text = ", ".join(plain(name, 40) for name in names[:_SHOWN])
    return text + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
