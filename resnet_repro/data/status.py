"""What can be said about a data set without opening it, or when it cannot be prepared."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path

from resnet_repro.base.errors import DataError, plain

__all__ = ["DatasetStatus", "cannot_prepare"]


@dataclass(frozen=True)
class DatasetStatus:
    """One line of `data list`."""

    name: str
    description: str
    prepared: bool
    official: bool  # False as long as it is not prepared
    images: int  # training and test together; 0 as long as it is not prepared
    source: str  # where the contents came from; empty as long as it is not prepared
    note: str  # why it is unofficial or unusable, or what would be prepared; may be empty

    @classmethod
    def absent(cls, name: str, description: str, note: str) -> DatasetStatus:
        """Of a data set that is not prepared."""
        return cls(
            name, description, prepared=False, official=False, images=0, source="", note=note
        )


def cannot_prepare(name: str, data_dir: Path, source: Path | None, error: OSError) -> DataError:
    """What to raise; where `data_dir` cannot be written to, it names the way out.

    `source` is the copy that was to be prepared, None for a download.
    """
    text = f"cannot prepare {name} in {data_dir}: {plain(str(error), 300)}"
    existing = next(
        path for path in (data_dir, *data_dir.absolute().parents) if os.access(path, os.F_OK)
    )
    if not os.access(existing, os.W_OK):
        how = "--download" if source is None else f"--from {shlex.quote(str(source))}"
        text += (
            "\nprepare it where you may write, and run with the same --data-dir:"
            f" `resnet-repro data prepare {name} {how} --data-dir A_FOLDER_OF_YOURS`"
        )
    return DataError(text)
