"""What the official binary and python versions of CIFAR-10 share: six batches of 10,000 records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resnet_repro.base.errors import DataError
from resnet_repro.data.dataset import Contents, Images, SourceFile

__all__ = ["CLASSES", "RECORDS", "TEST_BATCHES", "TRAIN_BATCHES", "Batch", "join_batches"]

CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
TRAIN_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_BATCHES = ("test_batch",)
RECORDS = 10_000  # in each batch


@dataclass(frozen=True, eq=False)
class Batch:
    """One batch file as read: where it came from, images [10000, 3, 32, 32] and labels [10000]."""

    file: SourceFile
    images: Images
    labels: NDArray[np.uint8]


def join_batches(batches: list[Batch]) -> Contents:
    """The contents of the five training batches and the test batch, given in official order.

    Raises DataError when a label is not 0..9, when two files are the same, or when the classes do
    not have their official 5,000 training and 1,000 test images each.
    """
    seen: dict[str, str] = {}
    for batch in batches:
        if int(batch.labels.max()) >= len(CLASSES):
            record = int(np.argmax(batch.labels >= len(CLASSES)))
            raise DataError(
                f"{batch.file.name}: record {record} has label {batch.labels[record]}, not 0 to 9"
            )
        twin = seen.setdefault(batch.file.sha256, batch.file.name)
        if twin != batch.file.name:
            raise DataError(f"{batch.file.name} has the same contents as {twin}")
    train, test = batches[: len(TRAIN_BATCHES)], batches[len(TRAIN_BATCHES) :]
    for part, part_batches in (("training", train), ("test", test)):
        _check_balance(part, part_batches)
    return Contents(
        np.concatenate([batch.images for batch in train]),
        np.concatenate([batch.labels for batch in train]),
        np.concatenate([batch.images for batch in test]),
        np.concatenate([batch.labels for batch in test]),
    )


def _check_balance(part: str, batches: list[Batch]) -> None:
    labels = np.concatenate([batch.labels for batch in batches])
    expected = len(labels) // len(CLASSES)
    for name, count in zip(CLASSES, np.bincount(labels, minlength=len(CLASSES)), strict=True):
        if count != expected:
            files = batches[0].file.name
            if len(batches) > 1:
                files += f" to {batches[-1].file.name}"
            raise DataError(
                f"{files}: {count:,} {part} images of class {name}; CIFAR-10 has {expected:,}"
            )
