"""The arrays that a measurement has made so far, so that a stop costs only the last of them."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from resnet_repro.base.errors import StoreError
from resnet_repro.base.files import open_regular, unwritable
from resnet_repro.networks.weights import weights_sha256
from resnet_repro.training.subject import Subject

__all__ = ["KeptArrays", "measured_on"]


def measured_on(subject: Subject, *others: Mapping[str, Tensor], **what: Any) -> str:
    """All that decides what a measurement finds, as one line of JSON.

    Args:
        subject: the trained network, and where it is measured.
        others: states of other networks that are measured with it.
        what: settings and data.
    """
    backend = subject.backend
    place = {"precision": backend.precision, "device": backend.device.type}
    weights = weights_sha256(subject.network.state_dict(), *others)
    return json.dumps({**what, "weights": weights, **place}, sort_keys=True)


class KeptArrays:
    """Arrays by name in an `.npz` file, to which each is added as soon as it has been made.

    A file that is damaged, or was begun for something else, is begun anew, and so is a link, which
    may lead out of the run's folder.
    """

    def __init__(self, path: Path, measured: str) -> None:
        """Open the file; `measured` is `measured_on` of what the arrays belong to.

        Raises:
            StoreError: what cannot be used cannot be removed either.
        """
        self._path, self._measured = path, measured.encode()
        self._names = self._names_there()
        if not self._names:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise unwritable(path, error) from error

    def _names_there(self) -> set[str]:
        if self._path.is_symlink():
            return set()
        try:
            with open_regular(self._path) as packed, zipfile.ZipFile(packed) as file:
                usable = file.comment == self._measured and file.testzip() is None
                return set(file.namelist()) if usable else set()
        except Exception:  # a damaged archive can raise nearly anything
            return set()

    def get(self, name: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """The array of this name; it is made, and kept, if it is not there yet.

        Raises:
            StoreError: it cannot be written or read.
        """
        member = f"{name}.npy"
        if member in self._names:
            with self._opened("r") as file, file.open(member) as content:
                kept: NDArray[Any] = np.lib.format.read_array(content, allow_pickle=False)
            return kept
        array = make()
        with self._opened("a") as file:
            file.comment = self._measured
            with file.open(member, "w", force_zip64=True) as content:
                np.lib.format.write_array(content, array, allow_pickle=False)
        self._names.add(member)
        return array

    @contextmanager
    def _opened(self, mode: Literal["r", "a"]) -> Iterator[zipfile.ZipFile]:
        try:
            with zipfile.ZipFile(self._path, mode) as file:
                yield file
        except OSError as error:
            raise unwritable(self._path, error) from error
        except (KeyError, zipfile.BadZipFile) as error:  # by another process
            raise StoreError(f"{self._path} has changed meanwhile; run again") from error
