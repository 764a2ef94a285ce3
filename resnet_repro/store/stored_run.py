"""Reading the folder of one run, without trusting it.

`read_run` reports problems: torn files, files that contradict each other, files that were changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from resnet_repro.base.errors import ConfigError, StoreError, plain
from resnet_repro.base.files import read_text
from resnet_repro.networks.architecture import architecture
from resnet_repro.spec.loading import parse_run
from resnet_repro.spec.measurements import MEASUREMENTS, EvaluationRow, GradientRow, ResponseRow
from resnet_repro.spec.run import Run
from resnet_repro.spec.yaml_io import parse_yaml
from resnet_repro.store.consistency import contradictions
from resnet_repro.store.measurements import (
    FILES,
    TABLES,
    Table,
    has_layers_lines,
    measurement_of,
    measurements_in,
    parsed,
    read_file,
)
from resnet_repro.store.models import FORMAT, CurveRow, MeasurementOrigin, State, Summary
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.store.sums import measured_sums, sum_of, summary_sum, training_sums

__all__ = ["StoredRun", "read_run", "without_copies"]

CHANGED = "has been changed since it was written"
MEASURED = tuple(name for name in TABLES if name != "curve")
T = TypeVar("T")


@dataclass(frozen=True)
class StoredRun:
    """The contents of one run's folder. `problem` says why they cannot be used, if so.

    A problem is `repairable` if training on from a good checkpoint solves it: a file is torn,
    missing or contradicts others, but is not another run's or a newer program's.
    """

    id: str
    folder: RunFolder
    run: Run | None
    summary: Summary | None
    problem: str | None = None
    repairable: bool = False
    damaged: Collection[str] = ()  # the names in `measurements.FILES` that cannot be used
    digests: Mapping[str, str] = field(default_factory=dict)  # SHA-256 of each measurement file
    # By name in `measurements.FILES`, what was read so far: contents, or the error.
    contents: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def state(self) -> State:
        """The run's state; a run whose process died counts as stopped."""
        if self.summary is None:
            return "missing"
        if self.summary.state == "running" and not self.folder.has_live_owner():
            return "stopped"
        return self.summary.state

    @property
    def finished(self) -> bool:
        """Whether it has a usable final result."""
        return self.problem is None and self.state == "done"

    @property
    def holds_result(self) -> bool:
        """Whether starting over would destroy a finished training, even if it is damaged."""
        if self.summary is not None and self.summary.state == "done":
            return True
        try:
            rows = self.curve()
        except StoreError:
            return False
        if not rows or self.run is None:
            return False
        return rows[-1].iteration >= self.run.recipe.iterations

    # Each of these is empty if there is no such file, and raises StoreError if the file is torn or
    # invalid. Each file is read once.

    def curve(self) -> list[CurveRow]:
        """The training curve."""
        return self.rows("curve")

    def responses(self) -> list[ResponseRow]:
        """Standard deviations of layer responses (Fig. 7)."""
        return self.rows("responses")

    def gradients(self) -> list[GradientRow]:
        """Signals and gradients by iteration and layer."""
        return self.rows("gradients")

    def evaluations(self) -> list[EvaluationRow]:
        """Errors on the val part, by kind of views (centre, 10-crop, multi-scale)."""
        return self.rows("evaluations")

    def rows(self, name: str) -> list[Any]:
        """The rows of one of `measurements.TABLES`."""
        table: Table | None = self._read(name)
        return table.rows if table else []

    def columns(self, name: str) -> Mapping[str, Sequence[Any]]:
        """The columns of one of `measurements.TABLES` by name; none if there is no such file."""
        table: Table | None = self._read(name)
        return table.columns if table else {}

    def has(self, measurement: str) -> bool:
        """Whether one of `MEASUREMENTS` is on record."""
        kind = MEASUREMENTS[measurement]
        if len(measurements_in(kind.table)) > 1:
            return any(
                measurement_of(kind.table, row) == measurement for row in self.rows(kind.table)
            )
        return (self.folder.path / kind.file).exists()

    def origins(self) -> dict[str, MeasurementOrigin]:
        """The recorded origins of the measurements on the trained network."""
        return self._read("origins") or {}

    def _read(self, name: str) -> Any:
        if name not in self.contents:
            file_name, parse = FILES[name]
            try:
                self.contents[name] = read_file(self.folder.path / file_name, parse)
            except StoreError as error:
                self.contents[name] = error
        found = self.contents[name]
        if isinstance(found, StoreError):
            raise found
        return found

    def discard_torn_measurements(self) -> None:
        """Remove unusable measurements on the trained network, so that they are made again.

        Raises:
            StoreError: one cannot be removed.
        """
        for name in self.damaged:
            if name != "curve":  # training writes that one again
                self.folder.discard(name)


