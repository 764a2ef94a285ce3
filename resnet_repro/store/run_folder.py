"""The files of one run: their names, and writing them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from resnet_repro.base.errors import StoreError
from resnet_repro.base.files import flush_folder, locked, read_text, writable, write_atomically
from resnet_repro.base.provenance import utc_now
from resnet_repro.spec.run import Run
from resnet_repro.store.checksums import measured_sums, summary_sum, training_sums
from resnet_repro.store.models import CurveRow, MeasurementOrigin, Origin, Summary
from resnet_repro.store.tables import (
    ORIGINS,
    TABLES,
    measurement_of,
    measurements_in,
    parse_table,
    read_file,
    table_text,
)

__all__ = ["RunFolder", "refuse_link"]

HEARTBEAT_TIMEOUT = 120.0  # seconds without news after which a run on another host is abandoned
LONGEST_SILENCE = 3600.0  # the same on this host, whose process may be in a long test


class RunFolder:
    """The files of one run.

    Its methods raise StoreError where something cannot be written or removed, or where a file is
    torn of which a part should stay.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.curve = path / "curve.csv"
        self.summary = path / "summary.json"
        self.gradients = path / "gradients.csv"
        self.evaluations = path / "evaluations.csv"
        self.origins = path / "measurements.json"  # of the measurements
        self.tensorboard = path / "tensorboard"  # not committed
        self.photographs = path / "photographs.npz"  # to draw detections on; not committed
        self.fresh_checkpoint = path / "checkpoint.new"  # complete, but not yet renamed
        self.checkpoint = path / "checkpoint"
        self.previous_checkpoint = path / "checkpoint.previous"
        self.owner = path / ".owner.json"
        self.lock = path / ".lock"

    def make(self) -> None:
        """Make the folder.

        Raises:
            StoreError: it cannot be made, or is a link, which may lead out of the store.
        """
        with writable(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        refuse_link(self.path)

    def locked(self) -> AbstractContextManager[bool]:
        """Hold the run's lock while the block works on it; gives False if another process does.

        Raises:
            StoreError: it cannot be locked.
        """
        return locked(self.lock, patience=0, needed=True)

    def sweep(self) -> None:
        """Remove half-written files of killed processes; only for the owner of the lock."""
        with contextlib.suppress(OSError):
            for part in self.path.glob(".*.part"):
                part.unlink(missing_ok=True)

    def write_config(self, run: Run) -> None:
        """Write `config.yaml`, the resolved configuration."""
        write_atomically(self.config, run.to_yaml())

    def write_curve(self, rows: Sequence[Any], row: type = CurveRow) -> None:
        """Write `curve.csv`; `row` is the kind of its rows, of a detector `DetectionPoint`."""
        write_atomically(self.curve, table_text("curve", rows, row))

    def write_summary(self, summary: Summary, *, durable: bool = True) -> None:
        """Write `summary.json`; `durable=False` for the frequent ones that report progress.

        At the end of a training it gets the sums of the other files, which are written before.
        """
        content = summary.model_dump(mode="json", exclude={"sums"})
        if summary.state in ("done", "failed"):
            sums = training_sums(read_file(self.curve, str), read_file(self.gradients, str))
            content["sums"] = sums | {self.summary.name: summary_sum(content)}
        text = json.dumps(content, indent=2, allow_nan=False) + "\n"
        write_atomically(self.summary, text, durable=durable)

    def write_measured(
        self,
        name: str,
        rows: Sequence[Any],
        origin: Origin | None = None,
        earlier: Sequence[Origin] = (),
    ) -> None:
        """Write measured rows into one of `TABLES`, and their origin into `measurements.json`.

        In a table that several measurements share, the rows of the others stay. Without an
        `origin`, the training itself has measured them; `earlier` ones made parts of them. The
        origin of what was there is removed first: a crash may leave a number without an origin,
        which is measured again, but never with the wrong one.
        """
        path, kinds = self.path / TABLES[name].file, measurements_in(name)
        new = list(dict.fromkeys(measurement_of(name, row) for row in rows))
        if len(kinds) > 1:
            there = read_file(path, partial(parse_table, name))
            kept = {measurement_of(name, r): r for r in [*(there.rows if there else ()), *rows]}
            rows = [kept[kind] for kind in kinds if kind in kept]
        text = table_text(name, rows)
        if origin is None:
            self._forget(kinds)
            write_atomically(path, text)
            return
        sums, known = dict(measured_sums(name, text)), self._origins()
        gone = {kind for kind in kinds if kind in new or kind not in sums}
        others = {kind: made for kind, made in known.items() if kind not in gone}
        if others != known:
            self._write_origins(others)
        write_atomically(path, text)
        made = origin.model_dump(include=set(Origin.model_fields)) | {"measured": utc_now()}
        mine = {
            kind: MeasurementOrigin(**made, earlier=tuple(earlier), sha256=sums[kind])
            for kind in new
        }
        self._write_origins(others | mine)

    def _origins(self) -> dict[str, MeasurementOrigin]:
        return read_file(self.origins, ORIGINS.validate_json) or {}

    def _write_origins(self, origins: dict[str, MeasurementOrigin]) -> None:
        write_atomically(self.origins, ORIGINS.dump_json(origins, indent=2) + b"\n")

    def discard(self, name: str) -> None:
        """Remove one of `TABLES` and the record of its origin, or `origins`: it cannot be used."""
        self.remove(self.origins if name == "origins" else self.path / TABLES[name].file)
        self._forget(measurements_in(name))

    def _forget(self, what: Sequence[str]) -> None:
        """Remove the record of the origin of some measurements."""
        with contextlib.suppress(StoreError):  # a torn record is discarded itself
            known = self._origins()
            others = {name: made for name, made in known.items() if name not in what}
            if others != known:
                self._write_origins(others)

    def scores(self, views: str) -> Path:
        """The file with the scores of every image, for ensembles: float16 [N, classes]."""
        return self.path / f"scores-{views}.npz"

    def unfinished_arrays(self, name: str) -> Path:
        """The folder for arrays of an unfinished measurement of one of `TABLES`; not committed."""
        return self.path / f".{name}.arrays"

    def discard_unfinished(self, name: str) -> None:
        """Remove what is left of an unfinished measurement of one of `TABLES`."""
        for path in self.path.glob(f".{name}.*"):  # earlier versions had other suffixes
            self.remove(path)

    def write_checkpoint(self, content: bytes) -> None:
        """Write a checkpoint durably; keep the one before it."""
        write_atomically(self.fresh_checkpoint, content)
        with writable(self.checkpoint):
            if self.checkpoint.exists():
                self.checkpoint.replace(self.previous_checkpoint)
            self.fresh_checkpoint.replace(self.checkpoint)
        flush_folder(self.path)

    def checkpoints(self) -> list[Path]:
        """The existing checkpoints, newest first. A crash can leave all three."""
        generations = (self.fresh_checkpoint, self.checkpoint, self.previous_checkpoint)
        return [path for path in generations if path.exists()]

    def set_aside(self, checkpoint: Path) -> None:
        """Rename a damaged checkpoint, so that it does not replace a good one."""
        with writable(checkpoint):
            checkpoint.replace(checkpoint.with_name(f"{checkpoint.name}.damaged"))

    def claim(self) -> None:
        """Record that this process works on the run (the runner holds the lock itself)."""
        content = {"host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}
        write_atomically(self.owner, json.dumps(content), durable=False)

    def has_live_owner(self) -> bool:
        """Whether the process that claimed the run last still seems to be there."""
        try:
            owner = json.loads(read_text(self.owner))
            silence = time.time() - float(owner["time"])
            if owner["host"] != socket.gethostname():
                return silence < HEARTBEAT_TIMEOUT
            with contextlib.suppress(PermissionError):  # it is there, and another user's
                os.kill(int(owner["pid"]), 0)
            return silence < LONGEST_SILENCE  # otherwise another process has got its id
        except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return False

    def clear(self) -> None:
        """Remove everything that training wrote, to start over."""
        # The summary goes after the checkpoints: without it, those left would be resumed.
        for path in (
            *self.path.glob("checkpoint*"),
            self.summary,
            self.curve,
            self.tensorboard,
        ):
            self.remove(path)
        self.clear_measurements()

    def clear_measurements(self) -> None:
        """Remove everything that was measured on the network, or while it was trained."""
        measured = (self.path / table.file for name, table in TABLES.items() if name != "curve")
        for path in (*measured, self.origins, *self.path.glob("scores-*.npz"), self.photographs):
            self.remove(path)
        for name in TABLES:
            self.discard_unfinished(name)

    def remove(self, path: Path) -> None:
        """Remove a file or folder in here if it is there; of a link, the link itself."""
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"cannot remove {path}: {error.strerror}") from error


def refuse_link(folder: Path) -> None:
    """Raise StoreError for a folder of the store that is a link, which may lead out of it."""
    if folder.is_symlink():
        raise StoreError(f"{folder} is a link; nothing is written through it")
