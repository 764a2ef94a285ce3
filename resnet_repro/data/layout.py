"""The layout of folders of images: parts, class folders and their order, system files."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from resnet_repro.base.errors import DataError, plain

__all__ = ["has_parts", "in_order", "is_folder", "of_system", "order_in_words"]

_SYSTEM = frozenset(  # what is not hidden by a dot, in lower case
    {
        "__macosx",
        "lost+found",
        "@eadir",
        "#recycle",
        "@recycle",
        "$recycle.bin",
        "system volume information",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "icon\r",
    }
)


def of_system(name: str) -> bool:
    """Whether files or folders of that name belong to an operating system or a program."""
    return name.startswith(".") or name.casefold() in _SYSTEM


def has_parts(folder: Path) -> bool:
    """Whether a folder has train or val; val alone is enough for testing."""
    return is_folder(folder / "train") or is_folder(folder / "val")


def is_folder(path: Path | os.DirEntry[str]) -> bool:
    """Whether a path is a folder; False as well if that may not be looked at."""
    try:
        return path.is_dir()
    except OSError:
        return False


def in_order(names: Iterable[str]) -> list[str]:
    """Class folders in the order of their labels: by name, or by number if all are numbers.

    Raises DataError when two have the same number.
    """
    ordered = sorted(names)
    if _numbered(ordered):
        ordered.sort(key=int)
        for one, other in itertools.pairwise(ordered):
            if int(one) == int(other):
                raise DataError(
                    f"the class folders {one} and {other} are the same number: join them"
                )
    return ordered


def order_in_words(classes: Sequence[str]) -> str:
    """How `in_order` sorted, with an example where another network may sort differently."""
    by_name = sorted(classes)
    by_value = sorted(by_name, key=_by_value)
    numbered = _numbered(by_name)
    words = "numbers" if numbered else "names"
    for name, value in zip(by_name, by_value, strict=True):
        if name != value:
            pair = (value, name) if numbered else (name, value)
            words += f", {plain(pair[0], 40)} before {plain(pair[1], 40)}"
            break
    if numbered and int(by_value[-1]) - int(by_value[0]) >= len(by_value):
        words += f", of which some from {by_value[0]} to {by_value[-1]} are missing"
    return words


def _numbered(names: Sequence[str]) -> bool:
    return all(name.isascii() and name.isdigit() for name in names)


def _by_value(name: str) -> list[str | int]:
    """A sorting key in which digits within a name count as numbers."""
    parts = re.split(r"(\d+)", name, flags=re.ASCII)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)]
