"""All results: the results folder as data frames."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, get_type_hints

from resnet_repro.report.cells import (
    CELL_STATES,
    BySeed,
    Cell,
    cells_in,
    groups_in,
    is_coarse,
    same_seed,
)
from resnet_repro.report.experiment_groups import by_other_recipe, of_he_2016, on_other_data
from resnet_repro.report.groups import BegunRun, Group, group_of, has_begun
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.network_names import parse_network
from resnet_repro.spec.run import Run, ids_of
from resnet_repro.spec.tables_figures import Views
from resnet_repro.store.lines import other_end_moved
from resnet_repro.store.models import EnsembleResult, ExternalEvaluation
from resnet_repro.store.store import Store
from resnet_repro.store.stored_run import StoredRun, trained_since
from resnet_repro.store.tables import TABLES

if TYPE_CHECKING:  # it takes a third of a second, and some tables and drawings need no results
    import pandas as pd

__all__ = ["Results"]

_ERRORS = ("final_train_error", "final_validation_error", "final_test_error", "best_test_error")
_SUMMARY = ("seed", "iterations", "parameters", *_ERRORS, "best_test_iteration")
_PROVENANCE = ("bn_images", "processes")
_MAYBE = ("best_test_iteration", "bn_images")  # not always known


class Results:
    """The contents of a results folder; each part is read once, when it is asked for.

    `stored` has every run folder, `begun` and the frame `runs` all readable runs that have begun,
    the other frames those that are done. `run` is a run's id: the index of `runs`, a column of the
    others.
    """

    def __init__(
        self,
        store: Store,
        preset: str | None = None,
        dataset: str | None = None,
        option: str | None = None,
    ) -> None:
        """Of all the store's runs, or of those of a preset (with changes to it) or data set alone.

        Then ensembles with a run that is left out are left out as well, and with a `dataset`
        ensembles and others' weights that were tested on another one, with a `preset` ensembles of
        another one whose members are not in the folder. `option` is ` --results FOLDER` where
        commands that a user is told need it; None where they stand in a report for anybody.
        """
        self.store = store
        self.option, self.published = option or "", option is None
        self._preset = preset
        self._dataset = dataset
        self._frames: dict[str, pd.DataFrame] = {}

    @cached_property
    def stored(self) -> list[StoredRun]:
        """Every run folder, of whatever preset or data set."""
        return self.store.all_runs()

    @cached_property
    def every_begun(self) -> list[BegunRun]:
        """Every run that has begun and can be read, of whatever preset or data set."""
        return [stored for stored in self.stored if has_begun(stored)]

    @cached_property
    def finished(self) -> dict[str, BegunRun]:
        """The finished ones of these, by the ids of all runs that they stand for.

        One in a precision that somebody named stands for the run in the machine's faster one. One
        whose batches passed in parts, none of them smaller than the paper's, stands for the run
        with whole batches: it follows the same protocol.
        """
        own = {run.run.id: run for run in self.every_begun if run.finished}
        return {_as_usual(run).id: run for run in own.values()} | own

    @cached_property
    def begun(self) -> list[BegunRun]:
        """Those that have begun of the preset and data set, if one was given."""
        return [
            run
            for run in self.every_begun
            if self._preset in (None, group_of(run).base)
            and self._dataset in (None, run.run.dataset)
        ]

    @cached_property
    def _cells(self) -> list[Cell]:
        return cells_in(self._by_seed)

    @cached_property
    def _by_seed(self) -> BySeed:
        return same_seed(self.begun)

    def left_out(self, experiment: Experiment) -> list[str]:
        """A line for each unusable run that is, or may be, of an experiment's networks."""
        names = set(experiment.shown_networks)
        if not names:
            return []
        unusable = [
            f"{stored.id}: {stored.problem}; left out"
            for stored in self.stored
            if stored.problem and (stored.run is None or stored.run.network in names)
        ]
        repeated = [
            f"{other.id}: network, protocol and seed of {run.id}, which counts; left out"
            for (network, *_), (run, *others) in self._by_seed.items()
            if network in names
            for other in others
        ]
        return unusable + repeated

    @cached_property
    def numbers(self) -> dict[Group, int]:
        """Group -> its number in tables and the report, from 1, the most faithful first."""
        return {group: n for n, group in enumerate(groups_in(self._cells), start=1)}

    def cells(self, networks: Iterable[str]) -> list[Cell]:
        """The runs of these networks, by network in the order given, then group."""
        order = {network: index for index, network in enumerate(networks)}
        found = [cell for cell in self._cells if cell.network in order]
        return sorted(found, key=lambda cell: order[cell.network])

    def cells_of(self, experiment: Experiment) -> list[Cell]:
        """The cells of an experiment's networks.

        Without those `on_other_data` or `by_other_recipe`. An item of He et al. 2016 has only those
        groups in which there is one of its networks that are new in that paper, chosen or not; the
        other groups are the first paper's.
        """
        cells = self.cells(experiment.shown_networks)
        if of_he_2016(experiment):
            every = self.cells({*experiment.shown_networks, *experiment.drawn_networks})
            theirs = {cell.group for cell in every if parse_network(cell.network).of_2016}
            cells = [cell for cell in cells if cell.group in theirs]
        return [
            cell
            for cell in cells
            if not on_other_data(experiment, cell.group.dataset)
            and not by_other_recipe(experiment, cell.network, cell.group)
        ]

    @cached_property
    def runs(self) -> pd.DataFrame:
        """A line per run: network, group, state and values of its summary.

        `state` is one of `CELL_STATES`; errors in percent. Of a run that `is_coarse` no final
        training error is known.
        """
        import pandas as pd

        coarse = [run.id for run in self.begun if is_coarse(run)]
        lines = [
            (
                *(run.id, cell.network, cell.group, state),
                *(getattr(run.summary, name) for name in _SUMMARY),
                *(getattr(run.summary.provenance, name) for name in _PROVENANCE),
            )
            for cell in self._cells
            for state in CELL_STATES
            for run in getattr(cell, state)
        ]
        columns = ["run", "network", "group", "state", *_SUMMARY, *_PROVENANCE]
        frame = pd.DataFrame(lines, columns=columns).set_index("run")
        frame.loc[frame.index.isin(coarse), "final_train_error"] = None
        return frame.astype(dict.fromkeys(_ERRORS, "float64") | dict.fromkeys(_MAYBE, "Int64"))

    @cached_property
    def backbone_errors(self) -> pd.Series[float]:
        """The test error, in percent, of the classification run that each detector started from.

        By the detector's run. It is that of the very weights, where its first session recorded
        them, otherwise that of the run of this name here; NaN of a file, or where it is not here.
        """
        import pandas as pd

        errors, found = self.runs.final_test_error, {}
        for run in (run for cell in self._cells for run in cell.every):
            if name := run.run.recipe.starts_from:
                recorded = run.summary.provenance.trained_by[0].backbone
                known = next((errors[id_] for id_ in ids_of(name) if id_ in errors), None)
                found[run.id] = recorded.test_error if recorded else known
        return pd.Series(found, dtype="float64")

    def frame(self, table: str) -> pd.DataFrame:
        """One of `TABLES` for all runs that are done: `run` and the file's columns; NaN for None.

        Without lines, columns get a type that can be merged and compared with texts.
        """
        import pandas as pd

        if table not in self._frames:
            hints, columns = get_type_hints(TABLES[table].row), self._columns(table)
            kinds = {n: None if values else "object" for n, values in columns.items()}
            kinds |= {n: "float64" for n, hint in hints.items() if hint == float | None}
            found = {n: pd.Series(v, dtype=kinds[n]) for n, v in columns.items()}
            self._frames[table] = pd.DataFrame(found)
        return self._frames[table]

    @cached_property
    def gradients(self) -> pd.DataFrame:
        """The frame `gradients`, whose norms may be infinite or NaN.

        `has_signal` says whether `signal_norm` was measured.
        """
        norms = self._columns("gradients")["signal_norm"]
        frame = self.frame("gradients").assign(has_signal=[norm is not None for norm in norms])
        return frame.astype({"has_signal": "bool"})

    @cached_property
    def evaluations(self) -> pd.DataFrame:
        """The frame `evaluations` without those on other data than the run was trained on."""
        frame = self.frame("evaluations")
        trained_on = {run.id: run.summary.provenance.dataset.get("sha256") for run in self.begun}
        return frame[frame.dataset_sha256 == frame.run.map(trained_on)]

    def evaluated(self, views: Views) -> pd.DataFrame:
        """Run id -> the results for some views: `top1_error`, `top5_error`, ..."""
        return self.evaluations[self.evaluations.views == views].set_index("run")

    @cached_property
    def ensembles(self) -> list[EnsembleResult]:
        """The ensembles that were measured after all their members' trainings.

        Raises:
            StoreError: one cannot be read.
        """
        left_out = {run.id for run in self.every_begun} - {run.id for run in self.begun}
        stored = {run.id: run for run in self.stored if run.id not in left_out}
        found = []
        for ensemble in self.store.records(EnsembleResult):
            members = [stored[name] for name in ensemble.members if name in stored]
            of_preset = bool(members) or self._preset in (None, ensemble.preset)
            of_dataset = self._dataset in (None, ensemble.dataset)
            complete = left_out.isdisjoint(ensemble.members)
            if (
                of_preset
                and of_dataset
                and complete
                and not trained_since(members, ensemble.measured)
            ):
                found.append(ensemble)
        return found

    @cached_property
    def externals(self) -> list[ExternalEvaluation]:
        """The evaluations of others' weights; raises StoreError if one cannot be read."""
        found = self.store.records(ExternalEvaluation)
        return [external for external in found if self._dataset in (None, external.dataset)]

    def _columns(self, name: str) -> dict[str, list[Any]]:
        """One of the tables of a run's folder for all runs that are done, by column."""
        fields = get_type_hints(TABLES[name].row)
        columns: dict[str, list[Any]] = {column: [] for column in ("run", *fields)}
        for run in (run for cell in self._cells for run in cell.done):
            if name == "curve" and run.run.recipe.detection:
                continue  # whose curve has losses, no errors
            if name == "path" and other_end_moved(self.store, run):
                continue
            found = run.columns(name)
            columns["run"] += [run.id] * max(map(len, found.values()), default=0)
            for column, values in found.items():
                columns[column] += values
        return columns


def _as_usual(stored: BegunRun) -> Run:
    run, changes = stored.run, {"precision": "auto"}
    if run.recipe.micro_batch_size and not group_of(stored).fewer_in_norm:
        recipe = run.recipe.model_copy(update={"micro_batch_size": None})
        return run.model_copy(update=changes | {"recipe": recipe})
    return run.model_copy(update=changes)
