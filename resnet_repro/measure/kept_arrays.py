"""The arrays that a measurement has made so far, so that a stop costs only the last of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from resnet_repro.base.files import writable
from resnet_repro.data.npz import read_npz, write_npz
from resnet_repro.networks.weights import weights_sha256
from resnet_repro.training.subject import Subject

__all__ = ["KeptArrays"]


class KeptArrays:
    """Arrays by name, each in a file of its own that is written as soon as it has been made.

    The files' names depend on what was measured as well, so that those of another measurement are
    left alone. A damaged file is made again.
    """

    def __init__(
        self, folder: Path, subject: Subject, *others: Mapping[str, Tensor], **what: Any
    ) -> None:
        """In a folder of one kind of measurement of one run, made if need be.

        Args:
            others: states of other networks that are measured with the subject.
            what: all else that decides what is found: settings (a model) and data.

        Raises:
            StoreError: it cannot be made.
        """
        what |= {"precision": subject.backend.precision, "device": subject.backend.device.type}
        what["weights"] = weights_sha256(subject.network.state_dict(), *others)
        self._folder = folder
        self._measured = json.dumps(
            what, sort_keys=True, default=lambda v: v.model_dump(mode="json")
        )
        with writable(folder):
            if folder.is_symlink():  # which may lead out of the run's folder
                folder.unlink()
            folder.mkdir(parents=True, exist_ok=True)

    def get(self, name: str, make: Callable[[], ArrayLike]) -> NDArray[Any]:
        """The array of this name; it is made, and kept, if it is not there yet.

        Raises:
            StoreError: it cannot be written.
        """
        digest = hashlib.sha256(f"{self._measured}\n{name}".encode()).hexdigest()
        path = self._folder / f"{digest[:32]}.npz"
        there = read_npz(path) or {}
        if "array" in there:
            return there["array"]
        array = np.asarray(make())
        with writable(path):
            write_npz(path, {"array": array})
        return array
