"""The results folder: the only module that knows its file names.

Every file is replaced atomically (written beside, flushed to disk, renamed), so that a reader and
a crash find either the old contents or the new. What is read back is checked as if it came from
anybody, because results get copied, edited and torn: a `StoredRun` says what is wrong with it.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import json
import math
import os
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from resnet_repro.errors import ConfigError, StoreError
from resnet_repro.spec import Run, parse_experiment
from resnet_repro.yaml_io import read_yaml

__all__ = [
    "CurveRow",
    "GradientRow",
    "Provenance",
    "RunFolder",
    "State",
    "Store",
    "StoredRun",
    "Summary",
    "csv_text",
]

FORMAT = 1  # of summary.json
HEARTBEAT_TIMEOUT = 120.0  # seconds after which a run on another host counts as abandoned
LONGEST_SILENCE = 3600.0  # the same for a living process here, which may be testing meanwhile
LARGEST_TEXT = 50_000_000  # bytes; a curve has a hundred per point

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


@dataclass(frozen=True)
class GradientRow:
    """One 3x3 layer at one moment of a training; see `analysis.gradients`."""

    iteration: int
    layer: int
    module: str
    forward_std: float
    gradient_norm: float
    weight_norm: float
    measured: str  # "training", or "afterwards" from the seed and the final weights


_CONFIG = ConfigDict(frozen=True, allow_inf_nan=False, hide_input_in_errors=True)
Count = Annotated[int, Field(ge=0, le=10**15)]
Percent = Annotated[float, Field(ge=0, le=100)]


class Provenance(BaseModel):
    """Where a number comes from."""

    model_config = _CONFIG

    code: str  # version, and commit where known
    dirty: bool | None  # whether the code differed from the commit; None if unknown
    command: str
    device: str
    hardware: str
    precision: str  # as resolved: fp32 or bf16
    threads: Count
    versions: dict[str, str]
    dataset: dict[str, Any]  # identity: name, official, sha256, source, note
    normalisation: dict[str, Any]  # what was subtracted: kind, sha256, channel averages
    started: str  # UTC
    ended: str | None = None
    sessions: Count = 1  # how many times training was started or resumed


class Summary(BaseModel):
    """The state and the outcome of one run; errors in percent."""

    model_config = _CONFIG

    format: int = FORMAT
    id: str
    network: str
    dataset: str
    preset: str
    seed: int
    state: Literal["running", "stopped", "done", "failed"]
    iteration: Count
    iterations: Count
    parameters: Count
    final_train_loss: float | None = None
    final_train_error: Percent | None = None
    final_test_error: Percent | None = None
    final_validation_error: Percent | None = None
    best_test_error: Percent | None = None
    best_test_iteration: Count | None = None
    warmup_end: Count | None = None
    failure: str | None = None
    seconds: Annotated[float, Field(ge=0, le=1e12)] = 0.0
    images_per_second: Annotated[float, Field(ge=0, le=1e12)] | None = None
    provenance: Provenance


def write_atomically(path: Path, content: bytes | str, *, durable: bool = True) -> None:
    """Replace a file by new contents or leave it alone.

    Raises:
        StoreError: disk full, no permission, and so on.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:  # x: never through a link that lies there
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
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> StoreError:
    text = f"cannot write {path}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        text += "; free some and run again, it continues from the last checkpoint"
    return StoreError(text)


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
        self.gradients = path / "gradients.csv"
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
            raise _unwritable(self.path, error) from error
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

    def write_gradients(self, rows: Sequence[GradientRow]) -> None:
        """Replace what was measured of signals and gradients by `rows`."""
        names = [f.name for f in fields(GradientRow)]
        lines = [[_six_digits(getattr(row, name)) for name in names] for row in rows]
        write_atomically(self.gradients, csv_text(names, lines))

    def write_checkpoint(self, content: bytes) -> None:
        """Write a checkpoint durably; the last one stays as the previous one."""
        write_atomically(self.fresh_checkpoint, content)
        try:
            if self.checkpoint.exists():
                self.checkpoint.replace(self.previous_checkpoint)
            self.fresh_checkpoint.replace(self.checkpoint)
        except OSError as error:
            raise _unwritable(self.checkpoint, error) from error
        _flush_folder(self.path)

    def checkpoints(self) -> list[Path]:
        """The checkpoints there are, newest first. A crash can leave any two of the three."""
        generations = (self.fresh_checkpoint, self.checkpoint, self.previous_checkpoint)
        return [path for path in generations if path.exists()]

    def set_aside(self, checkpoint: Path) -> None:
        """Rename a checkpoint that cannot be used, so that it does not push out a good one."""
        try:
            checkpoint.replace(checkpoint.with_name(f"{checkpoint.name}.damaged"))
        except OSError as error:
            raise _unwritable(checkpoint, error) from error

    def claim(self) -> None:
        """Say that this process is at work here (the lock itself is the runner's)."""
        content = {"host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}
        write_atomically(self.owner, json.dumps(content), durable=False)

    def has_live_owner(self) -> bool:
        """Whether the process that said so last is still there, as far as can be told."""
        try:
            owner = json.loads(_read_text(self.owner))
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
        ):
            self.remove(path)

    def remove(self, path: Path) -> None:
        """Remove one of the files if it is there."""
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"cannot remove {path}: {error.strerror}") from error


