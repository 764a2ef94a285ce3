"""Reading the folder of one run, without trusting it.

`read_run` reports problems: files that are torn, lacking or another run's, or were changed.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from resnet_repro.base.errors import ConfigError, StoreError, plain
from resnet_repro.base.files import results_option
from resnet_repro.base.records import first_problem
from resnet_repro.spec.dataset_names import DATASETS
from resnet_repro.spec.loading import run_of
from resnet_repro.spec.measurements import MEASUREMENTS, SurfaceRow
from resnet_repro.spec.network_names import parse_network
from resnet_repro.spec.run import Run, ids_of
from resnet_repro.spec.yaml_io import parse_yaml
from resnet_repro.store.checksums import changed, sum_of
from resnet_repro.store.models import (
    FORMAT,
    CurveRow,
    DetectionPoint,
    MeasurementOrigin,
    State,
    Summary,
)
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.store.tables import (
    ORIGINS,
    TABLES,
    StoredTable,
    measurement_of,
    measurements_in,
    parse_table,
    read_file,
)

__all__ = ["StoredRun", "read_run", "trained_since"]

T = TypeVar("T")


@dataclass(frozen=True)
class StoredRun:
    """The contents of one run's folder. `problem` says why they cannot be used, if so.

    A problem is `repairable` if training on from a good checkpoint solves it: a file is torn,
    missing or changed, but is not another run's or a newer program's.
    """

    id: str
    folder: RunFolder
    run: Run | None
    summary: Summary | None
    problem: str | None = None
    repairable: bool = False
    remedy: str | None = None  # what a user can do about it, where `--force` would do harm
    # Names of tables that cannot be used; or `origins`, or a `summary` that somebody changed.
    damaged: Collection[str] = ()
    digests: Mapping[str, str] = field(default_factory=dict)  # SHA-256 of each measurement file
    # By name in `TABLES`, those that are there and whole.
    tables: Mapping[str, StoredTable] = field(default_factory=dict, repr=False, compare=False)
    # Of the measurements on the trained network, where they are recorded.
    origins: Mapping[str, MeasurementOrigin] = field(
        default_factory=dict, repr=False, compare=False
    )

    @property
    def state(self) -> State:
        """The run's state; a run whose process died counts as stopped."""
        if self.summary is None:
            return "missing"
        if self.summary.state == "running" and not self.folder.has_live_owner():
            return "stopped"
        return self.summary.state

    @property
    def last_session(self) -> str:
        """When its training was begun, in UTC, and in how many sessions; "" if nothing is there."""
        if self.summary is None:
            return ""
        return f"{self.summary.provenance.started} {self.summary.provenance.sessions}"

    @property
    def finished(self) -> bool:
        """Whether it has a usable final result."""
        return self.problem is None and self.state == "done"

    @property
    def given_up(self) -> str | None:
        """Why it is not trained unless `--force` says so: it failed, or cannot be repaired."""
        if self.problem and not self.repairable:
            return f"{self.id}: {self.problem}; {self.remedy or self.train_again}"
        if self.summary and self.summary.state == "failed":
            return f"{self.id} failed before; {self.train_again}"
        return None

    @property
    def settled(self) -> Literal["done", "failed"] | None:
        """Its outcome, if only `--force` trains it again."""
        return "failed" if self.given_up else "done" if self.finished else None

    @property
    def train_again(self) -> str:
        """What a user is told to train this run again, and no other."""
        config = self.folder.config
        if self.problem and self.problem.startswith(config.name):
            return f"to train it again, move its folder away: {self.folder.path}"
        root = config.parents[2]
        return f"train it again: {self.command_again(root)}{results_option(root)}"

    def command_again(self, root: Path) -> str:
        """The command that trains this run again, and no other, in its results folder `root`."""
        config = root / self.folder.config.relative_to(self.folder.config.parents[2])
        command = f"resnet-repro run {shlex.quote(str(config))} --force"
        kind, own_folder, _ = self.run.dataset.partition(":") if self.run else ("", "", "")
        if own_folder:
            command += f" --dataset {kind}:PATH"
        if self.folder.gradients.exists():  # most of which is measured while it trains
            command += " --set 'measure=[gradients]'"
        return command

    @property
    def holds_result(self) -> bool:
        """Whether starting over would destroy a finished training, even if it is damaged."""
        if self.summary is not None and self.summary.state == "done":
            return True
        curve = self.curve()
        if self.run is None or not curve:
            return False
        return curve[-1].iteration >= self.run.recipe.iterations

    # Each of these is empty if there is no such file, or if it is torn, which is a `problem`.

    def curve(self) -> list[CurveRow] | list[DetectionPoint]:
        """The training curve; of a detector, its losses."""
        return self.rows("curve")

    def rows(self, name: str) -> list[Any]:
        """The rows of one of `tables.TABLES`."""
        return self.tables[name].rows if name in self.tables else []

    def columns(self, name: str) -> Mapping[str, Sequence[Any]]:
        """The columns of one of `tables.TABLES` by name."""
        return self.tables[name].columns if name in self.tables else {}

    @property
    def training_images(self) -> int | None:
        """How many images it was trained on, where its data set always has as many."""
        known = DATASETS.get(self.run.dataset) if self.run else None
        if self.run is None or self.summary is None or not known or "cifar" not in known.families:
            return None
        if self.summary.provenance.dataset.get("source") == "image folder":
            return None
        return known.train_images - self.run.recipe.validation_images

    def has(self, measurement: str) -> bool:
        """Whether one of `MEASUREMENTS` is on record."""
        table = MEASUREMENTS[measurement].table
        return any(measurement_of(table, row) == measurement for row in self.rows(table))

    def discard_torn_measurements(self) -> None:
        """Remove unusable measurements on the trained network, so that they are made again.

        Raises:
            StoreError: one cannot be removed.
        """
        for name in self.damaged:
            if name not in ("curve", "summary"):  # training writes these again
                self.folder.discard(name)


