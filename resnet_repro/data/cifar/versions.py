"""CIFAR-10 in its official binary and python versions: six batches of 10,000 records.

In the binary version a record is a label byte and 3,072 pixel bytes. The python version is
pickles, which are read without trusting them.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_repro.base.errors import DataError, plain
from resnet_repro.data.dataset import Contents, Images, Source, SourceFile

__all__ = ["ARCHIVE_MD5", "BATCHES", "CLASSES", "read_binary_version", "read_python_version"]

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
_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
_TEST = ("test_batch",)
_RECORDS = 10_000  # in each batch
BATCHES = _TRAIN + _TEST
ARCHIVE_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # of cifar-10-binary.tar.gz
_RECORD_BYTES = 1 + 3 * 32 * 32
_MAX_PICKLE = 2**26  # bytes; the official pickles have 31 MB


def read_binary_version(folder: Path) -> Source:
    """Read the six .bin files in `folder`.

    Only the archive has a published checksum, so loose files count as unofficial; whoever unpacked
    them from an archive with `ARCHIVE_MD5` knows better. Raises DataError, naming the file, when
    one is missing, has the wrong size or holds something else than CIFAR-10.
    """
    batches = [_read_binary_batch(folder / f"{name}.bin") for name in BATCHES]
    return Source(
        kind="binary version",
        contents=_join_batches(batches),
        classes=CLASSES,
        files=tuple(batch.file for batch in batches),
        official=False,
        note="unofficial copy: contents differ from, or cannot be checked against, the official"
        " archive",
    )


def _read_binary_batch(path: Path) -> _Batch:
    if not path.is_file():
        raise DataError(f"{path.name} is missing in {path.parent}")
    size, expected = path.stat().st_size, _RECORDS * _RECORD_BYTES
    if size != expected:
        what = "truncated" if size < expected else "too long"
        raise DataError(
            f"{path.name} is {what}: {size:,} bytes instead of {expected:,}"
            f" ({_RECORDS:,} records of {_RECORD_BYTES:,} bytes)"
        )
    data = path.read_bytes()
    records = np.frombuffer(data, np.uint8).reshape(_RECORDS, _RECORD_BYTES)
    return _Batch(
        SourceFile(path.name, size, hashlib.sha256(data).hexdigest()),
        images=records[:, 1:].reshape(_RECORDS, 3, 32, 32),
        labels=records[:, 0],
    )


def read_python_version(folder: Path) -> Source:
    """Read the six pickles in `folder`; official if each has the MD5 that torchvision lists.

    Nothing in a pickle is executed, official or not. Raises DataError, naming the file, when one
    is missing, asks for anything but arrays, or holds something else than CIFAR-10.
    """
    official_md5 = _official_md5()
    batches, differing = [], []
    for name in BATCHES:
        data = _read_bytes(folder / name)
        batches.append(_parse_batch(name, data))
        if hashlib.md5(data, usedforsecurity=False).hexdigest() != official_md5[name]:
            differing.append(name)
    return Source(
        kind="python version",
        contents=_join_batches(batches),
        classes=CLASSES,
        files=tuple(batch.file for batch in batches),
        official=not differing,
        note=f"unofficial copy: {', '.join(differing)} differ from the official python version"
        if differing
        else "",
    )


def _official_md5() -> dict[str, str]:
    from torchvision.datasets import CIFAR10  # slow to import, so only when needed

    return dict([*CIFAR10.train_list, *CIFAR10.test_list])


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise DataError(f"{path.name} is missing in {path.parent}")
    if path.stat().st_size > _MAX_PICKLE:
        raise DataError(f"{path.name} is too large for a batch of {_RECORDS:,} images")
    return path.read_bytes()


def _parse_batch(name: str, data: bytes) -> _Batch:
    try:
        values = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    except Exception as error:  # a malformed pickle can raise nearly anything
        raise DataError(
            f"{name} is not a readable pickle: {plain(str(error), 200) or type(error).__name__}"
        ) from None
    if not isinstance(values, dict):
        raise DataError(f"{name} is not a batch: it holds no dictionary")
    pixels, labels = (values.get(key.encode(), values.get(key)) for key in ("data", "labels"))
    if (
        not isinstance(pixels, np.ndarray)
        or pixels.dtype != np.uint8
        or pixels.shape != (_RECORDS, 3072)
    ):
        raise DataError(f"{name}: 'data' is not {_RECORDS:,} rows of 3,072 bytes")
    if (
        not isinstance(labels, list)
        or len(labels) != _RECORDS
        or not all(type(label) is int and 0 <= label < len(CLASSES) for label in labels)
    ):
        raise DataError(f"{name}: 'labels' is not {_RECORDS:,} numbers from 0 to 9")
    return _Batch(
        SourceFile(name, len(data), hashlib.sha256(data).hexdigest()),
        images=pixels.reshape(_RECORDS, 3, 32, 32),
        labels=np.array(labels, dtype=np.uint8),
    )


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that can build containers, numbers, texts and plain arrays, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        known: dict[str, Any] = {
            "numpy.ndarray": np.ndarray,
            "numpy.dtype": _dtype,
            "_codecs.encode": _encode,
        }
        for package in ("numpy.core", "numpy._core"):  # before and since numpy 2
            known[f"{package}.multiarray._reconstruct"] = _reconstruct
            known[f"{package}.numeric._frombuffer"] = _from_buffer
        try:
            return known[f"{module}.{name}"]
        except KeyError:
            wanted = plain(f"{module}.{name}", 100)
            raise DataError(f"refusing a pickle that asks for {wanted}") from None


def _reconstruct(kind: type, shape: tuple[int, ...], code: bytes) -> np.ndarray[Any, Any]:
    """The empty array that numpy's pickles start from, before its state is set."""
    if kind is not np.ndarray or shape != (0,):
        raise ValueError("unusual array")
    return np.ndarray(shape, np.uint8)


def _from_buffer(
    buffer: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], order: str
) -> np.ndarray[Any, Any]:
    if order != "C":
        raise ValueError("unusual array order")
    return np.frombuffer(buffer, dtype).reshape(shape)


def _dtype(code: str | bytes, align: object = False, copy: object = True) -> np.dtype[Any]:
    if code not in ("u1", b"u1"):
        raise ValueError("unusual array type")
    return np.dtype("u1", copy=True)


def _encode(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes in the pickle protocol of Python 2."""
    if encoding != "latin1":
        raise ValueError("unusual text encoding")
    return text.encode("latin1")


@dataclass(frozen=True, eq=False)
class _Batch:
    """One batch file as read: where it came from, images [10000, 3, 32, 32] and labels [10000]."""

    file: SourceFile
    images: Images
    labels: NDArray[np.uint8]


def _join_batches(batches: list[_Batch]) -> Contents:
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
    train, test = batches[: len(_TRAIN)], batches[len(_TRAIN) :]
    for part, part_batches in (("training", train), ("test", test)):
        _check_balance(part, part_batches)
    return Contents(
        np.concatenate([batch.images for batch in train]),
        np.concatenate([batch.labels for batch in train]),
        np.concatenate([batch.images for batch in test]),
        np.concatenate([batch.labels for batch in test]),
    )


def _check_balance(part: str, batches: list[_Batch]) -> None:
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
