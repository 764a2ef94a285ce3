"""The files of one run, and writing them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from resnet_repro.base.errors import StoreError
from resnet_repro.base.files import csv_text, flush_folder, read_text, unwritable, write_atomically
from resnet_repro.base.provenance import utc_now
from resnet_repro.spec.run import Run
from resnet_repro.spec.shows import Views
from resnet_repro.store.measurements import FILES, ORIGINS, read_file
from resnet_repro.store.models import (
    CurveRow,
    EvaluationRow,
    GradientRow,
    Measured,
    MeasurementOrigin,
    Origin,
    Summary,
)
from resnet_repro.store.sums import measured_sums, summary_sum, training_sums

__all__ = ["RunFolder"]

HEARTBEAT_TIMEOUT = 120.0  # seconds after which a run on another host counts as abandoned
LONGEST_SILENCE = 3600.0  # the same for a living process here, which may be testing meanwhile


class _File:
    """A file of a run's folder."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, folder: RunFolder, _type: object) -> Path:
        return folder.path / self.name


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    config = _File("config.yaml")
    curve = _File("curve.csv")
    summary = _File("summary.json")
    responses = _File("responses.csv")
    gradients = _File("gradients.csv")
    evaluations = _File("evaluations.csv")
    origins = _File("measurements.json")  # what made the three before
    tensorboard = _File("tensorboard")  # not committed
    fresh_checkpoint = _File("checkpoint.new")  # whole, but not in its place yet
    checkpoint = _File("checkpoint")
    previous_checkpoint = _File("checkpoint.previous")
    owner = _File(".owner.json")
    lock = _File(".lock")

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
        names = list(CurveRow._fields)
        if all(row.validation_error is None for row in rows):
            names.remove("validation_error")
        write_atomically(
            self.curve, csv_text(names, [[exact(getattr(r, n)) for n in names] for r in rows])
        )

    def write_summary(self, summary: Summary, *, durable: bool = True) -> None:
        """Replace the summary; `durable=False` for the frequent ones that say how far it is.

        Of a training that has ended it gets the sums, for which the rest has to be written.
        """
        content = summary.model_dump(mode="json", exclude={"sums"})
        if summary.state in ("done", "failed"):
            sums = training_sums(self._text(self.curve), self._text(self.gradients))
            content["sums"] = sums | {self.summary.name: summary_sum(content)}
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
        write_atomically(self.summary, text, durable=durable)

    def write_responses(self, rows: Sequence[tuple[int, str, float]], origin: Origin) -> None:
        """Record (layer from 1, module name, standard deviation) of each measured layer."""
        lines = [(layer, module, repr(std)) for layer, module, std in rows]
        text = csv_text(("layer", "module", "std"), lines)
        self._write_measured("responses", ["responses"], text, origin)

    def write_gradients(self, rows: Sequence[GradientRow], origin: Origin | None = None) -> None:
        """Replace what was measured of signals and gradients by `rows`.

        `origin` is of what was measured after training; the rest is the training's own.
        """
        names = list(GradientRow._fields)
        if all(row.signal_norm is None for row in rows):
            names.remove("signal_norm")
        lines = [[six_digits(getattr(row, name)) for name in names] for row in rows]
        text = csv_text(names, lines)
        if origin:
            self._write_measured("gradients", ["gradients"], text, origin)
        else:
            self._forget(["gradients"])
            write_atomically(self.gradients, text)

    def write_evaluations(self, rows: Sequence[EvaluationRow], origin: Origin) -> None:
        """Record errors by kind of views; lines about other views stay.

        Raises:
            StoreError: it cannot be written, or what is there is torn.
        """
        there = read_file(self.evaluations, FILES["evaluations"][1]) or []
        kept = {row.views: row for row in [*there, *rows]}
        names = [f.name for f in fields(EvaluationRow)]
        ordered = [kept[views] for views in get_args(Views) if views in kept]
        lines = [[exact(getattr(row, name)) for name in names] for row in ordered]
        measured = [row.views for row in rows]
        self._write_measured("evaluations", measured, csv_text(names, lines), origin)

    def _write_measured(
        self, name: str, what: Sequence[Measured], text: str, origin: Origin
    ) -> None:
        """Write one of `FILES`, and put on record what made the measurements that are new in it.

        An earlier record goes first: a crash between leaves a number without an origin, and none
        with another's.

        Raises:
            StoreError: it cannot be written, or what is there is torn.
        """
        sums = dict(measured_sums(name, text))
        known = self._origins()
        gone = {views for views in get_args(Views) if name == "evaluations" and views not in sums}
        others = {n: made for n, made in known.items() if n not in gone and n not in what}
        if others != known:
            self._write_origins(others)
        write_atomically(self.path / FILES[name][0], text)
        values, measured = origin.model_dump(include=set(Origin.model_fields)), utc_now()
        made = {n: MeasurementOrigin(**values, measured=measured, sha256=sums[n]) for n in what}
        self._write_origins(others | made)

    def _origins(self) -> dict[Measured, MeasurementOrigin]:
        return read_file(self.origins, FILES["origins"][1]) or {}

    def _write_origins(self, origins: dict[Measured, MeasurementOrigin]) -> None:
        write_atomically(self.origins, ORIGINS.dump_json(origins, indent=2) + b"\n")

    def discard(self, name: str) -> None:
        """Remove one of `FILES` that cannot be used, and the record of what made it.

        Raises:
            StoreError: it cannot be removed.
        """
        self.remove(self.path / FILES[name][0])
        self._forget(get_args(Views) if name == "evaluations" else [name])

    def _forget(self, what: Sequence[str]) -> None:
        """Remove the record of what made some measurements."""
        with contextlib.suppress(StoreError):  # a torn record is discarded itself
            known = self._origins()
            others = {name: made for name, made in known.items() if name not in what}
            if others != known:
                self._write_origins(others)

    def _text(self, path: Path) -> str | None:
        """What was just written, or None where there is nothing.

        Raises:
            StoreError: it cannot be read.
        """
        return read_file(path, str)

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


def exact(value: Any) -> Any:
    """A float as the shortest text that reads back as the same one; anything else as it is."""
    return repr(value) if isinstance(value, float) else value


def six_digits(value: Any) -> Any:
    """A float with six significant digits; anything else as it is."""
    return f"{value:.6g}" if isinstance(value, float) else value