def read_run(path: Path, expected: Run | None) -> StoredRun:
    """The contents of a run's folder, where `expected` should be, with its first problem."""
    folder, name = RunFolder(path), path.name if path.name.isprintable() else ascii(path.name)
    if path.is_symlink():
        remedy = "put the folder itself there: nothing is written through a link"
        return StoredRun(name, folder, expected, None, "its folder is a link", remedy=remedy)
    return _Reading(folder).read(name, expected)


def trained_since(runs: Iterable[StoredRun], moment: str) -> bool:
    """Whether the training of one of the runs ended after `moment` (UTC): it was repeated."""
    return any((run.summary.provenance.ended or "") > moment for run in runs if run.summary)


class _Reading:
    """Reads a run's folder, each file once, and collects what is wrong with it."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.problems: list[str] = []
        self.unrepairable: dict[str, str | None] = {}  # those of them that are, with their remedy
        self.damaged: dict[str, None] = {}

    def read(self, name: str, expected: Run | None) -> StoredRun:
        """Read and check everything."""
        run = self._run() or expected
        summary, in_summary = self._summary()
        family = parse_network(run.network).family if run else None
        texts: dict[str, str] = {}
        tables: dict[str, StoredTable] = {}
        for table, kind in TABLES.items():
            if run and family not in kind.families:
                if os.path.lexists(self.folder.path / kind.file):
                    self._found(f"{kind.file}: {run.network} is not measured so", table)
                continue
            found = self._file(kind.file, partial(_with_text, partial(parse_table, table)), table)
            if found is not None:
                texts[table], tables[table] = found
        origins = self._file(self.folder.origins.name, ORIGINS.validate_json, "origins") or {}
        if run:
            self._check_end(run, summary, tables["curve"].rows if "curve" in tables else [])
        for table, what in changed(summary, in_summary, texts, origins):
            self._found(what, table)
        if run:
            for table in {"surface", "curvature"} & tables.keys():
                kept = _without_initial_weights(tables[table], run)
                if len(kept.rows) < len(tables[table].rows):
                    texts[table] += "but for rows left out"  # a picture with them is out of date
                tables[table] = kept
        return StoredRun(
            id=name,
            folder=self.folder,
            run=run,
            summary=summary,
            problem=next(iter([*self.unrepairable, *self.problems]), None),
            repairable=bool(self.problems) and not self.unrepairable,
            remedy=next(iter(self.unrepairable.values()), None),
            damaged=tuple(self.damaged),
            digests={n: sum_of(text) for n, text in texts.items() if measurements_in(n)},
            tables=tables,
            origins=origins,
        )

    def _found(
        self, problem: str, table: str = "", repairable: bool = True, remedy: str | None = None
    ) -> None:
        """Note a problem, perhaps of one of `TABLES`, of `origins` or of the `summary`."""
        self.problems.append(problem)
        if not repairable:
            self.unrepairable.setdefault(problem, remedy)
        if table:
            self.damaged[table] = None

    def _check_end(self, run: Run, summary: Summary | None, curve: Sequence[Any]) -> None:
        """Check that a curve is of such a network and, of a finished run, ends as its summary."""
        if curve and isinstance(curve[0], DetectionPoint) is (run.recipe.detection is None):
            self._found(f"curve.csv: is not of such a network as {run.network}", "curve")
            return
        ends = curve[-1].iteration if curve else 0
        if ends >= run.recipe.iterations and not os.path.lexists(self.folder.summary):
            self._found("summary.json is missing")
        if summary is None or summary.state != "done":
            return
        if not curve:
            self._found("summary.json: is done, but curve.csv is missing or empty")
            return
        if ends != run.recipe.iterations:
            total = run.recipe.iterations
            self._found(f"summary.json: is done, but its curve ends at {ends:,} of {total:,}")
        for name in ("train_loss", "train_error", "test_error", "validation_error"):
            said, known = getattr(summary, f"final_{name}"), getattr(curve[-1], name, None)
            if said != known:
                self._found(f"summary.json: final_{name} is {said}, but curve.csv has {known}")

    def _file(self, file_name: str, parse: Callable[[str], T], table: str = "") -> T | None:
        try:
            return read_file(self.folder.path / file_name, parse)
        except StoreError as error:
            cause = error.__cause__
            if isinstance(cause, OSError):  # it may be whole, and must not be replaced
                what = f"{file_name} cannot be read: {cause.strerror}"
                remedy = "make it readable, or move its folder away to train it again: "
                self._found(what, table, repairable=False, remedy=f"{remedy}{self.folder.path}")
            else:
                self._found(f"{file_name} is torn or unreadable{_reason(cause)}", table)
            return None

    def _run(self) -> Run | None:
        """The run that `config.yaml` describes."""
        name = self.folder.config.name
        document = self._file(name, partial(parse_yaml, name=name))
        if document is None:
            if not self.problems and self.folder.summary.exists():
                self._found(f"{name} is missing")
            return None
        try:
            run = run_of(document)
        except ConfigError as error:
            reason = str(error).removeprefix(name).lstrip(":, ")
            self._found(f"{name}: {reason}", repairable=False)
            return None
        if self.folder.path.name not in ids_of(run.id):
            self._found(f"{name} is of another run ({run.id})", repairable=False)
            return None
        return run

    def _summary(self) -> tuple[Summary | None, Mapping[str, Any]]:
        """The contents of `summary.json`, validated, and as they stand in it."""
        # In a tuple, since null in the file is not the same as no file.
        found = self._file(self.folder.summary.name, lambda text: (json.loads(text),))
        if found is None:
            return None, {}
        (content,) = found
        written = content.get("format") if isinstance(content, dict) else None
        try:
            if isinstance(written, int) and written > FORMAT:
                what = "was written by a newer version of resnet-repro"
                self._found(what, repairable=False, remedy="update resnet-repro")
                return None, {}
            summary = Summary.model_validate(content)
        except ValidationError:
            self._found("summary.json is invalid")
            return None, {}
        if summary.id != self.folder.path.name:
            other = plain(summary.id, 100)
            self._found(f"summary.json is of another run ({other!r})", repairable=False)
            return None, {}
        return summary, content


def _reason(cause: BaseException | None) -> str:
    """In brackets, the first value of a table that is not what its column may have."""
    if isinstance(cause, ValidationError):
        match first_problem(cause):
            case (str(column), int(row)), what:
                return f" (line {row + 2}, {column}: {plain(what, 100)})"
    return ""


def _without_initial_weights(around: StoredTable, run: Run) -> StoredTable:
    """Points around trained weights, but for those along the run's initial weights.

    Until 30 November 2026 the directions of a run's own seed were drawn as its initial weights.
    """
    if None not in around.columns["stream"]:
        return around
    kept = [
        row
        for row in around.rows
        if row.stream or row.directions != run.seed or row.alpha == row.beta == 0
    ]
    if around.row is SurfaceRow and all(row.alpha == row.beta == 0 for row in kept):
        kept = []  # a centre alone is no surface
    columns = zip(*kept, strict=True) if kept else [()] * len(around.columns)
    return StoredTable(around.row, dict(zip(around.columns, columns, strict=True)))


def _with_text(parse: Callable[[str], T], text: str) -> tuple[str, T]:
    return text, parse(text)
