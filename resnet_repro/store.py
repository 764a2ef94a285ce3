"""The results folder: the only module that knows its file names.

Every file is replaced atomically (written beside, flushed to disk, renamed), so that a reader and
a crash find either the old contents or the new.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from resnet_repro.errors import ConfigError, StoreError
from resnet_repro.spec import Run, parse_experiment
from resnet_repro.yaml_io import read_yaml

__all__ = ["CurveRow", "Provenance", "RunFolder", "State", "Store", "StoredRun", "Summary"]

FORMAT = 1  # of summary.json
HEARTBEAT_TIMEOUT = 120.0  # seconds after which a run on another host counts as abandoned

State = Literal["missing", "running", "stopped", "done", "failed"]


@dataclass(frozen=True)
class CurveRow:
    """One point of a training curve; errors in percent, `seconds` of training so far."""

    iteration: int
    epoch: float
    lr: float
    train_loss: float
    train_error: float
    test_error: float
    seconds: float
    validation_error: float | None = None  # a column only where images are held out


class Provenance(BaseModel):
    """Where a number comes from."""

    model_config = ConfigDict(frozen=True)

    code: str  # version, and commit where known
    dirty: bool | None  # whether the code differed from the commit; None if unknown
    command: str
    device: str
    hardware: str
    precision: str  # as resolved: fp32 or bf16
    threads: int
    versions: dict[str, str]
    dataset: dict[str, Any]  # identity: name, official, sha256, source, note
    normalisation: dict[str, Any]  # what was subtracted: kind, sha256, channel averages
    started: str  # UTC
    ended: str | None = None
    sessions: int = 1  # how many times training was started or resumed


class Summary(BaseModel):
    """The state and the outcome of one run; errors in percent."""

    model_config = ConfigDict(frozen=True)

    format: int = FORMAT
    id: str
    network: str
    dataset: str
    preset: str
    seed: int
    state: Literal["running", "stopped", "done", "failed"]
    iteration: int
    iterations: int
    parameters: int
    final_train_loss: float | None = None
    final_train_error: float | None = None
    final_test_error: float | None = None
    final_validation_error: float | None = None
    best_test_error: float | None = None
    best_test_iteration: int | None = None
    warmup_end: int | None = None
    failure: str | None = None
    seconds: float = 0.0
    images_per_second: float | None = None
    provenance: Provenance


def write_atomically(path: Path, content: bytes | str, *, durable: bool = True) -> None:
    """Replace a file by new contents or leave it alone.

    Raises:
        StoreError: disk full, no permission, and so on.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
        if durable:
            _flush_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error


