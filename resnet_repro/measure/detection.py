"""Testing detectors: average precision on a data set's test images, and what is found in some."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from resnet_repro.base.files import writable
from resnet_repro.base.stop import until_stopped
from resnet_repro.data.boxes.boxes import BoxDataset, Detections
from resnet_repro.data.npz import write_npz
from resnet_repro.measure.average_precision import average_precisions
from resnet_repro.measure.coco_precision import with_coco
from resnet_repro.measure.kept_arrays import KeptArrays, Parts
from resnet_repro.spec.measurements import DetectionRow, PrecisionRow
from resnet_repro.training.box_feed import BoxFeed
from resnet_repro.training.device import Backend
from resnet_repro.training.order import evenly_spaced
from resnet_repro.training.subject import Subject

__all__ = ["detect", "precisions_of", "show_some"]

SHOWN = 8  # test images whose detections are kept to be drawn
MOST_SHOWN = 12  # detections in each of them
KEPT_TOGETHER = 25  # images; a stop costs as many
TOLD_EVERY = 250  # images, a multiple of these


def detect(network: nn.Module, image: Tensor, backend: Backend) -> Detections:
    """What a detector finds in an image uint8 [3, H, W]; it is left in evaluation mode.

    Boxes are in pixels of the image as it came; everything found is on the CPU.
    """
    network.eval()
    with torch.inference_mode(), backend.autocast():
        (found,) = network([image.to(backend.device)])
    return Detections(*(values.cpu() for values in found))


def precisions_of(
    subject: Subject,
    parts: Parts,
    should_stop: Callable[[], bool],
    news: Callable[[str], None],
    note: Callable[[str], None],
) -> list[PrecisionRow]:
    """Average precision of each class over the test images, which pass one at a time.

    Raises:
        DataError: there are none, or one cannot be read.
        Stopped: `should_stop`, asked before every image, said so; what was found is kept.
        StoreError: it cannot be written.
    """
    dataset = _dataset(subject)
    images, sha256 = len(dataset.test), dataset.identity.sha256
    kept = KeptArrays(parts, subject, data=sha256)

    def search(some: range) -> NDArray[np.float32]:
        if some.start and some.start % TOLD_EVERY == 0:
            news(f"{subject.run.id}: {some.start:,} of {images:,} images searched")
        found = [
            detect(subject.network, dataset.test.image(index), subject.backend)
            for index in until_stopped(some, should_stop)
        ]
        return _packed(found)

    found: list[Detections] = []
    for first in range(0, images, KEPT_TOGETHER):
        some = range(first, min(first + KEPT_TOGETHER, images))
        found += _unpacked(kept.get(str(first), partial(search, some)), len(some))
    truth = [dataset.test.target(index) for index in range(images)]
    rows = average_precisions(truth, found, dataset.classes, sha256)
    return with_coco(rows, truth, found, note)


def _packed(found: Sequence[Detections]) -> NDArray[np.float32]:
    """Detections in several images as rows of image, box, score and label."""
    rows = [
        np.column_stack([np.full(len(one.labels), image), one.boxes, one.scores, one.labels])
        for image, one in enumerate(found)
    ]
    return np.concatenate(rows).astype(np.float32)


def _unpacked(rows: NDArray[np.float32], images: int) -> list[Detections]:
    """The inverse of `_packed`."""
    of_each = [rows[rows[:, 0] == image] for image in range(images)]
    return [Detections(one[:, 1:5], one[:, 5], one[:, 6].astype(np.int64)) for one in of_each]


def show_some(subject: Subject, photographs: Path) -> list[DetectionRow]:
    """The objects of some test images, evenly spaced, and what is found in them.

    The images themselves are written to `photographs` (.npz), to be drawn.

    Raises:
        DataError: there are none, or one cannot be read.
        StoreError: they cannot be written.
    """
    dataset = _dataset(subject)
    indices = [i for i in range(len(dataset.test)) if len(dataset.test.target(i).boxes)]
    chosen = [indices[place] for place in evenly_spaced(len(indices), SHOWN).tolist()]
    images = [dataset.test.image(index) for index in chosen]
    rows: list[DetectionRow] = []
    for index, image in zip(chosen, images, strict=True):
        target, name = dataset.test.target(index), dataset.test.ids[index]
        found = detect(subject.network, image, subject.backend)
        objects = zip(target.boxes.tolist(), target.labels.tolist(), strict=True)
        rows += [_row(dataset, name, box, label, None) for box, label in objects]
        best = zip(found.boxes.tolist(), found.labels.tolist(), found.scores.tolist(), strict=True)
        rows += [_row(dataset, name, *one) for one in itertools.islice(best, MOST_SHOWN)]
    with writable(photographs):
        write_npz(photographs, {str(number): image.numpy() for number, image in enumerate(images)})
    return rows


def _row(
    dataset: BoxDataset, image: str, box: Sequence[float], label: int, score: float | None
) -> DetectionRow:
    return DetectionRow(image, dataset.classes[label - 1], score, *(round(x, 1) for x in box))


def _dataset(subject: Subject) -> BoxDataset:
    assert isinstance(subject.feed, BoxFeed), "detectors' data have boxes"
    dataset = subject.feed.dataset
    dataset.need_images("test", "average precision is measured on test images with boxes")
    return dataset