def read_run(path: Path, expected: Run | None, *, outline: bool = False) -> StoredRun:
    """The contents of a run's folder, with its first problem.

    Args:
        path: the folder.
        expected: the run that should be there.
        outline: do not parse `gradients.csv`, which may have many thousand lines.
    """
    return _Reading(RunFolder(path), outline).read(expected)


def without_copies(runs: Sequence[StoredRun]) -> list[StoredRun]:
    """The runs; measurements that are the same for two networks become problems of both runs."""
    first: dict[tuple[str, str], StoredRun] = {}
    copies: dict[str, str] = {}
    for stored in runs:
        for name, digest in stored.digests.items():
            if stored.problem or stored.run is None:
                continue
            other = first.setdefault((name, digest), stored)
            if other.run is not None and other.run.network != stored.run.network:
                copies[stored.id] = f"{FILES[name][0]} is the same as that of {other.id}"
                copies[other.id] = f"{FILES[name][0]} is the same as that of {stored.id}"
    return [
        replace(r, problem=copies[r.id], repairable=True) if r.id in copies else r for r in runs
    ]


class _Problem(Exception):  # noqa: N818
    """What is wrong with a stored run, and whether training on from a checkpoint solves it."""

    def __init__(self, text: str, repairable: bool = False) -> None:
        super().__init__(text)
        self.repairable = repairable


