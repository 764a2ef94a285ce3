"""The arrays that a measurement has made so far, so that a stop costs only the last of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from resnet_repro.base.files import writable
from resnet_repro.data.npz import read_npz, write_npz
from resnet_repro.networks.weights import weights_sha256
from resnet_repro.store.models import Origin
from resnet_repro.training.subject import Subject

__all__ = ["KeptArrays", "Parts"]


@dataclass(frozen=True)
class Parts:
    """Where the parts of one kind of measurement of one run are kept, and what makes them now.

    Attributes:
        earlier: what made the parts that were there and were used.
    """

    folder: Path
    origin: Origin | None = None
    earlier: list[Origin] = field(default_factory=list)


class KeptArrays:
    """Arrays by name, each in a file of its own that is written as soon as it has been made.

    The files' names depend on what was measured as well, so that those of another measurement are
    left alone. A damaged file is made again.
    """

    def __init__(
        self, parts: Parts, subject: Subject, *others: Mapping[str, Tensor], **what: Any
    ) -> None:
        """The folder is made if need be.

        Args:
            others: states of other networks that are measured with the subject.
            what: all else that decides what is found: settings (a model) and data.

        Raises:
            StoreError: it cannot be made.
        """
        what |= {"precision": subject.backend.precision, "device": subject.backend.device.type}
        what["weights"] = weights_sha256(subject.network.state_dict(), *others)
        self._parts, folder = parts, parts.folder
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
        path = self._parts.folder / f"{digest[:32]}.npz"
        there = read_npz(path) or {}
        if "array" in there:
            self._note_origin(str(there.get("origin")))
            return there["array"]
        array, origin = np.asarray(make()), self._parts.origin
        with writable(path):
            write_npz(path, {"array": array, "origin": origin.model_dump_json() if origin else ""})
        return array

    def _note_origin(self, text: str) -> None:
        """Note what made a part, unless that is what measures now, or is not known."""
        with suppress(ValueError):
            found = Origin.model_validate_json(text)
            if found not in (self._parts.origin, *self._parts.earlier):
                self._parts.earlier.append(found)
