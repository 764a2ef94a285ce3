"""The files of one run, and writing them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import get_args

from resnet_repro.errors import StoreError
from resnet_repro.provenance import utc_now
from resnet_repro.spec import Run, Views
from resnet_repro.store.files import (
    csv_text,
    exact,
    flush_folder,
    read_text,
    six_digits,
    unwritable,
    write_atomically,
)
from resnet_repro.store.measurements import ORIGINS, read_evaluations, read_origins
from resnet_repro.store.models import (
    CurveRow,
    EvaluationRow,
    GradientRow,
    Measured,
    MeasurementOrigin,
    Origin,
    Summary,
)

__all__ = ["RunFolder"]

HEARTBEAT_TIMEOUT = 120.0  # seconds after which a run on another host counts as abandoned
LONGEST_SILENCE = 3600.0  # the same for a living process here, which may be testing meanwhile


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.curve = path / "curve.csv"
        self.summary = path / "summary.json"
        self.responses = path / "responses.csv"
        self.gradients = path / "gradients.csv"
        self.evaluations = path / "evaluations.csv"
        self.origins = path / "measurements.json"  # what made the three before
        self.tensorboard = path / "tensorboard"  # not committed
        self.fresh_checkpoint = path / "checkpoint.new"  # whole, but not in its place yet
        self.checkpoint = path / "checkpoint"
        self.previous_checkpoint = path / "checkpoint.previous"
        self.owner = path / ".owner.json"
        self.lock = path / ".lock"

    def make(self) -> None:
        """Make the folder, which has to be one: what is written here stays in the store.

        Raises:
            StoreError: it cannot be made, or is a link to somewhere else.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            linked = self.path.is_symlink()
        except OSError as error:
            raise unwritable(self.path, error) from error
        if linked:
            raise StoreError(f"{self.path} is a link; nothing is written through it")

    def sweep(self) -> None:
        """Remove what a killed process left half-written; only for the owner of the lock."""
        with contextlib.suppress(OSError):
            for part in self.path.glob(".*.part"):
                part.unlink(missing_ok=True)

    def write_config(self, run: Run) -> None:
        """Record the resolved configuration."""
        write_atomically(self.config, run.to_yaml())

    def write_curve(self, rows: Sequence[CurveRow]) -> None:
        """Replace the curve by `rows`."""
        names = [f.name for f in fields(CurveRow)]
        if all(row.validation_error is None for row in rows):
            names.remove("validation_error")
        write_atomically(
            self.curve, csv_text(names, [[exact(getattr(r, n)) for n in names] for r in rows])
        )

    def write_summary(self, summary: Summary, *, durable: bool = True) -> None:
        """Replace the summary; `durable=False` for the frequent ones that say how far it is."""
        text = json.dumps(summary.model_dump(mode="json"), indent=2, allow_nan=False) + "\n"
        write_atomically(self.summary, text, durable=durable)

    def write_responses(self, rows: Sequence[tuple[int, str, float]], origin: Origin) -> None:
        """Record (layer from 1, module name, standard deviation) of each measured layer."""
        lines = [(layer, module, repr(std)) for layer, module, std in rows]
        with self._made_by(origin, ["responses"]):
            write_atomically(self.responses, csv_text(("layer", "module", "std"), lines))

    def write_gradients(self, rows: Sequence[GradientRow], origin: Origin | None = None) -> None:
        """Replace what was measured of signals and gradients by `rows`.

        `origin` is of what was measured after training; the rest is the training's own.
        """
        names = [f.name for f in fields(GradientRow)]
        if all(row.signal_norm is None for row in rows):
            names.remove("signal_norm")
        lines = [[six_digits(getattr(row, name)) for name in names] for row in rows]
        with self._made_by(origin, ["gradients"]) if origin else contextlib.nullcontext():
            write_atomically(self.gradients, csv_text(names, lines))

    def write_evaluations(self, rows: Sequence[EvaluationRow], origin: Origin) -> None:
        """Record errors by kind of views; lines about other views stay.

        Raises:
            StoreError: it cannot be written, or what is there is torn.
        """
        kept = {row.views: row for row in read_evaluations(self.evaluations)}
        kept |= {row.views: row for row in rows}
        names = [f.name for f in fields(EvaluationRow)]
        ordered = [kept[views] for views in get_args(Views) if views in kept]
        lines = [[exact(getattr(row, name)) for name in names] for row in ordered]
        with self._made_by(origin, [row.views for row in rows]):
            write_atomically(self.evaluations, csv_text(names, lines))

    @contextlib.contextmanager
    def _made_by(self, origin: Origin, what: Sequence[Measured]) -> Iterator[None]:
        """Put on record what made the measurements that are written meanwhile.

        An earlier record goes first: a crash between leaves a number without an origin, and none
        with another's.

        Raises:
            StoreError: it cannot be written, or what is there is torn.
        """
        known = read_origins(self.origins)
        others = {name: made for name, made in known.items() if name not in what}
        if others != known:
            self._write_origins(others)
        yield
        made = MeasurementOrigin(**origin.model_dump(), measured=utc_now())
        self._write_origins(others | dict.fromkeys(what, made))

    def _write_origins(self, origins: dict[Measured, MeasurementOrigin]) -> None:
        write_atomically(self.origins, ORIGINS.dump_json(origins, indent=2) + b"\n")

    def scores(self, views: Views) -> Path:
        """Where the scores of every image go, for ensembles: float16 [N, classes]."""
        return self.path / f"scores-{views}.npz"

    def write_checkpoint(self, content: bytes) -> None:
        """Write a checkpoint durably; the last one stays as the previous one."""
        write_atomically(self.fresh_checkpoint, content)
        try:
            if self.checkpoint.exists():
                self.checkpoint.replace(self.previous_checkpoint)
            self.fresh_checkpoint.replace(self.checkpoint)
        except OSError as error:
            raise unwritable(self.checkpoint, error) from error
        flush_folder(self.path)

    def checkpoints(self) -> list[Path]:
        """The checkpoints there are, newest first. A crash can leave any two of the three."""
        generations = (self.fresh_checkpoint, self.checkpoint, self.previous_checkpoint)
        return [path for path in generations if path.exists()]

    def set_aside(self, checkpoint: Path) -> None:
        """Rename a checkpoint that cannot be used, so that it does not push out a good one."""
        try:
            checkpoint.replace(checkpoint.with_name(f"{checkpoint.name}.damaged"))
        except OSError as error:
            raise unwritable(checkpoint, error) from error

    def claim(self) -> None:
        """Say that this process is at work here (the lock itself is the runner's)."""
        content = {"host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}
        write_atomically(self.owner, json.dumps(content), durable=False)

    def has_live_owner(self) -> bool:
        """Whether the process that said so last is still there, as far as can be told."""
        try:
            owner = json.loads(read_text(self.owner))
            silence = time.time() - float(owner["time"])
            if owner["host"] != socket.gethostname():
                return silence < HEARTBEAT_TIMEOUT
            os.kill(int(owner["pid"]), 0)
            return silence < LONGEST_SILENCE  # else its number has gone to another process
        except PermissionError:
            return True
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return False

    def clear(self) -> None:
        """Remove everything that training wrote, for starting over."""
        # The summary goes after the checkpoints: without it, what is left of them would be resumed.
        for path in (
            *self.path.glob("checkpoint*"),
            self.summary,
            self.curve,
            self.responses,
            self.gradients,
            self.evaluations,
            self.origins,
            *self.path.glob("scores-*.npz"),
        ):
            self.remove(path)

    def remove(self, path: Path) -> None:
        """Remove one of the files if it is there."""
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"cannot remove {path}: {error.strerror}") from error
