"""The runs of a results folder by network and group: the cells of tables and figures."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from resnet_repro.report.experiment_groups import at_group
from resnet_repro.report.groups import BegunRun, Group, group_of
from resnet_repro.spec.experiment import Experiment

if TYPE_CHECKING:  # it takes a third of a second, and some tables and drawings need no results
    import pandas as pd

__all__ = [
    "CELL_STATES",
    "BySeed",
    "Cell",
    "Sample",
    "cells_in",
    "groups_in",
    "in_other_precision",
    "is_coarse",
    "main_group",
    "same_seed",
]

CELL_STATES = ("done", "failed", "unfinished")  # of runs; those done have finite errors
FARTHER = 1.5  # times the interval between the points of a preset's curve
BySeed = dict[tuple[str, Group, int], list[BegunRun]]  # by network, group and seed


@dataclass(frozen=True)
class Sample:
    """One quantity over the seeds of a cell; errors in percent."""

    values: tuple[float, ...]

    @property
    def count(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float | None:
        return statistics.fmean(self.values) if self.values else None

    @property
    def std(self) -> float | None:
        """The standard deviation of the sample (n - 1); None for fewer than two seeds."""
        return statistics.stdev(self.values) if self.count > 1 else None

    def __str__(self) -> str:
        """`8.61 ± 0.10`; empty without values."""
        if self.mean is None:
            return ""
        return f"{self.mean:.2f}" if self.std is None else f"{self.mean:.2f} ± {self.std:.2f}"


@dataclass(frozen=True)
class Cell:
    """The runs of one network in one group, by seed."""

    network: str
    group: Group
    done: tuple[BegunRun, ...] = ()
    failed: tuple[BegunRun, ...] = ()
    unfinished: tuple[BegunRun, ...] = ()
    unmeasured: tuple[BegunRun, ...] = ()  # finished; what is to be shown was not measured on them
    elsewhere: Cell | None = None  # of a cell without runs: the network's in another precision

    @property
    def every(self) -> tuple[BegunRun, ...]:
        """All runs, those with a result first."""
        return (*self.done, *self.unmeasured, *self.failed, *self.unfinished)

    def over_seeds(self, values: pd.Series[float]) -> Sample:
        """A quantity of the finished runs, given by run id; missing values and NaN are left out."""
        found = (values.get(run.id) for run in self.done)
        return Sample(tuple(float(v) for v in found if v is not None and math.isfinite(v)))


def cells_in(by_seed: BySeed) -> list[Cell]:
    """A cell for each network and group that has runs, by group."""
    members: dict[tuple[str, Group], dict[str, list[BegunRun]]] = {}
    for (network, group, _), (run, *_) in sorted(by_seed.items(), key=lambda i: i[0][2]):
        own = members.setdefault((network, group), {name: [] for name in CELL_STATES})
        own[_state(run)].append(run)
    copies: dict[str, set[str]] = {}  # of the data, by caption
    for _, group in members:
        copies.setdefault(group.caption, set()).add(group.sha256)
    cells = []
    for (network, group), own in members.items():
        done, failed, unfinished = (tuple(own[state]) for state in CELL_STATES)
        if len(copies[group.caption]) > 1:
            group = replace(group, copy=group.sha256[:8])
        cells.append(Cell(network, group, done, failed, unfinished))
    return sorted(cells, key=lambda cell: cell.group.order)


def same_seed(runs: Iterable[BegunRun]) -> BySeed:
    """Network, group and seed -> the runs of all that; the first of them counts.

    They differ in how often they were tested or in whether their batches passed in parts (detectors
    also in the seed of what they started from), so two of them are not two seeds. Those that have
    ended go before others, then those that were tested as often as their preset says, or more.
    """
    found: BySeed = {}
    for run in runs:
        found.setdefault((run.run.network, group_of(run), run.run.seed), []).append(run)

    def rank(run: BegunRun) -> tuple[bool, bool, int, str]:
        every = run.run.recipe.evaluate_every
        return _state(run) == "unfinished", is_coarse(run), -every, run.id

    return {place: sorted(repeated, key=rank) for place, repeated in found.items()}


def is_coarse(run: BegunRun) -> bool:
    """Whether a run's curve has its points much further apart than its preset's.

    By more than half: a `paper` recipe cut to 16,000 iterations has 500, where `quarter` has 400.
    A point's training error is the mean over all batches since the point before it: of such a run
    it is no final one, and what is said of a whole training may lie between its points.
    """
    return run.run.recipe.evaluate_every > FARTHER * group_of(run).interval


def _state(run: BegunRun) -> str:
    """One of `CELL_STATES`; a finished run that diverged may have errors that are not finite."""
    state, summary = run.state, run.summary
    if state not in ("done", "failed"):
        return "unfinished"
    errors = [summary.final_test_error, summary.final_train_error]
    if run.run.recipe.detection:
        errors = [summary.final_train_loss]
    known = all(error is not None and math.isfinite(error) for error in errors)
    return "done" if state == "done" and known else "failed"


def groups_in(cells: Iterable[Cell]) -> list[Group]:
    """The groups of the cells, the most faithful first."""
    return sorted({cell.group for cell in cells}, key=lambda group: group.order)


def in_other_precision(cells: Iterable[Cell], group: Group) -> list[Cell]:
    """A cell without runs for each network that the group lacks, but has in another precision."""
    cells = tuple(cells)
    here = {cell.network for cell in cells if cell.group == group and cell.every}
    found = []
    for cell in cells:
        same = replace(cell.group, precision=group.precision) == group
        if same and cell.network not in here and (cell.done or cell.unmeasured):
            found.append(Cell(cell.network, group, elsewhere=cell))
    return found


def main_group(cells: Sequence[Cell], experiment: Experiment) -> Group | None:
    """The most faithful group with results for more than half as many networks as the fullest.

    Where the experiment changes a preset's recipe itself, groups that do so go before others. None
    without results.
    """
    counts = Counter(cell.group for cell in cells if cell.done)
    own = {g: n for g, n in counts.items() if g.changes and at_group(experiment, g)}
    counts = Counter(own) if own else counts
    full_enough = [g for g, count in counts.items() if 2 * count > max(counts.values())]
    return min(full_enough, key=lambda group: group.order, default=None)
