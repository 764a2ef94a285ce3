"""CIFAR-10 and CIFAR-100 in their official binary and python versions.

In the binary version a record is a label byte (CIFAR-100: two, superclass and class) and 3,072
pixel bytes. The python version consists of pickles, which are not trusted.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnet_repro.base.errors import DataError, plain
from resnet_repro.data.cifar.known import KnownCifar
from resnet_repro.data.dataset import Contents, Dataset, Identity, Images

__all__ = ["read_binary_version", "read_python_version", "torchvision_class"]

_PIXEL_BYTES = 3 * 32 * 32
_MAX_PICKLE = 2**26 // 10_000  # bytes an image; the official pickles have 3,100


def read_binary_version(known: KnownCifar, folder: Path) -> Dataset:
    """Read the .bin files in `folder`.

    They count as unofficial, since only their archive has a published checksum; the caller may know
    that archive. Raises DataError, naming the file, if one is missing, has the wrong size or is not
    of this data set.
    """
    batches = [
        _read_binary_batch(folder / f"{name}.bin", records, known.label_bytes)
        for name, records in known.files.items()
    ]
    note = (
        "unofficial copy: contents differ from, or cannot be checked against, the official archive"
    )
    return _join_batches(known, batches, "binary version", note)


def _read_binary_batch(path: Path, records: int, label_bytes: int) -> _Batch:
    if not path.is_file():
        raise DataError(f"{path.name} is missing in {path.parent}")
    length = label_bytes + _PIXEL_BYTES
    size, expected = path.stat().st_size, records * length
    if size != expected:
        what = "truncated" if size < expected else "too long"
        raise DataError(
            f"{path.name} is {what}: {size:,} bytes instead of {expected:,}"
            f" ({records:,} records of {length:,} bytes)"
        )
    rows = np.fromfile(path, np.uint8).reshape(records, length)
    return _Batch(
        path.name,
        images=rows[:, label_bytes:].reshape(records, 3, 32, 32),
        labels=rows[:, label_bytes - 1],
    )


def read_python_version(known: KnownCifar, folder: Path) -> Dataset:
    """Read the pickles in `folder`; official if each has the MD5 that torchvision lists.

    Nothing in a pickle is executed. Raises DataError, naming the file, if one is missing, needs
    anything but arrays, or is not of this data set.
    """
    official = torchvision_class(known)
    official_md5 = dict([*official.train_list, *official.test_list])
    batches, differing = [], []
    for name, records in known.files.items():
        data = _read_bytes(folder / name, records)
        batches.append(_parse_batch(known, name, data))
        if hashlib.md5(data, usedforsecurity=False).hexdigest() != official_md5[name]:
            differing.append(name)
    note = ""
    if differing:
        note = f"unofficial copy: {', '.join(differing)} differ from the official python version"
    return _join_batches(known, batches, "python version", note)


def torchvision_class(known: KnownCifar) -> Any:
    """The class in torchvision with the official address and checksums."""
    from torchvision import datasets  # slow to import, so only when needed

    return getattr(datasets, known.torchvision)


def _read_bytes(path: Path, records: int) -> bytes:
    if not path.is_file():
        raise DataError(f"{path.name} is missing in {path.parent}")
    if path.stat().st_size > _MAX_PICKLE * records:
        raise DataError(f"{path.name} is too large for a batch of {records:,} images")
    return path.read_bytes()


def _parse_batch(known: KnownCifar, name: str, data: bytes) -> _Batch:
    records, classes, key = known.files[name], len(known.classes), known.label_key
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
    pixels, labels = (values.get(k.encode(), values.get(k)) for k in ("data", key))
    if (
        not isinstance(pixels, np.ndarray)
        or pixels.dtype != np.uint8
        or pixels.shape != (records, _PIXEL_BYTES)
    ):
        raise DataError(f"{name}: 'data' is not {records:,} rows of 3,072 bytes")
    if (
        not isinstance(labels, list)
        or len(labels) != records
        or not all(type(label) is int and 0 <= label < classes for label in labels)
    ):
        raise DataError(f"{name}: '{key}' is not {records:,} numbers from 0 to {classes - 1}")
    return _Batch(
        name,
        images=pixels.reshape(records, 3, 32, 32),
        labels=np.array(labels, dtype=np.uint8),
    )


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that can build only containers, numbers, texts and plain arrays."""

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


class _Batch(NamedTuple):
    """The contents of one file."""

    name: str
    images: Images  # [N, 3, 32, 32]
    labels: NDArray[np.uint8]  # [N]


def _join_batches(known: KnownCifar, batches: list[_Batch], kind: str, note: str) -> Dataset:
    """The data set of training and test files in official order; it is official without `note`.

    Raises DataError if a label is of no class, two files have the same images, or the classes do
    not have the same number of images each.
    """
    classes = len(known.classes)
    for batch in batches:
        if int(batch.labels.max()) >= classes:
            record = int(np.argmax(batch.labels >= classes))
            raise DataError(
                f"{batch.name}: record {record} has label {batch.labels[record]}, "
                f"not 0 to {classes - 1}"
            )
    for one, other in itertools.combinations(batches, 2):
        if np.array_equal(one.images, other.images):
            raise DataError(f"{other.name} has the same contents as {one.name}")
    train, test = batches[: len(known.train_files)], batches[len(known.train_files) :]
    for part, part_batches in (("training", train), ("test", test)):
        _check_balance(known, part, part_batches)
    contents = Contents(
        np.concatenate([batch.images for batch in train]),
        np.concatenate([batch.labels for batch in train]),
        np.concatenate([batch.images for batch in test]),
        np.concatenate([batch.labels for batch in test]),
    )
    identity = Identity(known.name, not note, contents.sha256(), kind, note)
    return Dataset.of(identity, known.classes, contents)


def _check_balance(known: KnownCifar, part: str, batches: list[_Batch]) -> None:
    labels = np.concatenate([batch.labels for batch in batches])
    expected = len(labels) // len(known.classes)
    counts = np.bincount(labels, minlength=len(known.classes))
    for name, count in zip(known.classes, counts, strict=True):
        if count != expected:
            files = batches[0].name
            if len(batches) > 1:
                files += f" to {batches[-1].name}"
            raise DataError(
                f"{files}: {count:,} {part} images of class {name}; {known.title} has {expected:,}"
            )