def _number(value: Any) -> Any:
    return repr(value) if isinstance(value, float) else value


def _six_digits(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value


@dataclass(frozen=True)
class StoredRun:
    """What the results folder knows of one run. `problem` says why it cannot be used, if so.

    A problem is `repairable` if a good checkpoint makes up for it: a file is torn or gone, rather
    than another run's or a newer program's.
    """

    id: str
    folder: RunFolder
    run: Run | None
    summary: Summary | None
    problem: str | None = None
    repairable: bool = False

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

    @property
    def holds_result(self) -> bool:
        """Whether starting over would destroy what is left of a finished training."""
        if self.summary is not None and self.summary.state == "done":
            return True
        try:
            rows = self.curve()
        except StoreError:
            return False
        if not rows or self.run is None:
            return False
        return rows[-1].iteration >= self.run.recipe.iterations

    def curve(self) -> list[CurveRow]:
        """The training curve; empty where there is none yet.

        Raises:
            StoreError: the file is torn or not a curve.
        """
        return read_curve(self.folder.curve)

    def responses(self) -> list[tuple[int, str, float]]:
        """(layer, module, standard deviation) as `fig7` measured them; empty if it has not."""
        try:
            text = _read_text(self.folder.responses)
            return [(int(r["layer"]), r["module"], _finite(r["std"])) for r in _csv_rows(text)]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
            raise StoreError(f"{self.folder.responses}: torn or unreadable") from error

    def gradients(self) -> list[GradientRow]:
        """Signals and gradients by iteration and layer; empty where they were not measured."""
        try:
            return [_gradient_row(row) for row in _csv_rows(_read_text(self.folder.gradients))]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
            raise StoreError(f"{self.folder.gradients}: torn or unreadable") from error


def read_curve(path: Path) -> list[CurveRow]:
    """Read a `curve.csv`; see `StoredRun.curve`."""
    try:
        rows = [_curve_row(row) for row in _csv_rows(_read_text(path))]
        if any(a.iteration >= b.iteration for a, b in pairwise(rows)):
            raise ValueError("iterations do not increase")
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise StoreError(f"{path}: torn or unreadable curve") from error
    return rows


def _read_text(path: Path) -> str:
    """The contents of a text file that somebody else may have put there.

    Raises:
        OSError: it cannot be read.
        ValueError: it is far too large, or not UTF-8.
    """
    with path.open("rb") as file:
        data = file.read(LARGEST_TEXT + 1)
    if len(data) > LARGEST_TEXT:
        raise ValueError(f"larger than {LARGEST_TEXT:,} bytes")
    return data.decode("utf-8")


def _csv_rows(text: str) -> Iterator[dict[str, str]]:
    """The lines of a CSV file of ours; the last one is cut off if it does not end."""
    if text and not text.endswith("\n"):
        raise ValueError("its last line is cut off")
    return csv.DictReader(io.StringIO(text, newline=""))


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("not a number")
    return number


def _curve_row(row: dict[str, str]) -> CurveRow:
    held_out = row.get("validation_error")
    return CurveRow(
        iteration=int(row["iteration"]),
        **{
            name: _finite(row[name])
            for name in ("epoch", "lr", "train_loss", "train_error", "test_error", "seconds")
        },
        validation_error=_finite(held_out) if held_out else None,
    )


def _gradient_row(row: dict[str, str]) -> GradientRow:
    """A line of `gradients.csv`; its norms may be infinite, which is a finding."""
    return GradientRow(
        iteration=int(row["iteration"]),
        layer=int(row["layer"]),
        module=row["module"],
        forward_std=float(row["forward_std"]),
        gradient_norm=float(row["gradient_norm"]),
        weight_norm=float(row["weight_norm"]),
        measured=row["measured"],
    )


class Store:
    """A results folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs_folder = root / "runs"
        self.figures_folder = root / "figures"

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
            paths = sorted(
                p for p in self.runs_folder.iterdir() if p.is_dir() and not p.name.startswith(".")
            )
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

    def report_file(self, form: Literal["md", "html"]) -> Path:
        """Where the report goes."""
        return self.root / f"report.{form}"

    def read_report(self, form: Literal["md", "html"]) -> str | None:
        """The stored report, or None where there is none.

        Raises:
            StoreError: it cannot be read.
        """
        path = self.report_file(form)
        try:
            return path.read_bytes().decode("utf-8", "replace")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error

    def write_report(self, text: str, form: Literal["md", "html"] = "md") -> Path:
        """Write the report."""
        path = self.report_file(form)
        write_atomically(path, text)
        return path

    def read_figure(self, path: str) -> bytes | None:
        """A figure by its path in the report, `figures/fig1.png`; None where there is none."""
        try:
            return (self.figures_folder / Path(path).name).read_bytes()
        except OSError:
            return None

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
        problems: list[_Problem] = []
        run, summary = expected, None
        try:
            run = _stored_run(folder) or expected
        except _Problem as problem:
            problems.append(problem)
        try:
            summary = _stored_summary(folder)
            if not problems:
                _check_measurements(folder, summary)
        except _Problem as problem:
            problems.append(problem)
        name = path.name if path.name.isprintable() else ascii(path.name)
        if not problems:
            return StoredRun(name, folder, run, summary)
        repairable = all(problem.repairable for problem in problems)
        return StoredRun(name, folder, run, summary, str(problems[0]), repairable)


class _Problem(Exception):  # noqa: N818
    """What is wrong with a stored run, and whether a good checkpoint makes up for it."""

    def __init__(self, text: str, repairable: bool = False) -> None:
        super().__init__(text)
        self.repairable = repairable


def _stored_run(folder: RunFolder) -> Run | None:
    """The run that `config.yaml` describes, or None in a folder that holds nothing yet."""
    if folder.path.is_symlink():
        raise _Problem("its folder is a link")
    try:
        if not folder.config.exists():
            if folder.summary.exists():
                raise _Problem("config.yaml is missing", repairable=True)
            return None
        document = read_yaml(folder.config)
    except OSError as error:
        raise _Problem(f"cannot be read: {error.strerror}") from error
    except ConfigError as error:
        raise _Problem("config.yaml is torn or unreadable", repairable=True) from error
    try:
        runs = parse_experiment(document).resolve()
    except ConfigError as error:
        reason = str(error).removeprefix(str(folder.config)).lstrip(":, ")
        raise _Problem(f"config.yaml: {reason}") from error
    if len(runs) != 1:
        raise _Problem("config.yaml does not describe one run")
    if runs[0].id != folder.path.name:
        raise _Problem(f"config.yaml is of another run ({runs[0].id})")
    return runs[0]


def _stored_summary(folder: RunFolder) -> Summary | None:
    """What `summary.json` says, or None where there is none."""
    try:
        content = json.loads(_read_text(folder.summary))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise _Problem("summary.json is torn or unreadable", repairable=True) from error
    written = content.get("format") if isinstance(content, dict) else None
    if isinstance(written, int) and written > FORMAT:
        raise _Problem("was written by a newer version of resnet-repro")
    try:
        summary = Summary.model_validate(content)
    except ValidationError as error:
        raise _Problem("summary.json is invalid", repairable=True) from error
    if summary.id != folder.path.name:
        raise _Problem(f"summary.json is of another run ({summary.id[:100]!r})")
    return summary


def _check_measurements(folder: RunFolder, summary: Summary | None) -> None:
    """Check that what was measured can be read and belongs to what the summary says."""
    stored = StoredRun(folder.path.name, folder, None, summary)
    try:
        rows = stored.curve()
    except StoreError as error:
        raise _Problem("curve.csv is torn or unreadable", repairable=True) from error
    try:
        stored.responses()
    except StoreError as error:
        raise _Problem("responses.csv is torn or unreadable", repairable=True) from error
    try:
        stored.gradients()
    except StoreError as error:
        raise _Problem("gradients.csv is torn or unreadable", repairable=True) from error
    if summary is None or summary.state != "done":
        return
    if not rows:
        raise _Problem("curve.csv is missing or empty", repairable=True)
    if not rows[-1].iteration == summary.iteration == summary.iterations:
        text = f"is done, but its curve ends at {rows[-1].iteration:,} of {summary.iterations:,}"
        raise _Problem(text, repairable=True)
