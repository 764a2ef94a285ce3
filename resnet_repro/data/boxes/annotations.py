"""PASCAL VOC's XML files, one for each image: what is in it, and where.

VOC counts pixels from 1 and includes both ends: an object in the upper left pixel alone has xmin =
xmax = 1. Boxes here are corners (see `boxes`), so that xmin and ymin lose 1, xmax and ymax stay.
This is the only place where VOC's coordinates are converted.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from resnet_repro.base.errors import DataError, plain
from resnet_repro.base.files import read_regular

__all__ = ["SMALLEST", "Box", "EmptyBoxError", "Object", "check_box", "read_annotation"]

LARGEST = 2**20  # bytes; the official ones have up to 20 kB
_LONGEST = 64  # letters of a class
# Pixels of a box's side. Boxes are kept, mirrored and resized in float32, which may make nearer
# corners one; COCO's are multiples of 0.01.
SMALLEST = 0.005
_SLACK = 1.0  # pixels that a box may lie outside its image, by rounding; it is cut off

Box = tuple[float, float, float, float]  # x1, y1, x2, y2


class Object(NamedTuple):
    """An object in an image."""

    name: str  # of its class
    box: Box
    difficult: bool


class Annotation(NamedTuple):
    """What an XML file says of one image."""

    size: tuple[int, int] | None  # width, height; None where it says nothing
    objects: list[Object]


def read_annotation(path: str | Path, name: str) -> Annotation:
    """Read an XML file; `name` is for messages.

    Raises:
        DataError: it is missing, far too large, no XML or none of an annotation, declares a
            document type or entities, or an object lacks something or has an impossible box.
    """
    root = _parse(_read(path, name), name)
    if root.tag != "annotation":
        raise DataError(f"{name}: no annotation but <{plain(root.tag, 40)}>")
    annotation = Annotation(_size(root, name), [])
    for number, element in enumerate(root.iterfind("object"), start=1):
        where = f"{name}: object {number}"
        label = (element.findtext("name") or "").strip()
        if not 0 < len(label) <= _LONGEST or not label.isprintable():
            raise DataError(f"{where}: {plain(label, 40)!r} is no class")
        box = _box(element.find("bndbox"), f"{where} ({label})")
        difficult = _flag(element.findtext("difficult"), where)
        annotation.objects.append(Object(label, box, difficult))
    return annotation


class EmptyBoxError(DataError):
    """A box, or what of it is in its image, has a side below `SMALLEST`."""


def check_box(box: Box, size: tuple[int, int], where: str) -> Box:
    """The box, cut off at the edges of an image of (width, height).

    Raises, with a text that begins with `where`:
        EmptyBoxError: it is empty.
        DataError: it lies further outside than rounding explains.
    """
    x1, y1, x2, y2 = box
    width, height = size
    if min(x2 - x1, y2 - y1) < SMALLEST:
        raise EmptyBoxError(f"{where}: an empty box, {_shown(box)}")
    outside = f"{where}: the box {_shown(box)} is not in the image of {width}x{height}"
    if min(x1, y1) < -_SLACK or x2 > width + _SLACK or y2 > height + _SLACK:
        raise DataError(outside)
    inside = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    if min(inside[2] - inside[0], inside[3] - inside[1]) < SMALLEST:
        raise EmptyBoxError(outside)
    return inside


def _shown(box: Box) -> str:
    x1, y1, x2, y2 = box
    return f"x {x1:g} to {x2:g}, y {y1:g} to {y2:g}"


def _read(path: str | Path, name: str) -> bytes:
    try:
        return read_regular(path, LARGEST)
    except FileNotFoundError:
        raise DataError(f"{name}: the file is missing") from None
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror}") from error


class _Builder(ElementTree.TreeBuilder):
    """Refuses a document type, in which alone entities are declared."""

    def doctype(self, *_: object) -> None:
        raise DataError("declares a document type or entities; refusing to read it")


def _parse(data: bytes, name: str) -> Element:
    """The root element."""
    try:
        return ElementTree.fromstring(data, ElementTree.XMLParser(target=_Builder()))  # noqa: S314
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f"{name}: damaged or no XML: {plain(str(error), 100)}") from error


def _size(root: Element, name: str) -> tuple[int, int] | None:
    sides = [root.findtext(f"size/{side}") for side in ("width", "height")]
    if sides[0] is None or sides[1] is None:
        return None
    width, height = (_number(side, f"{name}: size") for side in sides if side is not None)
    return (int(width), int(height)) if width > 0 and height > 0 else None


def _box(element: Element | None, where: str) -> Box:
    if element is None:
        raise DataError(f"{where}: no bndbox")
    found = [element.findtext(side) for side in ("xmin", "ymin", "xmax", "ymax")]
    if None in found:
        raise DataError(f"{where}: bndbox lacks one of xmin, ymin, xmax and ymax")
    x1, y1, x2, y2 = (_number(side or "", where) for side in found)
    return x1 - 1, y1 - 1, x2, y2


def _number(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) < 1e6:
        raise DataError(f"{where}: {plain(text.strip(), 40)!r} is no number of pixels")
    return value


def _flag(text: str | None, where: str) -> bool:
    flag = (text or "0").strip()
    if flag not in ("0", "1"):
        raise DataError(f"{where}: difficult is {plain(flag, 40)!r}, not 0 or 1")
    return flag == "1"
