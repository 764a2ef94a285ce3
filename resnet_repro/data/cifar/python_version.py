"""CIFAR-10 in the official python version: six pickles, read without trusting them."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from resnet_repro.base.errors import DataError, plain
from resnet_repro.data.cifar.batches import (
    CLASSES,
    RECORDS,
    TEST_BATCHES,
    TRAIN_BATCHES,
    Batch,
    join_batches,
)
from resnet_repro.data.dataset import Source, SourceFile

__all__ = ["read_python_version"]

_MAX_BYTES = 2**26  # the official pickles have 31 MB


def read_python_version(folder: Path) -> Source:
    """Read the six pickles in `folder`; official if each has the MD5 that torchvision lists.

    Nothing in a pickle is executed, official or not. Raises DataError, naming the file, when one
    is missing, asks for anything but arrays, or holds something else than CIFAR-10.
    """
    official_md5 = _official_md5()
    batches, differing = [], []
    for name in TRAIN_BATCHES + TEST_BATCHES:
        data = _read_bytes(folder / name)
        batches.append(_parse_batch(name, data))
        if hashlib.md5(data, usedforsecurity=False).hexdigest() != official_md5[name]:
            differing.append(name)
    return Source(
        kind="python version",
        contents=join_batches(batches),
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
    if path.stat().st_size > _MAX_BYTES:
        raise DataError(f"{path.name} is too large for a batch of {RECORDS:,} images")
    return path.read_bytes()


def _parse_batch(name: str, data: bytes) -> Batch:
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
        or pixels.shape != (RECORDS, 3072)
    ):
        raise DataError(f"{name}: 'data' is not {RECORDS:,} rows of 3,072 bytes")
    if (
        not isinstance(labels, list)
        or len(labels) != RECORDS
        or not all(type(label) is int and 0 <= label < len(CLASSES) for label in labels)
    ):
        raise DataError(f"{name}: 'labels' is not {RECORDS:,} numbers from 0 to 9")
    return Batch(
        SourceFile(name, len(data), hashlib.sha256(data).hexdigest()),
        images=pixels.reshape(RECORDS, 3, 32, 32),
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
