"""CIFAR-10 in the official binary version: a record is a label byte and 3,072 pixel bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from resnet_repro.base.errors import DataError
from resnet_repro.data.cifar.batches import (
    CLASSES,
    RECORDS,
    TEST_BATCHES,
    TRAIN_BATCHES,
    Batch,
    join_batches,
)
from resnet_repro.data.dataset import Source, SourceFile

__all__ = ["ARCHIVE_MD5", "UNCHECKED", "read_binary_version"]

ARCHIVE_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # of cifar-10-binary.tar.gz
UNCHECKED = (
    "unofficial copy: contents differ from, or cannot be checked against, the official archive"
)
_FILES = tuple(f"{batch}.bin" for batch in TRAIN_BATCHES + TEST_BATCHES)
_RECORD_BYTES = 1 + 3 * 32 * 32


def read_binary_version(folder: Path) -> Source:
    """Read the six .bin files in `folder`.

    Only the archive has a published checksum, so loose files count as unofficial; whoever unpacked
    them from an archive with `ARCHIVE_MD5` knows better. Raises DataError, naming the file, when
    one is missing, has the wrong size or holds something else than CIFAR-10.
    """
    batches = [_read_batch(folder / name) for name in _FILES]
    return Source(
        kind="binary version",
        contents=join_batches(batches),
        classes=CLASSES,
        files=tuple(batch.file for batch in batches),
        official=False,
        note=UNCHECKED,
    )


def _read_batch(path: Path) -> Batch:
    if not path.is_file():
        raise DataError(f"{path.name} is missing in {path.parent}")
    size, expected = path.stat().st_size, RECORDS * _RECORD_BYTES
    if size != expected:
        what = "truncated" if size < expected else "too long"
        raise DataError(
            f"{path.name} is {what}: {size:,} bytes instead of {expected:,}"
            f" ({RECORDS:,} records of {_RECORD_BYTES:,} bytes)"
        )
    data = path.read_bytes()
    records = np.frombuffer(data, np.uint8).reshape(RECORDS, _RECORD_BYTES)
    return Batch(
        SourceFile(path.name, size, hashlib.sha256(data).hexdigest()),
        images=records[:, 1:].reshape(RECORDS, 3, 32, 32),
        labels=records[:, 0],
    )
