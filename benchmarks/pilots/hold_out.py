"""A folder of training images alone, some of which become the part that is tested on.

python benchmarks/pilots/hold_out.py IMAGENETTE|VOCDEVKIT TARGET

Of Imagenette every fifth photograph of each class, of VOC 2012's list `trainval` every tenth image.
They are taken in the order of their names, so that everybody gets the same two parts, and are
linked, not copied, where the file system allows it.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

EVERY, EVERY_WITH_BOXES = 5, 10
YEAR = "VOC2012"


def is_held_out(number: int, every: int) -> bool:
    """Whether the image with this number, from 0, is the last of so many."""
    return number % every == every - 1


def link(source: Path, target: Path) -> None:
    """Put one file where it is needed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def hold_out_photographs(source: Path, target: Path) -> None:
    """Make `target/train` and `target/val` of `source/train`."""
    for folder in sorted((source / "train").iterdir()):
        for number, photo in enumerate(sorted(folder.iterdir())):
            part = "val" if is_held_out(number, EVERY) else "train"
            link(photo, target / part / folder.name / photo.name)


def hold_out_boxes(source: Path, target: Path) -> None:
    """Make the lists `train` and `val` of the list `trainval`, with its images and annotations."""
    year, lists = source / YEAR, target / YEAR / "ImageSets" / "Main"
    names = sorted((year / "ImageSets" / "Main" / "trainval.txt").read_text("utf-8").split())
    for name in names:
        for part in (Path("JPEGImages", f"{name}.jpg"), Path("Annotations", f"{name}.xml")):
            link(year / part, target / YEAR / part)
    lists.mkdir(parents=True, exist_ok=True)
    for part, held in (("train", False), ("val", True)):
        some = [n for i, n in enumerate(names) if is_held_out(i, EVERY_WITH_BOXES) is held]
        (lists / f"{part}.txt").write_text("\n".join([*some, ""]), encoding="utf-8")


if __name__ == "__main__":
    given, made = map(Path, sys.argv[1:])
    (hold_out_boxes if (given / YEAR).is_dir() else hold_out_photographs)(given, made)