class _Reading:
    """Reads a run's folder once: each file once, the summary first."""

    def __init__(self, folder: RunFolder, outline: bool) -> None:
        self.folder, self.outline = folder, outline
        self.problems: list[_Problem] = []
        self.damaged: dict[str, None] = {}
        self.contents: dict[str, Any] = {}
        self.texts: dict[str, str] = {}

    def read(self, expected: Run | None) -> StoredRun:
        """Read and check everything."""
        names = self._tried(lambda: _names(self.folder)) or set()
        run = self._tried(lambda: _stored_run(self.folder, names)) or expected
        content = self._tried(lambda: _summary_content(self.folder, names))
        summary = self._tried(lambda: _summary(content, self.folder))
        for name in FILES:
            self._read_file(name, names)
        if run is not None:
            self._check_agreement(run, summary)
        # Sums come last, since contradictions are more precise.
        if summary is not None and summary.sums:
            self._check_training_sums(summary.sums, content)
        self._check_measured_sums()
        path, first = self.folder.path, self.problems[0] if self.problems else None
        return StoredRun(
            id=path.name if path.name.isprintable() else ascii(path.name),
            folder=self.folder,
            run=run,
            summary=summary,
            problem=str(first) if first else None,
            repairable=bool(first) and all(problem.repairable for problem in self.problems),
            damaged=tuple(self.damaged),
            digests={n: sum_of(text) for n, text in self.texts.items() if n in MEASURED},
            contents=self.contents,
        )

    def _tried(self, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except _Problem as problem:
            self.problems.append(problem)
            return None

    def _found(self, text: str, name: str = "") -> None:
        """Note a repairable problem, perhaps of one of `FILES`."""
        self.problems.append(_Problem(text, repairable=True))
        if name in FILES:
            self.damaged[name] = None

    def _read_file(self, name: str, names: set[str]) -> None:
        file_name, parse = FILES[name]
        path, self.contents[name] = self.folder.path / file_name, None
        if file_name not in names:
            return
        try:
            text = read_file(path, str)
            if text is None:
                return
            self.texts[name] = text
            if self.outline and name == "gradients":
                del self.contents[name]  # read on demand
            else:
                self.contents[name] = parsed(path, text, parse)
        except StoreError as error:
            self.contents[name] = error
            self._found(f"{file_name} is torn or unreadable", name)

    def _check_agreement(self, run: Run, summary: Summary | None) -> None:
        for name, text in contradictions(run, summary, self.contents):
            self._found(text, name)
        layers = len(architecture(run.network).observed)
        there = self.texts.get("gradients") if self.outline else None
        if there is not None and not has_layers_lines("gradients", there, layers):
            what = f"is torn, or not of the {layers} layers of {run.network}"
            self._found(f"gradients.csv {what}", "gradients")

    def _check_training_sums(self, sums: Mapping[str, str], content: Any) -> None:
        if sums.get(self.folder.summary.name) != summary_sum(content):
            self._found(f"summary.json {CHANGED}")
        found = training_sums(self.texts.get("curve"), self.texts.get("gradients"))
        for name in ("curve", "gradients"):
            file_name = FILES[name][0]
            if name in self.texts and sums.get(file_name) not in (None, found.get(file_name)):
                self._found(f"{file_name} {CHANGED}", name)

    def _check_measured_sums(self) -> None:
        origins = self.contents["origins"]
        if not origins or isinstance(origins, StoreError):
            return
        for name in (name for name in MEASURED if name in self.texts):
            for what, digest in measured_sums(name, self.texts[name]):
                made = origins.get(what)
                if made and made.sha256 not in (None, digest):
                    self._found(f"{FILES[name][0]} {CHANGED}", name)


def _names(folder: RunFolder) -> set[str]:
    """The names in a run's folder; none if it does not exist."""
    if folder.path.is_symlink():
        raise _Problem("its folder is a link")
    try:
        return set(os.listdir(folder.path))  # noqa: PTH208, names are all that is needed
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as error:
        raise _Problem(f"cannot be read: {error.strerror}") from error


def _stored_run(folder: RunFolder, names: set[str]) -> Run | None:
    """The run that `config.yaml` describes; None in an empty folder."""
    name = folder.config.name
    if name not in names:
        if folder.summary.name in names:
            raise _Problem("config.yaml is missing", repairable=True)
        return None
    try:
        text = read_text(folder.config)
    except OSError as error:
        raise _Problem(f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise _Problem("config.yaml is torn or unreadable", repairable=True) from error
    try:
        run = parse_run(text, name)
    except ConfigError as error:
        try:
            parse_yaml(text, name)
        except ConfigError:
            raise _Problem("config.yaml is torn or unreadable", repairable=True) from error
        reason = str(error).removeprefix(name).lstrip(":, ")
        raise _Problem(f"config.yaml: {reason}") from error
    if run.id != folder.path.name:
        raise _Problem(f"config.yaml is of another run ({run.id})")
    return run


def _summary_content(folder: RunFolder, names: set[str]) -> Any:
    if folder.summary.name not in names:
        return None
    try:
        return json.loads(read_text(folder.summary))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise _Problem("summary.json is torn or unreadable", repairable=True) from error


def _summary(content: Any, folder: RunFolder) -> Summary | None:
    """The validated contents of `summary.json`; None if there is none."""
    if content is None:
        return None
    written = content.get("format") if isinstance(content, dict) else None
    if isinstance(written, int) and written > FORMAT:
        raise _Problem("was written by a newer version of resnet-repro")
    try:
        summary = Summary.model_validate(content)
    except ValidationError as error:
        raise _Problem("summary.json is invalid", repairable=True) from error
    if summary.id != folder.path.name:
        raise _Problem(f"summary.json is of another run ({plain(summary.id, 100)!r})")
    return summary
