"""Average precision of detections, as PASCAL VOC's development kit computes it (Tables 7, 10, 11).

A class's detections in all images are ranked by score. Each is compared with the object of its
class that it overlaps most: from an overlap of 0.5 on it is right, unless that object was found by
a higher one (a duplicate is wrong) or is difficult (then it counts neither way); below, it is
wrong.
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

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_repro.data.boxes.boxes import Detections, Target
from resnet_repro.spec.measurements import PrecisionRow

__all__ = [
    "average_precisions",
    "mean_over_classes",
]

OVERLAP = 0.5
_RECALLS = 10  # steps from 0 to 1

Float64Array = NDArray[np.float64]
# Boxes [n, 4] in one image, their labels [n], and whether objects are difficult, or scores [n].
_Arrays = tuple[Float64Array, NDArray[np.int64], NDArray[Any]]


def average_precisions(
    truth: Sequence[Target],
    found: Sequence[Detections],
    classes: Sequence[str],
    dataset_sha256: str,
) -> list[PrecisionRow]:
    """Judge the detections of each class over all images; COCO's numbers are left out.

    Raises:
        ValueError: not as many detections as images, a score that is no number, or a label that is
            none of the classes'.
    """
    if len(truth) != len(found):
        raise ValueError(f"{len(found)} images searched, {len(truth)} with objects")
    objects = [_arrays(one.boxes, one.labels, one.difficult) for one in truth]
    detections = [_arrays(one.boxes, one.labels, one.scores) for one in found]
    for image, (boxes, labels, scores) in enumerate(detections):
        if not (np.isfinite(scores).all() and np.isfinite(boxes).all()):
            raise ValueError(f"image {image}: a score or a box is no number")
        if not ((labels >= 1) & (labels <= len(classes))).all():
            raise ValueError(f"image {image}: no label of 1 to {len(classes)}")
    return [
        PrecisionRow(name, *_of_class(label, objects, detections), len(truth), dataset_sha256)
        for label, name in enumerate(classes, start=1)
    ]


def _arrays(boxes: Any, labels: Any, values: Any) -> _Arrays:
    return np.asarray(boxes, np.float64).reshape(-1, 4), np.asarray(labels), np.asarray(values)


def mean_over_classes(values: Sequence[float | None]) -> float | None:
    """The mean of the classes' average precisions (mAP), over those that have one."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _of_class(
    label: int, truth: Sequence[_Arrays], found: Sequence[_Arrays]
) -> tuple[float | None, float | None, int, int]:
    """A class's average precision in both forms, its objects that count, its detections."""
    objects, judged = 0, []
    for (boxes, labels, difficult), (found_boxes, found_labels, scores) in zip(
        truth, found, strict=True
    ):
        theirs, mine = labels == label, found_labels == label
        objects += int((~difficult[theirs].astype(bool)).sum())
        if mine.any():
            given = boxes[theirs], difficult[theirs], found_boxes[mine], scores[mine]
            judged.append((scores[mine], *_judge(*given)))
    if not objects or not judged:
        none = 0.0 if objects else None
        return none, none, objects, sum(len(some) for some, *_ in judged)
    ranks, right, wrong = map(np.concatenate, zip(*judged, strict=True))
    order = np.argsort(-ranks, kind="stable")
    counted = order[(right | wrong)[order]]
    found_so_far = np.cumsum(right[counted], dtype=np.int64)
    precision = found_so_far / np.arange(1, len(counted) + 1)
    ap_11point = 100 * _eleven_points(found_so_far, precision, objects)
    return ap_11point, 100 * _area(found_so_far, precision, objects), objects, len(order)


def _judge(
    objects: Float64Array, difficult: NDArray[Any], boxes: Float64Array, scores: NDArray[Any]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which detections in one image are right, and which are wrong.

    Neither is one that finds a difficult object.
    """
    right, wrong = np.zeros((2, len(scores)), bool)
    overlaps = _overlaps(boxes, objects)
    taken: set[int] = set()
    for index in np.argsort(-scores, kind="stable"):
        best = int(overlaps[index].argmax()) if len(objects) else -1
        if best < 0 or overlaps[index, best] < OVERLAP:
            wrong[index] = True
        elif not difficult[best]:
            (wrong if best in taken else right)[index] = True
            taken.add(best)
    return right, wrong


def _overlaps(found: Float64Array, boxes: Float64Array) -> Float64Array:
    """Intersection over union [m, n] of boxes [m, 4] and [n, 4]; empty boxes overlap nothing."""
    upper_left = np.maximum(found[:, None, :2], boxes[:, :2])
    lower_right = np.minimum(found[:, None, 2:], boxes[:, 2:])
    sides = np.clip(lower_right - upper_left, 0, None)
    intersection = sides[..., 0] * sides[..., 1]
    areas = [np.clip(b[:, 2:] - b[:, :2], 0, None).prod(1) for b in (found, boxes)]
    union = areas[0][:, None] + areas[1] - intersection
    overlaps: Float64Array = np.divide(
        intersection, union, out=np.zeros_like(intersection), where=intersection > 0
    )
    return overlaps


def _envelope(precision: Float64Array) -> Float64Array:
    """At each detection the best precision there or at a later one."""
    best: Float64Array = np.maximum.accumulate(precision[::-1])[::-1]
    return best


def _eleven_points(right: NDArray[np.int64], precision: Float64Array, objects: int) -> float:
    """The mean of the best precisions at recalls of at least 0, 0.1 ... 1; 0 where none is left."""
    best = np.append(_envelope(precision), 0.0)
    # The first detection with _RECALLS * right >= step * objects: counts never fall.
    steps = np.arange(_RECALLS + 1) * objects
    return float(best[np.searchsorted(_RECALLS * right, steps)].mean())


def _area(right: NDArray[np.int64], precision: Float64Array, objects: int) -> float:
    """The area under the envelope: each object found adds its share of the recall."""
    gained = np.diff(right, prepend=0)
    return float((gained * _envelope(precision)).sum() / objects)
