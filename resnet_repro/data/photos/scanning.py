"""Scanning a folder of photographs: train/<class>/* and val/<class>/*, or flat parts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resnet_repro.base.errors import DataError, plain
from resnet_repro.base.plain_text import either
from resnet_repro.base.stop import until_stopped
from resnet_repro.data.folder_index import FilePart, Scan, stamp
from resnet_repro.data.layout import has_parts, in_order, is_folder, of_system, order_in_words
from resnet_repro.data.photos.decoding import LARGEST, SUFFIXES
from resnet_repro.data.photos.ground_truth import ANNOTATIONS, DEVKIT, SOLUTION, classes_of

__all__ = ["PhotoPart", "scan_folder"]

MAX_DEPTH = 8  # folders below a class folder
_SHOWN = 3  # names in a message
_MEANT = {"train": ("train", "training"), "val": ("val", "valid", "validation", "test")}
_LOOKED_AT = 1000  # entries of a folder that are searched for a hint
_PACKED = (".tar", ".tar.gz", ".tgz", ".zip")

File = tuple[str, int]  # name relative to the data set's folder, bytes


@dataclass(frozen=True, eq=False)
class PhotoPart(FilePart):
    """The image files of train or val, ordered by class, then by name."""

    labels: NDArray[np.int64]  # [N]

    def __post_init__(self) -> None:
        """Raise ValueError if there is not one label and size for each name."""
        if not len(self.names) == len(self.labels) == len(self.sizes):
            raise ValueError("not one label and size for each name")


def scan_folder(root: Path, should_stop: Callable[[], bool]) -> Scan[PhotoPart]:
    """List the photographs in `root` without opening them.

    Classes are train's folders (val's if it is alone) in the order of `layout.in_order`. The
    classes of photographs without class folders come from `ground_truth.classes_of`.

    Raises:
        DataError: val is missing, a folder is unreadable, there are fewer than two classes, a class
            or a part has no images, val has a class that train lacks, or the classes of a part
            without class folders are unknown.
        Stopped: `should_stop`, asked for each file, said so.
    """
    walk = _Walk(root, should_stop)
    parts = {part: walk.layout(part) for part in walk.parts()}
    first = next(iter(parts))
    classes = in_order(parts[first].classes)
    if len(classes) == 1:
        raise DataError(f"{root / first} has only one class, {_shown(classes)}: two are needed")
    strange = set(parts["val"].flat or parts["val"].classes) - set(classes)
    if strange:
        some = "a class" if len(strange) == 1 else f"{len(strange)} classes"
        raise DataError(f"{root / 'val'} has {some} that train lacks: {_shown(sorted(strange))}")
    files = {part: found.flat or walk.class_images(part, found) for part, found in parts.items()}
    empty = [name for name, some in files[first].items() if not some]
    if empty:
        raise DataError(f"{root / first} has no images in {_shown(empty)}")
    if not any(files["val"].values()):
        raise DataError(f"{root / 'val'} has no images")
    train, val = (
        _part([files.get(part, {}).get(name, []) for name in classes]) for part in ("train", "val")
    )
    remarks = tuple(_remarks(classes, train, val, walk.left_out))
    return Scan(tuple(classes), train, val, walk.stamps, remarks=remarks)


def _remarks(classes: list[str], train: PhotoPart, val: PhotoPart, left_out: int) -> Iterator[str]:
    if not train.names:
        yield "with none to train on, enough to test somebody else's weights"
    if missing := len(classes) - len(np.unique(val.labels)):
        yield f"classes without validation images: {missing:,}"
    order = order_in_words(classes)
    if order not in ("names", "numbers"):
        yield f"the classes are in the order of their folders' {order}"
    if left_out:
        yield f"files left out because they are not images: {left_out:,}"


@dataclass(frozen=True)
class _Layout:
    """The layout of a part: class folders, or flat."""

    classes: list[str]  # of a flat part all classes in its ground truth
    flat: dict[str, list[File]]  # a flat part's files by class; otherwise empty


@dataclass
class _Walk:
    """Reads folders and records the times of their last changes."""

    root: Path
    should_stop: Callable[[], bool]
    left_out: int = 0
    stamps: dict[str, int] = field(default_factory=dict)

    def parts(self) -> list[str]:
        """The existing parts: train and val, or val alone."""
        entries = {entry.name: entry for entry in self._entries("")}
        found: list[str] = [
            part for part in ("train", "val") if part in entries and is_folder(entries[part])
        ]
        if "val" not in found or ("train" in entries and "train" not in found):
            missing = [part for part in ("train", "val") if part not in found]
            names = either([f"'{part}'" for part in missing])
            raise DataError(
                f"{self.root} has no folder {names}: photographs belong in train/<class>/ and"
                f" val/<class>/{_hint(self.root, missing)}"
            )
        if "train" in found:
            del self.stamps[""]  # it matters only if train could be added
        return found

    def layout(self, part: str) -> _Layout:
        """The layout of train or val; the photographs of flat ones are listed."""
        folders = sorted(entry.name for entry in self._entries(part) if is_folder(entry))
        tiny = folders == ["images"] and (self.root / part / ANNOTATIONS).is_file()
        if folders and not tiny:
            return _Layout(folders, {})
        files = self.images(part)
        if not files:
            raise DataError(
                f"{self.root / part} has no class folders and no images: photographs belong in"
                f" {part}/<class>/{_hint(self.root / part, [])}"
            )
        told = classes_of(self.root, part, [name for name, _ in files])
        if told is None:
            how = f"they belong in {part}/<class>/"
            if part == "val":
                how = f"put {DEVKIT} (or its .tar.gz) or {SOLUTION} into {self.root}, or {how}"
            raise DataError(
                f"{self.root / part} has images but no class folders, and there is no ground truth:"
                f" {how}"
            )
        for path in told.read:  # which may lie above the folder that a link leads to
            name = os.path.relpath(path.parent.resolve() / path.name, self.root.resolve())
            stamp(self.root, name, self.stamps)
        flat: dict[str, list[File]] = {}
        for file, name in zip(files, told.classes, strict=True):
            flat.setdefault(name, []).append(file)
        return _Layout(sorted(told.known), flat)

    def class_images(self, part: str, layout: _Layout) -> dict[str, list[File]]:
        """The files in a part's class folders."""
        return {name: self.images(f"{part}/{name}") for name in layout.classes}

    def images(self, folder: str, depth: int = 0) -> list[File]:
        """The images in a folder and below it, sorted."""
        found: list[File] = []
        for entry in until_stopped(self._entries(folder), self.should_stop):
            name = f"{folder}/{entry.name}"
            if is_folder(entry):
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
                return [entry for entry in entries if not of_system(entry.name)]
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from error

    def _size(self, entry: os.DirEntry[str], name: str) -> int:
        try:
            if not entry.is_file():
                raise DataError(f"{self.root / name} is not a file, or a link that leads nowhere")
            size = entry.stat().st_size
        except OSError as error:
            raise DataError(f"cannot read {self.root / name}: {error.strerror}") from error
        if size > LARGEST:
            raise DataError(f"{self.root / name} is too large for a photograph: {size:,} bytes")
        return size


