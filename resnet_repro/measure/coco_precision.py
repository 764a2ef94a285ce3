"""COCO's average precision (Tables 8 and 9), by COCO's own program: an optional extra.

Over overlaps of 0.5, 0.55 ... 0.95, 101 recalls and the 100 best detections of each image and class
(of a detector here there are no more an image). What is marked difficult goes in as a crowd
(`iscrowd`): it neither counts nor hurts, but a crowd is overlapped as soon as it covers the
detection. So on PASCAL VOC, whose difficult objects are objects like others, this differs a little
from what `average_precision` makes of them.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from resnet_repro.data.boxes.boxes import Detections, Target
from resnet_repro.spec.measurements import PrecisionRow

__all__ = ["coco_precisions", "with_coco"]


def coco_precisions(
    truth: Sequence[Target], found: Sequence[Detections], classes: int
) -> list[tuple[float | None, float | None]]:
    """For each class, 1 to `classes`: the mean over all overlaps, and at 0.5; in percent.

    Both are None for a class without objects. The data set's are the means over the others.

    Raises:
        ImportError: COCO's program is not installed.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it prints how long everything takes
        objects = [_annotations(one.boxes, one.labels, iscrowd=one.difficult) for one in truth]
        detections = [_annotations(one.boxes, one.labels, score=one.scores) for one in found]
        sides = [_as_coco(COCO(), images, classes) for images in (objects, detections)]
        evaluation = COCOeval(*sides, "bbox")
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [100]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"])[..., 0, 0]  # [overlaps, recalls, classes]
    return [
        (100 * float(one.mean()), 100 * float(one[0].mean())) if one.max() >= 0 else (None, None)
        for one in np.moveaxis(precision, 2, 0)
    ]


def with_coco(
    rows: Sequence[PrecisionRow],
    truth: Sequence[Target],
    found: Sequence[Detections],
    note: Callable[[str], None],
) -> list[PrecisionRow]:
    """The rows of all classes with COCO's numbers.

    Where its program is missing they stay as they are, and `note` hears so.
    """
    try:
        numbers = coco_precisions(truth, found, len(rows))
    except ImportError:
        note(
            "COCO's average precision is left out, since pycocotools is missing: "
            "pip install 'resnet-repro[detection]'"
        )
        return list(rows)
    return [
        row._replace(coco_ap=ap, coco_ap50=ap50)
        for row, (ap, ap50) in zip(rows, numbers, strict=True)
    ]


def _annotations(boxes: Any, labels: Any, **more: Any) -> list[dict[str, Any]]:
    """COCO's description of the objects in one image, or of the detections."""
    lists = [np.asarray(values).tolist() for values in (labels, *more.values())]
    corners = np.asarray(boxes, np.float64).reshape(-1, 4).tolist()
    return [
        {
            "iscrowd": 0,
            "category_id": label,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            **dict(zip(more, values, strict=True)),
        }
        for (x1, y1, x2, y2), label, *values in zip(corners, *lists, strict=True)
    ]


def _as_coco(made: Any, images: Sequence[Sequence[dict[str, Any]]], classes: int) -> Any:
    """Its own index of annotations; their numbers begin with 1, since it takes 0 for no match."""
    every = [
        {**one, "image_id": number} for number, some in enumerate(images, start=1) for one in some
    ]
    made.dataset = {
        "images": [{"id": number} for number in range(1, len(images) + 1)],
        "categories": [{"id": label} for label in range(1, classes + 1)],
        "annotations": [{**one, "id": number} for number, one in enumerate(every, start=1)],
    }
    made.createIndex()
    return made