def _flush_folder(folder: Path) -> None:
    """Make a rename survive power loss, where the file system knows how."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def csv_text(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows as CSV text; None is an empty field."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([["" if v is None else v for v in row] for row in rows])
    return out.getvalue()


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.curve = path / "curve.csv"
        self.summary = path / "summary.json"
        self.responses = path / "responses.csv"
        self.checkpoint = path / "checkpoint"
        self.previous_checkpoint = path / "checkpoint.previous"
        self.owner = path / ".owner.json"
        self.lock = path / ".lock"

    def write_config(self, run: Run) -> None:
        """Record the resolved configuration."""
        write_atomically(self.config, run.to_yaml())

    def write_curve(self, rows: Sequence[CurveRow]) -> None:
        """Replace the curve by `rows`."""
        names = [f.name for f in fields(CurveRow)]
        if all(row.validation_error is None for row in rows):
            names.remove("validation_error")
        write_atomically(
            self.curve, csv_text(names, [[_number(getattr(r, n)) for n in names] for r in rows])
        )

    def write_summary(self, summary: Summary, *, durable: bool = True) -> None:
        """Replace the summary; `durable=False` for the frequent ones that say how far it is."""
        text = json.dumps(summary.model_dump(mode="json"), indent=2, allow_nan=False) + "\n"
        write_atomically(self.summary, text, durable=durable)

    def write_responses(self, rows: Sequence[tuple[int, str, float]]) -> None:
        """Record (layer from 1, module name, standard deviation) of each measured layer."""
        header = ("layer", "module", "std")
        write_atomically(self.responses, csv_text(header, [(a, b, repr(c)) for a, b, c in rows]))

    def write_checkpoint(self, content: bytes) -> None:
        """Write a checkpoint durably; the last one stays as the previous one."""
        fresh = self.path / "checkpoint.new"
        write_atomically(fresh, content)
        try:
            if self.checkpoint.exists():
                self.checkpoint.replace(self.previous_checkpoint)
            fresh.replace(self.checkpoint)
            _flush_folder(self.path)
        except OSError as error:
            raise StoreError(f"cannot write {self.checkpoint}: {error.strerror}") from error

    def checkpoints(self) -> Iterator[tuple[str, bytes]]:
        """(file name, contents) of the checkpoints there are, newest first."""
        for path in (self.path / "checkpoint.new", self.checkpoint, self.previous_checkpoint):
            try:
                yield path.name, path.read_bytes()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StoreError(f"cannot read {path}: {error.strerror}") from error

    def claim(self) -> None:
        """Say that this process is at work here (the lock itself is the runner's)."""
        content = {"host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}
        write_atomically(self.owner, json.dumps(content), durable=False)

    def has_live_owner(self) -> bool:
        """Whether the process that said so last is still there, as far as can be told."""
        try:
            owner = json.loads(self.owner.read_text())
            if owner["host"] == socket.gethostname():
                os.kill(int(owner["pid"]), 0)
                return True
            return bool(time.time() - float(owner["time"]) < HEARTBEAT_TIMEOUT)
        except PermissionError:
            return True
        except (OSError, ValueError, KeyError, TypeError, OverflowError):
            return False

    def clear(self) -> None:
        """Remove everything that training wrote, for starting over."""
        for path in (
            self.path / "checkpoint.new",
            self.checkpoint,
            self.previous_checkpoint,
            self.summary,
            self.curve,
            self.responses,
        ):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise StoreError(f"cannot remove {path}: {error.strerror}") from error


def _number(value: Any) -> Any:
    return repr(value) if isinstance(value, float) else value


@dataclass(frozen=True)
class StoredRun:
    """What the results folder knows of one run. `problem` says why it cannot be used, if so."""

    id: str
    folder: RunFolder
    run: Run | None
    summary: Summary | None
    problem: str | None = None

    @property
    def state(self) -> State:
        """How far the run is; a run whose process died counts as stopped."""
        if self.summary is None:
            return "missing"
        if self.summary.state == "running" and not self.folder.has_live_owner():
            return "stopped"
        return self.summary.state

    @property
    def finished(self) -> bool:
        """Whether there is a final result that can be used."""
        return self.problem is None and self.state == "done"

    def curve(self) -> list[CurveRow]:
        """The training curve; empty where there is none yet.

        Raises:
            StoreError: the file is torn or not a curve.
        """
        return read_curve(self.folder.curve)

    def responses(self) -> list[tuple[int, str, float]]:
        """(layer, module, standard deviation) as `fig7` measured them; empty if it has not."""
        try:
            with self.folder.responses.open(newline="") as file:
                return [
                    (int(r["layer"]), r["module"], float(r["std"])) for r in csv.DictReader(file)
                ]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
            raise StoreError(f"{self.folder.responses}: unreadable ({error})") from error


def read_curve(path: Path) -> list[CurveRow]:
    """Read a `curve.csv`; see `StoredRun.curve`."""
    try:
        with path.open(newline="") as file:
            return [_curve_row(row) for row in csv.DictReader(file)]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise StoreError(f"{path}: torn or unreadable curve") from error


def _curve_row(row: dict[str, str]) -> CurveRow:
    held_out = row.get("validation_error")
    return CurveRow(
        iteration=int(row["iteration"]),
        **{
            name: float(row[name])
            for name in ("epoch", "lr", "train_loss", "train_error", "test_error", "seconds")
        },
        validation_error=float(held_out) if held_out else None,
    )


class Store:
    """A results folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs_folder = root / "runs"
        self.figures_folder = root / "figures"
        self.report_path = root / "report.md"

    def folder(self, run: Run) -> RunFolder:
        """The files of a run, whether they are there yet or not."""
        return RunFolder(self.runs_folder / run.id)

    def get(self, run: Run) -> StoredRun:
        """What is stored of `run`."""
        return self._read(self.runs_folder / run.id, run)

    def all_runs(self) -> list[StoredRun]:
        """Every run folder, by id, unreadable ones with their problem."""
        if not self.runs_folder.is_dir():
            return []
        try:
            paths = sorted(p for p in self.runs_folder.iterdir() if p.is_dir())
        except OSError as error:
            raise StoreError(f"cannot read {self.runs_folder}: {error.strerror}") from error
        return [self._read(path, None) for path in paths]

    def csv_path(self, name: str) -> Path:
        """The tidy file of an experiment."""
        return self.root / f"{name}.csv"

    def write_csv(self, name: str, text: str) -> Path:
        """Write an experiment's tidy file."""
        path = self.csv_path(name)
        write_atomically(path, text)
        return path

    def figure_path(self, name: str, suffix: str) -> Path:
        """Where a figure goes."""
        return self.figures_folder / f"{name}.{suffix}"

    def write_figure(self, name: str, suffix: str, content: bytes) -> Path:
        """Write a figure."""
        path = self.figure_path(name, suffix)
        write_atomically(path, content)
        return path

    def write_report(self, text: str) -> Path:
        """Write the report."""
        write_atomically(self.report_path, text)
        return self.report_path

    def check_writable(self) -> None:
        """Fail early if nothing could be stored.

        Raises:
            StoreError: the folder cannot be made or written.
        """
        probe = self.root / f".probe-{os.getpid()}"
        write_atomically(probe, b"", durable=False)
        with contextlib.suppress(OSError):
            probe.unlink()

    def _read(self, path: Path, expected: Run | None) -> StoredRun:
        folder = RunFolder(path)
        run, problem = expected, None
        if folder.config.exists():
            try:
                stored = parse_experiment(read_yaml(folder.config)).resolve()[0]
                if stored.id != path.name:
                    problem = f"config.yaml is of another run ({stored.id})"
                run = run or stored
            except ConfigError as error:
                problem = f"config.yaml: {str(error).removeprefix(str(folder.config))}"
        elif folder.summary.exists():
            problem = "config.yaml is missing"
        summary = None
        try:
            content = json.loads(folder.summary.read_text())
            if isinstance(content, dict) and content.get("format", 0) != FORMAT:
                problem = (
                    problem or f"summary.json has format {content.get('format')}, not {FORMAT}"
                )
            else:
                summary = Summary.model_validate(content)
                if summary.id != path.name:
                    problem = problem or f"summary.json is of another run ({summary.id})"
        except FileNotFoundError:
            pass
        except (OSError, ValueError, ValidationError, RecursionError) as error:
            kind = "invalid" if isinstance(error, ValidationError) else "unreadable"
            problem = problem or f"summary.json is {kind}"
        return StoredRun(path.name, folder, run, summary, problem)