def _hint(root: Path, missing: list[str]) -> str:
    """A hint for the user if parts, or with none of these all class folders, are missing."""
    try:
        entries = [
            entry for entry in sorted(root.iterdir())[:_LOOKED_AT] if not of_system(entry.name)
        ]
    except OSError:
        return ""
    meant = [name for part in missing for name in _MEANT[part]]
    for entry in entries:
        if entry.name.lower() in meant and entry.is_dir():
            return f"; there is a folder '{entry.name}': rename it"
        if entry.name in meant and entry.is_symlink():
            return f"; {entry.name} is a link that leads nowhere"
        if entry.name.endswith(_PACKED):
            return f"; {plain(entry.name, 60)} is still packed: unpack it"
        if missing and has_parts(entry):
            return f"; {entry} has them"
    if root.name in _MEANT and missing:
        return f"; name the folder above it, {root.parent}"
    if len(missing) == 2 and any(entry.is_dir() for entry in entries):
        return "; to test on the class folders in it, move them into a folder 'val'"
    return ""


def _part(by_class: list[list[File]]) -> PhotoPart:
    files = [file for some in by_class for file in some]
    return PhotoPart(
        [name for name, _ in files],
        np.array([size for _, size in files], np.int64),
        np.repeat(np.arange(len(by_class), dtype=np.int64), [len(some) for some in by_class]),
    )


def _shown(names: list[str]) -> str:
    text = ", ".join(plain(name, 40) for name in names[:_SHOWN])
    return text + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
