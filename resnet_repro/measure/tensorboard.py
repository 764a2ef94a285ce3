"""The training curve as TensorBoard event files."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_repro.base.errors import ConfigError, StoreError
from resnet_repro.spec.run import Run
from resnet_repro.store.models import CurveRow, DetectionPoint
from resnet_repro.store.store import Store
from resnet_repro.training.trainer import Trainer

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["EventFiles", "check_tensorboard", "write_events"]


def check_tensorboard() -> None:
    """Check that event files can be written.

    Raises:
        ConfigError: the package is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError("--tensorboard needs the tensorboard package: pip install tensorboard")


class EventFiles:
    """Writes the curve as TensorBoard event files, anew in every session."""

    writer: SummaryWriter  # from `begin` on

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def begin(self, trainer: Trainer) -> None:
        """Write the points so far, so that one event file holds the whole curve."""
        self.writer = _writer(self.folder, trainer.points)

    def on_point(self, trainer: Trainer) -> None:
        """Add the newest point."""
        _add_point(self.writer, trainer.points[-1])
        self.writer.flush()

    def save(self) -> None:
        """Nothing: every point is in the file."""

    def end(self) -> None:
        """Close the file."""
        self.writer.close()


def write_events(store: Store, runs: Sequence[Run]) -> None:
    """Write the curves of finished runs as event files.

    Raises:
        StoreError: one cannot be written.
    """
    for stored in map(store.get, runs):
        if stored.finished:
            _writer(stored.folder.tensorboard, stored.curve()).close()


def _writer(folder: Path, rows: Sequence[CurveRow | DetectionPoint]) -> SummaryWriter:
    """Begins the one event file of a folder with some points."""
    from torch.utils.tensorboard import SummaryWriter

    try:
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        writer = SummaryWriter(str(folder))
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {error.strerror}") from error
    for row in rows:
        _add_point(writer, row)
    writer.flush()
    return writer


def _add_point(writer: SummaryWriter, point: CurveRow | DetectionPoint) -> None:
    for name, value in point._asdict().items():
        if value is not None and name not in ("iteration", "epoch", "seconds"):
            writer.add_scalar(name, value, point.iteration)
