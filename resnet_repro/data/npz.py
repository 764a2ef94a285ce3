"""Arrays in `.npz` files, which are not trusted: they may be damaged or far too large."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_repro.base.files import open_regular, replacing

__all__ = ["read_npz", "write_npz"]

LARGEST = 2**30  # bytes, unpacked; the index of ImageNet has 110 MB, the scores on it 100 MB


def read_npz(path: Path) -> dict[str, NDArray[Any]] | None:
    """The arrays in a file, checked against its checksums; None if it is missing or unusable."""
    try:
        with open_regular(path, LARGEST) as file:
            with zipfile.ZipFile(file) as packed:
                if sum(member.file_size for member in packed.infolist()) > LARGEST:
                    return None
            file.seek(0)
            with np.load(file, allow_pickle=False) as values:
                arrays = {name: values[name] for name in values.files}
    except Exception:  # a damaged archive or header can raise nearly anything
        return None
    return arrays if all(isinstance(array, np.ndarray) for array in arrays.values()) else None


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays to a file, replacing it. Raises OSError if that fails."""
    with replacing(path) as file:
        np.savez(file, **arrays)
