"""PASCAL VOC's development kit, and folders laid out like it.

VOC2007/ImageSets/Main/trainval.txt     names of images, one a line
VOC2007/Annotations/000005.xml          what is in the image, see `annotations`
VOC2007/JPEGImages/000005.jpg
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from resnet_repro.base.errors import DataError, plain
from resnet_repro.base.files import read_text
from resnet_repro.data.boxes.annotations import check_box, read_annotation
from resnet_repro.data.boxes.reader import AnnotatedImage, BoxPart
from resnet_repro.data.folder_index import Scan, stamp
from resnet_repro.data.layout import is_folder
from resnet_repro.data.photos.decoding import LARGEST, SUFFIXES, read_size
from resnet_repro.data.photos.workers import map_files

__all__ = ["CLASSES", "ImageSet", "find_sets", "scan_voc", "year_folders"]

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
CLASSES_FILE = "classes.txt"  # in a folder of the user's own
LISTS, ANNOTATIONS, IMAGES = "ImageSets/Main", "Annotations", "JPEGImages"
_YEAR = re.compile(r"VOC\d{4}", re.ASCII)
_MOST_NAMED = 4  # classes in a note
_ENDINGS = (".jpg", *sorted(SUFFIXES - {".jpg"}))


class ImageSet(NamedTuple):
    """A list of images of a year."""

    year: str  # the folder, "VOC2007"; "" where the folder is of no year
    name: str  # "trainval"

    def __str__(self) -> str:
        return f"{self.year} {self.name}".strip()

    def path(self, name: str) -> str:
        """A file or folder of its year, relative to the development kit."""
        return f"{self.year}/{name}" if self.year else name

    @property
    def list_file(self) -> str:
        """The file with the list, relative to the development kit."""
        return self.path(f"{LISTS}/{self.name}.txt")

    def xml(self, image_id: str) -> str:
        """The file with an image's annotation, relative to the development kit."""
        return self.path(f"{ANNOTATIONS}/{image_id}.xml")


def year_folders(root: Path) -> list[str]:
    """The folders VOC2007 ... in `root`, in order; "" if `root` itself is laid out like one."""
    try:
        if is_folder(root / LISTS):
            return [""]
        years = [entry.name for entry in root.iterdir() if _YEAR.fullmatch(entry.name)]
        return sorted(year for year in years if is_folder(root / year / LISTS))
    except OSError:
        return []


def find_sets(root: Path) -> tuple[list[ImageSet], list[ImageSet]]:
    """What to train and to test on in a folder of the user's own.

    Where a year has a list `test`, every year's `trainval` (or else `train`) is trained on and
    every `test` tested on; else every `train`, and every `val`. Raises DataError when there is
    nothing for one of the two.
    """
    years = year_folders(root)
    if not years:
        raise DataError(
            f"{root} is not laid out like VOC's development kit: no folder {LISTS}, nor one in a"
            " folder VOC2007 or of another year"
        )
    lists = {year: {path.stem for path in (root / year / LISTS).glob("*.txt")} for year in years}
    tested = any("test" in names for names in lists.values())
    train, test = [], []
    for year, names in lists.items():
        whole = "trainval" if tested and "trainval" in names else "train"
        train += [ImageSet(year, whole)] if whole in names else []
        rest = "test" if tested else "val"
        test += [ImageSet(year, rest)] if rest in names else []
    if not train or not test:
        part = "test and val" if train else "trainval and train"
        raise DataError(f"{root}: of the lists {part}, {LISTS} has none")
    return train, test


def scan_voc(
    root: Path,
    train: Sequence[ImageSet],
    test: Sequence[ImageSet],
    should_stop: Callable[[], bool],
    classes: Sequence[str] | None = None,
) -> Scan[BoxPart]:
    """Read all annotations of these lists and the headers of their images.

    `classes` None means the user's own: those in `classes.txt`, a name a line, or else all that
    the objects to train on have. Objects to train on may have no other. Objects to test on that
    have another are left out, and the remarks say so.

    Raises:
        DataError: naming the file: a list, an annotation or an image is missing or unreadable, an
            image is listed twice or has another size than its annotation says, a class is
            unknown, a box is empty or outside its image.
        Stopped: `should_stop` said so.
    """
    stamps: dict[str, int] = {}
    if classes is None:  # more lists, or classes.txt, would make it another data set
        for name in ("", *(one.path(LISTS) for one in (*train, *test))):
            stamp(root, name, stamps)
    parts = [_read_sets(root, sets, stamps, should_stop) for sets in (train, test)]
    if classes is None:
        classes = _own_classes(root, parts[0], stamps)
    known = set(classes)
    for image in parts[0]:
        for number, one in enumerate(image.objects, start=1):
            if one.name not in known:
                where = PurePosixPath(image.file).parents[1] / ANNOTATIONS / image.image_id
                raise DataError(f"{where}.xml: object {number}: unknown class {one.name!r}")
    tested = (one.name for image in parts[1] for one in image.objects)
    left_out = Counter(name for name in tested if name not in known)
    remarks = [_left_out(left_out)] if left_out else []
    if both := {image.file for image in parts[0]} & {image.file for image in parts[1]}:
        remarks.append(f"images both trained and tested on: {len(both):,}")
    if not any(image.objects for image in parts[0]):
        raise DataError(f"{root}: no image of {', '.join(map(str, train))} has an object")
    splits = {part: " + ".join(map(str, sets)) for part, sets in (("train", train), ("test", test))}
    train_part, test_part = (BoxPart.of(images, classes) for images in parts)
    return Scan(tuple(classes), train_part, test_part, stamps, splits, tuple(remarks))


