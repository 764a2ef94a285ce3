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
from typing import Any, NamedTuple

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


class _Joined(NamedTuple):
    """The objects or the detections of all images in one row, image by image."""

    image: NDArray[np.int64]  # [M]
    boxes: Float64Array  # [M, 4]
    labels: NDArray[np.int64]  # [M]
    values: NDArray[Any]  # [M], whether an object is difficult, or a detection's score

    @classmethod
    def of(cls, images: Sequence[tuple[Any, Any, Any]]) -> _Joined:
        """Of (boxes, labels, values) of each image."""
        boxes = [np.asarray(one[0], np.float64).reshape(-1, 4) for one in images]
        labels, values = ([np.asarray(one[i]) for one in images] for i in (1, 2))
        image = np.repeat(np.arange(len(images)), [len(some) for some in boxes])
        if not images:
            return cls(image, np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))
        return cls(image, *map(np.concatenate, (boxes, labels, values)))

    def where(self, chosen: NDArray[np.bool_] | slice) -> _Joined:
        """Some of them."""
        image, boxes, labels, values = self
        return _Joined(image[chosen], boxes[chosen], labels[chosen], values[chosen])

    def of_image(self, image: int) -> _Joined:
        """Those in one image."""
        first, last = np.searchsorted(self.image, (image, image + 1))
        return self.where(slice(first, last))


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
    objects = _Joined.of([(one.boxes, one.labels, one.difficult) for one in truth])
    detections = _Joined.of([(one.boxes, one.labels, one.scores) for one in found])
    count = len(classes)
    numbers = np.isfinite(detections.values) & np.isfinite(detections.boxes).all(1)
    for fit, what in (
        (numbers, "a score or a box is no number"),
        ((detections.labels >= 1) & (detections.labels <= count), f"no label of 1 to {count}"),
    ):
        if not fit.all():
            raise ValueError(f"image {detections.image[~fit][0]}: {what}")
    rows = []
    for label, name in enumerate(classes, start=1):
        mine = [both.where(both.labels == label) for both in (objects, detections)]
        rows.append(PrecisionRow(name, *_of_class(*mine), len(truth), dataset_sha256))
    return rows


def mean_over_classes(values: Sequence[float | None]) -> float | None:
    """The mean of the classes' average precisions (mAP), over those that have one."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _of_class(truth: _Joined, found: _Joined) -> tuple[float | None, float | None, int, int]:
    """A class's average precision in both forms, its objects that count, its detections."""
    objects = int((~truth.values.astype(bool)).sum())
    if not objects:
        return None, None, 0, len(found.labels)
    right, wrong = _judge(truth, found)
    order = np.argsort(-found.values, kind="stable")
    counted = order[(right | wrong)[order]]
    found_so_far = np.cumsum(right[counted], dtype=np.int64)
    precision = found_so_far / np.arange(1, len(counted) + 1)
    ap_11point = 100 * _eleven_points(found_so_far, precision, objects)
    return ap_11point, 100 * _area(found_so_far, precision, objects), objects, len(order)


def _judge(truth: _Joined, found: _Joined) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which detections are right, and which are wrong; neither where a difficult object is found.

    What happens to one depends on those of its own image with higher scores alone.
    """
    right, wrong = np.zeros((2, len(found.image)), bool)
    for image in np.unique(found.image):
        first = int(np.searchsorted(found.image, image))
        _, boxes, _, scores = found.of_image(image)
        _, objects, _, difficult = truth.of_image(image)
        overlaps = _overlaps(boxes, objects)
        taken: set[int] = set()
        for index in np.argsort(-scores, kind="stable"):
            best = int(overlaps[index].argmax()) if len(objects) else -1
            if best < 0 or overlaps[index, best] < OVERLAP:
                wrong[first + index] = True
            elif not difficult[best]:
                (wrong if best in taken else right)[first + index] = True
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
