"""What is stored for an experiment: one cell per network and group, with its seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from resnet_repro.report.groups import Group, group_of
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.network_names import network_title
from resnet_repro.store.models import Measured, Summary
from resnet_repro.store.stored_run import StoredRun

__all__ = [
    "MEASUREMENT_TITLES",
    "Cell",
    "Sample",
    "collect",
    "groups_in",
    "main_group",
    "network_title",
    "networks_of",
]

MEASUREMENT_TITLES: dict[Measured, str] = {
    "responses": "layer responses",
    "gradients": "signals and gradients",
    "centre": "centre-crop errors",
    "10-crop": "10-crop errors",
    "multi-scale": "multi-scale errors",
}


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

    @property
    def best(self) -> float | None:
        return min(self.values, default=None)


@dataclass(frozen=True)
class Cell:
    """The runs of one network in one group, by seed."""

    network: str
    group: Group
    done: tuple[StoredRun, ...] = ()
    failed: tuple[StoredRun, ...] = ()
    unfinished: tuple[StoredRun, ...] = ()

    def sample(self, quantity: Callable[[StoredRun], float | None]) -> Sample:
        """A quantity of the finished runs, leaving out runs that do not have it."""
        values = [quantity(run) for run in self.done]
        return Sample(tuple(v for v in values if v is not None and math.isfinite(v)))

    def errors(self, field: str) -> Sample:
        """A field of the summaries, such as `final_test_error`."""
        return self.sample(lambda run: getattr(run.summary, field))


def collect(networks: Iterable[str], runs: Iterable[StoredRun]) -> list[Cell]:
    """A cell for each network and group that has runs, by network in the order given, then group.

    Runs that cannot be read or that have not begun are left out; the report names them.
    """
    order = {network: index for index, network in enumerate(networks)}
    members: dict[tuple[str, Group], list[StoredRun]] = {}
    for stored in runs:
        group = group_of(stored)
        if group is not None and stored.run is not None and stored.run.network in order:
            members.setdefault((stored.run.network, group), []).append(stored)
    cells = [_cell(network, group, found) for (network, group), found in members.items()]
    return sorted(cells, key=lambda cell: (order[cell.network], cell.group.order))


def _cell(network: str, group: Group, runs: Sequence[StoredRun]) -> Cell:
    by_seed = sorted(runs, key=lambda run: (run.summary.seed if run.summary else 0, run.id))
    done = tuple(run for run in by_seed if _has_result(run))
    rest = [run for run in by_seed if not _has_result(run)]
    failed = tuple(run for run in rest if run.state in ("failed", "done"))
    unfinished = tuple(run for run in rest if run.state not in ("failed", "done"))
    return Cell(network, group, done, failed, unfinished)


def _has_result(run: StoredRun) -> bool:
    """Whether a run is done and its errors are numbers; a diverged one may end without."""
    summary: Summary | None = run.summary
    if not run.finished or summary is None:
        return False
    errors = (summary.final_test_error, summary.final_train_error)
    return all(error is not None and math.isfinite(error) for error in errors)


def networks_of(experiment: Experiment) -> tuple[str, ...]:
    """The networks that an experiment trains, or if it trains none, those that it draws."""
    if experiment.runs or experiment.plot is None or experiment.plot.kind != "curves":
        return experiment.networks
    return tuple(dict.fromkeys(n for panel in experiment.plot.panels for n in panel.networks))


def groups_in(cells: Iterable[Cell]) -> list[Group]:
    """The groups of the cells, the most faithful first."""
    return sorted({cell.group for cell in cells}, key=lambda group: group.order)


def main_group(cells: Sequence[Cell]) -> Group | None:
    """The most faithful group with results for at least half as many networks as the fullest."""
    counts: dict[Group, int] = {}
    for cell in cells:
        if cell.done:
            counts[cell.group] = counts.get(cell.group, 0) + 1
    full_enough = [g for g, count in counts.items() if 2 * count >= max(counts.values())]
    return min(full_enough, key=lambda group: group.order, default=None)