def _left_out(counts: Counter[str]) -> str:
    names = sorted(counts)
    some = ", ".join(plain(name, 40) for name in names[:_MOST_NAMED])
    more = ", ..." if len(names) > _MOST_NAMED else ""
    return (
        f"test objects left out, since nothing is trained on their class ({some}{more}):"
        f" {counts.total():,}"
    )


def _own_classes(root: Path, train: Sequence[AnnotatedImage], stamps: dict[str, int]) -> list[str]:
    if not (root / CLASSES_FILE).is_file():
        return sorted({one.name for image in train for one in image.objects})
    classes = _read_lines(root, CLASSES_FILE, stamps)
    if not classes or len(set(classes)) < len(classes):
        raise DataError(f"{root / CLASSES_FILE}: should name each class once, one a line")
    return classes


def _read_sets(
    root: Path,
    sets: Sequence[ImageSet],
    stamps: dict[str, int],
    should_stop: Callable[[], bool],
) -> list[AnnotatedImage]:
    images: list[AnnotatedImage] = []
    for chosen in sets:
        ids = _read_list(root, chosen, stamps)
        folders = [chosen.path(folder) for folder in (ANNOTATIONS, IMAGES)]
        for name in (*folders, *(chosen.xml(image_id) for image_id in ids)):
            stamp(root, name, stamps)
        images += map_files(partial(_read_image, root, chosen), ids, should_stop)
    return images


def _read_list(root: Path, chosen: ImageSet, stamps: dict[str, int]) -> list[str]:
    name = chosen.list_file
    ids = _read_lines(root, name, stamps)
    for one in ids:
        if "/" in one or "\\" in one or one.startswith(".") or not one.isprintable():
            raise DataError(f"{root / name}: {plain(one, 60)!r} is no image's name")
    twice = [one for one, count in Counter(ids).items() if count > 1]
    if twice:
        raise DataError(f"{root / name} lists {plain(twice[0], 60)} twice")
    if not ids:
        raise DataError(f"{root / name} lists no images")
    return ids


def _read_lines(root: Path, name: str, stamps: dict[str, int]) -> list[str]:
    """The lines that are not empty."""
    stamp(root, name, stamps)
    try:
        lines = read_text(root / name).splitlines()
    except OSError as error:
        raise DataError(f"cannot read {root / name}: {error.strerror}") from error
    except ValueError:
        raise DataError(f"{root / name} is not UTF-8 text") from None
    return [line.strip() for line in lines if line.strip()]


def _read_image(root: Path, chosen: ImageSet, image_id: str) -> AnnotatedImage:
    """What is known of one image, every box in it."""
    xml = chosen.xml(image_id)
    file, size = _find_image(root, chosen, image_id)
    annotation = read_annotation(root / xml, xml)
    actual = read_size(root / file, file, turned=False)
    if annotation.size not in (None, actual):
        said, there = ("x".join(map(str, s)) for s in (annotation.size, actual) if s)
        raise DataError(f"{xml}: is of an image of {said}, but {file} has {there} pixels")
    objects = [
        one._replace(box=check_box(one.box, actual, f"{xml}: object {number} ({one.name})"))
        for number, one in enumerate(annotation.objects, start=1)
    ]
    return AnnotatedImage(image_id, file, size, objects)


def _find_image(root: Path, chosen: ImageSet, image_id: str) -> tuple[str, int]:
    """(the image's file, its bytes)."""
    stem = chosen.path(f"{IMAGES}/{image_id}")
    for name in (stem + ending for lower in _ENDINGS for ending in (lower, lower.upper())):
        try:
            size = os.stat(f"{root}/{name}").st_size  # noqa: PTH116
        except FileNotFoundError:
            continue
        except OSError as error:
            raise DataError(f"{name}: cannot be read: {error.strerror}") from error
        if size > LARGEST:
            raise DataError(f"{name} is too large for a photograph: {size:,} bytes")
        return name, size
    raise DataError(f"{stem}.jpg is missing; the list {chosen} names it")
