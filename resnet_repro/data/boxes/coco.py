"""COCO, in its own layout: images of a year in two folders, and a JSON file for each of them.

    train2014/COCO_train2014_000000000009.jpg
    val2014/COCO_val2014_000000000042.jpg
    annotations/instances_train2014.json
    annotations/instances_val2014.json

Boxes there are x, y, width, height from the upper left corner, in pixels. Crowds (`iscrowd`) are
marked difficult: they are not trained on, and COCO's metric ignores what is found in them. Labels
are in the order of COCO's category numbers, which have gaps.

torchvision's `CocoDetection` gives the same images in the same order; it needs pycocotools, and
checks nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from pydantic import FiniteFloat, TypeAdapter, ValidationError

from resnet_repro.base.errors import DataError, plain
from resnet_repro.base.files import read_regular
from resnet_repro.base.records import first_problem
from resnet_repro.data.boxes.annotations import EmptyBoxError, Object, check_box
from resnet_repro.data.boxes.reader import AnnotatedImage, BoxPart, BoxReader
from resnet_repro.data.dataset import not_there
from resnet_repro.data.folder_index import Scan, stamp
from resnet_repro.data.photos.decoding import read_size
from resnet_repro.data.photos.workers import map_files
from resnet_repro.spec.dataset_names import DATASETS

__all__ = ["Coco"]

LARGEST_JSON = 2**30  # bytes; that of train2017 has 470 MB


# What is used of the JSON files; all else, the outlines above all, is passed over.


@dataclass(slots=True)
class _Image:
    id: int
    file_name: str
    width: int
    height: int


@dataclass(slots=True)
class _Annotation:
    image_id: int
    category_id: int
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]  # x, y, width, height
    iscrowd: bool = False


@dataclass(slots=True)
class _Category:
    id: int
    name: str


@dataclass(slots=True)
class _Instances:
    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


class Coco(BoxReader):
    """A year of COCO: `coco` is 2014's, of the paper."""

    def __init__(self, name: str, year: int) -> None:
        self.name, self.year = name, year
        self.short = f"coco{year}"
        counts = DATASETS[name].counts
        self.description = (
            f"COCO {year}, 80 classes: {counts[0]:,} photographs to train on, {counts[1]:,} to test"
        )

    def has(self, folder: Path) -> bool:
        return (folder / _instances(f"train{self.year}")).is_file()

    def scan(self, root: Path, should_stop: Callable[[], bool]) -> Scan[BoxPart]:
        stamps: dict[str, int] = {}
        names = [f"{part}{self.year}" for part in ("train", "val")]
        read = [_read_part(root, name, stamps, should_stop) for name in names]
        (train, classes, train_empty), (test, test_classes, test_empty) = read
        if classes != test_classes:
            raise DataError(f"{root}: train{self.year} and val{self.year} have other categories")
        empty = train_empty + test_empty
        remarks = (f"empty boxes left out: {empty:,}",) if empty else ()
        splits = {"train": names[0], "test": names[1]}
        train_part, test_part = (BoxPart.of(images, classes) for images in (train, test))
        return Scan(tuple(classes), train_part, test_part, stamps, splits, remarks)

    def source(self, root: Path) -> str:
        return "images and instances"

    def missing(self, data_dir: Path) -> DataError:
        needed = f"train{self.year}, val{self.year} and annotations, unpacked"
        what = f"COCO {self.year} in {data_dir / self.short} ({needed})"
        return not_there(self.name, what, data_dir, downloadable=False)


def _instances(part: str) -> str:
    return f"annotations/instances_{part}.json"


def _read_part(
    root: Path, part: str, stamps: dict[str, int], should_stop: Callable[[], bool]
) -> tuple[list[AnnotatedImage], list[str], int]:
    """(the images, the classes in order, how many boxes are empty and left out)."""
    name = _instances(part)
    found = _read_instances(root, name, stamps)
    categories = sorted(found.categories, key=lambda category: category.id)
    name_of = {category.id: category.name for category in categories}
    if len(set(name_of.values())) < len(categories) or not categories:
        raise DataError(f"{name}: should name each category once")
    images = sorted(found.images, key=lambda image: image.id)
    objects: dict[int, list[_Annotation]] = {image.id: [] for image in images}
    if len(objects) < len(images):
        raise DataError(f"{name}: two images have the same number")
    for number, one in enumerate(found.annotations):
        if one.image_id not in objects or one.category_id not in name_of:
            unknown = "category" if one.image_id in objects else "image"
            raise DataError(f"{name}: annotations.{number}: unknown {unknown}")
        objects[one.image_id].append(one)
    stamp(root, part, stamps)
    sizes = map_files(partial(_check_image, root, part, name), images, should_stop)
    annotated = [
        _annotated(image, part, size, objects[image.id], name_of, name)
        for image, size in zip(images, sizes, strict=True)
    ]
    empty = len(found.annotations) - sum(len(image.objects) for image in annotated)
    return annotated, [category.name for category in categories], empty


def _read_instances(root: Path, name: str, stamps: dict[str, int]) -> _Instances:
    path = root / name
    stamp(root, name, stamps)
    try:
        return TypeAdapter(_Instances).validate_json(read_regular(path, LARGEST_JSON))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        location, message = first_problem(error)
        where = ".".join(map(str, location)) or "the file"
        raise DataError(f"{path}: {plain(where, 80)}: {plain(message, 120)}") from None


def _check_image(root: Path, part: str, name: str, image: _Image) -> int:
    """The size in bytes of its file. Raises DataError when that is missing or has other sides."""
    inside = PurePosixPath(image.file_name)
    if inside.is_absolute() or ".." in inside.parts or not image.file_name.isprintable():
        raise DataError(f"{name}: {plain(image.file_name, 80)!r} is no file's name")
    file = f"{part}/{image.file_name}"
    sides = read_size(f"{root}/{file}", file, turned=False)
    if sides != (image.width, image.height):
        said = f"{image.width}x{image.height}"
        raise DataError(f"{file} has {sides[0]}x{sides[1]} pixels, but {name} says {said}")
    return (root / file).stat().st_size


def _annotated(
    image: _Image,
    part: str,
    size: int,
    objects: list[_Annotation],
    name_of: dict[int, str],
    name: str,
) -> AnnotatedImage:
    where = f"{name}: an object in {plain(image.file_name, 80)}"
    found = []
    for one in objects:
        x, y, width, height = one.bbox
        try:
            box = check_box((x, y, x + width, y + height), (image.width, image.height), where)
        except EmptyBoxError:  # the official files have a few
            continue
        found.append(Object(name_of[one.category_id], box, one.iscrowd))
    return AnnotatedImage(str(image.id), f"{part}/{image.file_name}", size, found)
