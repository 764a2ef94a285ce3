"""Average precision of detections, as PASCAL VOC's development kit computes it (Tables 7, 10, 11).

A class's detections in all images are ranked by score. Each is held against the object of its class
that it overlaps most: from an overlap of 0.5 on it is right, unless that object was found by a
higher one (a duplicate is wrong) or is difficult (then it counts neither way); below, it is wrong.
Precision and recall after each detection become one number in two forms: VOC 2007's mean over the
recalls 0, 0.1 ... 1 (of the best precision at that recall or a higher one), and the area under that
envelope of VOC 2010 and later. The paper's evaluations are VOC's own, so these.

What the kit does, kept here, and what others do differently:

- The overlap is intersection over union. The kit's boxes are of whole pixels, both ends included,
  so that it adds 1 to each difference. Boxes here are corners (`data.boxes.boxes`), one pixel from
  the kit's at the upper left, and x2 - x1 is the kit's xmax - xmin + 1: the same areas.
- An overlap of exactly 0.5 is enough (py-faster-rcnn asks for more).
- Detections of one score keep the order in which they are given: image by image, and within one as
  the detector gave them. Of two objects that are overlapped alike, the first is taken.
- The object overlapped most is looked for among all of the class, found and difficult ones too; a
  duplicate does not go to the second best.
- A class without objects (all difficult, or none) has no average precision, and the mean is over
  the others. A class with objects and no detections has 0.
- Recalls are compared in whole numbers. The kit's 0:0.1:1 is rounded, so that there 3 objects of
  10 may fall short of 0.3.

Numbers are percent. Takes arrays, and tensors on the CPU; needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from resnet_repro.spec.measurements import PrecisionRow

__all__ = [
    "ClassPrecision",
    "Detections",
    "Objects",
    "average_precisions",
    "mean_over_classes",
    "precision_rows",
]

OVERLAP = 0.5
_RECALLS = 10  # steps from 0 to 1

Floats = NDArray[np.float64]


class Objects(Protocol):
    """What is in one image; a `data.boxes.boxes.Target`, or the same in arrays."""

    @property
    def boxes(self) -> Any:
        """[n, 4], corners in pixels."""

    @property
    def labels(self) -> Any:
        """[n], 1 to K."""

    @property
    def difficult(self) -> Any:
        """[n], whether an object counts neither way."""


@dataclass(frozen=True, eq=False)
class Detections:
    """What was found in one image, arrays or tensors on the CPU."""

    boxes: Any  # [m, 4], corners in pixels of the image as its data set has it
    scores: Any  # [m]
    labels: Any  # [m], 1 to K


@dataclass(frozen=True)
class ClassPrecision:
    """The detections of one class, judged."""

    ap_11point: float | None  # percent; None without objects
    ap_area: float | None
    objects: int  # that are not difficult
    detections: int
    recall: Floats  # [m] after each detection that counted, from the highest score; 0 to 1
    precision: Floats  # [m]


class _Judged(NamedTuple):
    """The detections of one class in the order of their scores."""

    right: NDArray[np.bool_]  # [m]
    wrong: NDArray[np.bool_]  # [m]; neither where a difficult object was found


def average_precisions(
    truth: Sequence[Objects], found: Sequence[Detections], classes: int
) -> list[ClassPrecision]:
    """Judge the detections of each class, 1 to `classes`, over all images.

    Raises:
        ValueError: not as many detections as images, a score that is no number, or a label that is
            none of the classes'.
    """
    if len(truth) != len(found):
        raise ValueError(f"{len(found)} images searched, {len(truth)} with objects")
    for image, detections in enumerate(found):
        scores, labels = np.asarray(detections.scores), np.asarray(detections.labels)
        if not np.isfinite(scores).all() or not np.isfinite(np.asarray(detections.boxes)).all():
            raise ValueError(f"image {image}: a score or a box is no number")
        if ((labels < 1) | (labels > classes)).any():
            raise ValueError(f"image {image}: a label is none of 1 to {classes}")
    return [_of_class(label, truth, found) for label in range(1, classes + 1)]


def mean_over_classes(values: Sequence[float | None]) -> float | None:
    """The mean of the classes' average precisions (mAP), over those that have one."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def precision_rows(
    judged: Sequence[ClassPrecision], classes: Sequence[str], images: int, dataset_sha256: str
) -> list[PrecisionRow]:
    """A row for each class, to be stored; COCO's numbers are left out."""
    return [
        PrecisionRow(
            name, one.ap_11point, one.ap_area, one.objects, one.detections, images, dataset_sha256
        )
        for name, one in zip(classes, judged, strict=True)
    ]


