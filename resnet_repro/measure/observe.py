"""What looks on while a run is trained, without changing what comes out of it."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from resnet_repro.base.errors import ConfigError, StoreError
from resnet_repro.measure.gradients import measure_gradients
from resnet_repro.spec.measurements import GradientRow
from resnet_repro.store.models import CurveRow
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.store.stored_run import StoredRun
from resnet_repro.training.curve import Point
from resnet_repro.training.subject import Subject
from resnet_repro.training.trainer import Trainer

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = [
    "EventFiles",
    "GradientRecord",
    "Observer",
    "check_tensorboard",
    "has_events",
    "measure_afterwards",
    "write_events",
]

CURVES = ("train_loss", "train_error", "test_error", "validation_error", "lr")


class Observer(Protocol):
    """Somebody who is told how a training goes."""

    def begin(self, trainer: Trainer) -> None:
        """The training begins, or goes on after `trainer.iteration`."""

    def on_point(self, trainer: Trainer) -> None:
        """The curve has a new point."""

    def end(self) -> None:
        """The session is over."""


class GradientRecord:
    """Measures signals and gradients at the start and at every point of the curve."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.rows: list[GradientRow] = []

    def begin(self, trainer: Trainer) -> None:
        """Keep what earlier sessions measured of what is not trained again now."""
        run = trainer.run
        try:
            rows = StoredRun(run.id, self.folder, run, None).gradients()
        except StoreError:
            rows = []
        self.rows = [row for row in rows if row.iteration <= trainer.iteration]
        if not any(row.iteration == 0 for row in self.rows):
            self.rows = _measure(trainer.subject.untrained(), 0, "training") + self.rows
            self.folder.write_measured("gradients", self.rows)

    def on_point(self, trainer: Trainer) -> None:
        """Measure the network as it is."""
        self.rows = [row for row in self.rows if row.iteration < trainer.iteration]
        self.rows += _measure(trainer.subject, trainer.iteration, "training")
        self.folder.write_measured("gradients", self.rows)

    def end(self) -> None:
        """Everything is stored already."""


def measure_afterwards(subject: Subject, rows: Sequence[GradientRow]) -> list[GradientRow]:
    """`rows` with what they lack of the start and the end, from the seed and the final weights.

    `subject` has the final weights. What lay between cannot be made up for.
    """
    last = subject.run.recipe.iterations
    there = {row.iteration for row in rows}
    first = [] if 0 in there else _measure(subject.untrained(), 0, "afterwards")
    final = [] if last in there else _measure(subject, last, "afterwards")
    return [*first, *rows, *final]


def _measure(subject: Subject, iteration: int, measured: str) -> list[GradientRow]:
    recipe = subject.run.recipe
    batch = subject.feed.fixed_batch(recipe.micro_batch_size or recipe.batch_size)
    layers = measure_gradients(subject.network, *batch, subject.backend.autocast)
    return [
        GradientRow(iteration=iteration, measured=measured, **layer._asdict()) for layer in layers
    ]


def check_tensorboard() -> None:
    """Check that event files can be written.

    Raises:
        ConfigError: the package is not installed.
    """
    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError("--tensorboard needs the tensorboard package: pip install tensorboard")


class EventFiles:
    """Writes the curve as TensorBoard event files, anew in every session."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writer: SummaryWriter | None = None

    def begin(self, trainer: Trainer) -> None:
        """Write the points so far, so that one event file holds the whole curve."""
        self.writer = _writer(self.folder)
        for point in trainer.points:
            _add_point(self.writer, point)
        self.writer.flush()

    def on_point(self, trainer: Trainer) -> None:
        """Add the newest point."""
        if self.writer is not None:
            _add_point(self.writer, trainer.points[-1])
            self.writer.flush()

    def end(self) -> None:
        """Close the file."""
        if self.writer is not None:
            self.writer.close()


def has_events(folder: Path) -> bool:
    """Whether there is an event file."""
    return any(folder.glob("events.out.tfevents.*"))


def write_events(folder: Path, rows: Sequence[CurveRow]) -> None:
    """Write the curve of a finished run as an event file.

    Raises:
        StoreError: it cannot be written.
    """
    writer = _writer(folder)
    for row in rows:
        _add_point(writer, row)
    writer.close()


def _writer(folder: Path) -> SummaryWriter:
    from torch.utils.tensorboard import SummaryWriter

    try:
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        return SummaryWriter(str(folder))
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {error.strerror}") from error


def _add_point(writer: SummaryWriter, point: Point | CurveRow) -> None:
    for name in CURVES:
        value = getattr(point, name)
        if value is not None:
            writer.add_scalar(name, value, point.iteration)