def _of_class(label: int, truth: Sequence[Objects], found: Sequence[Detections]) -> ClassPrecision:
    objects = sum(int((~difficult).sum()) for _, difficult in _objects_of(label, truth))
    judged = _judge(label, truth, found)
    counted = judged.right | judged.wrong
    right = np.cumsum(judged.right[counted], dtype=np.int64)
    precision = right / np.arange(1, len(right) + 1)
    recall = right / objects if objects else np.zeros(len(right))
    ap_11point = ap_area = None
    if objects:
        ap_11point = 100 * _eleven_points(right, precision, objects)
        ap_area = 100 * _area(right, precision, objects)
    detections = len(judged.right)
    return ClassPrecision(ap_11point, ap_area, objects, detections, recall, precision)


def _objects_of(label: int, truth: Sequence[Objects]) -> Iterator[tuple[Floats, NDArray[np.bool_]]]:
    """(boxes, whether difficult) of a class's objects in each image."""
    for image in truth:
        mine = np.asarray(image.labels) == label
        boxes = np.asarray(image.boxes, np.float64).reshape(-1, 4)
        yield boxes[mine], np.asarray(image.difficult, bool)[mine]


def _judge(label: int, truth: Sequence[Objects], found: Sequence[Detections]) -> _Judged:
    scores, right, wrong = [], [], []
    objects = _objects_of(label, truth)
    for (boxes, difficult), detections in zip(objects, found, strict=True):
        mine = np.asarray(detections.labels) == label
        image_scores = np.asarray(detections.scores, np.float64)[mine]
        found_boxes = np.asarray(detections.boxes, np.float64).reshape(-1, 4)[mine]
        overlaps = _overlaps(found_boxes, boxes)
        taken: set[int] = set()
        image_right, image_wrong = np.zeros((2, len(image_scores)), bool)
        # What happens to a detection depends on higher ones of its image alone.
        for index in np.argsort(-image_scores, kind="stable"):
            best = int(overlaps[index].argmax()) if len(boxes) else -1
            if best < 0 or overlaps[index, best] < OVERLAP:
                image_wrong[index] = True
            elif not difficult[best]:
                (image_wrong if best in taken else image_right)[index] = True
                taken.add(best)
        scores.append(image_scores)
        right.append(image_right)
        wrong.append(image_wrong)
    if not scores:
        return _Judged(np.zeros(0, bool), np.zeros(0, bool))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return _Judged(np.concatenate(right)[order], np.concatenate(wrong)[order])


def _overlaps(found: Floats, boxes: Floats) -> Floats:
    """Intersection over union [m, n] of boxes [m, 4] and [n, 4]; empty boxes overlap nothing."""
    upper_left = np.maximum(found[:, None, :2], boxes[:, :2])
    lower_right = np.minimum(found[:, None, 2:], boxes[:, 2:])
    sides = np.clip(lower_right - upper_left, 0, None)
    intersection = sides[..., 0] * sides[..., 1]
    areas = [np.clip(b[:, 2:] - b[:, :2], 0, None).prod(1) for b in (found, boxes)]
    union = areas[0][:, None] + areas[1] - intersection
    overlaps: Floats = np.divide(
        intersection, union, out=np.zeros_like(intersection), where=intersection > 0
    )
    return overlaps


def _envelope(precision: Floats) -> Floats:
    """At each detection the best precision there or at a later one."""
    best: Floats = np.maximum.accumulate(precision[::-1])[::-1]
    return best


def _eleven_points(right: NDArray[np.int64], precision: Floats, objects: int) -> float:
    """The mean of the best precisions at recalls of at least 0, 0.1 ... 1; 0 where none is left."""
    best = np.append(_envelope(precision), 0.0)
    # The first detection with _RECALLS * right >= step * objects: counts never fall.
    steps = np.arange(_RECALLS + 1) * objects
    return float(best[np.searchsorted(_RECALLS * right, steps)].mean())


def _area(right: NDArray[np.int64], precision: Floats, objects: int) -> float:
    """The area under the envelope: each object found adds its share of the recall."""
    gained = np.diff(right, prepend=0)
    return float((gained * _envelope(precision)).sum() / objects)
