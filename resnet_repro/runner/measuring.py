"""Making the measurements and ensembles of experiments on finished runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args

from resnet_repro.base.plain_text import plural
from resnet_repro.base.stop import Stopped
from resnet_repro.data.photos.photos import PhotoDataset
from resnet_repro.measure.average_precision import mean_over_classes
from resnet_repro.measure.curvature import curvature_rows
from resnet_repro.measure.detection import precisions_of, show_some
from resnet_repro.measure.gradients import measure_afterwards
from resnet_repro.measure.kept_arrays import Parts
from resnet_repro.measure.path import path_to_other_run
from resnet_repro.measure.responses import responses_of
from resnet_repro.measure.scores import read_scores
from resnet_repro.measure.surface import surface_rows
from resnet_repro.plan.progress import Progress
from resnet_repro.runner.ensembles import measure_ensemble
from resnet_repro.runner.sources import Sources
from resnet_repro.runner.views import measure_views
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.measurements import MEASUREMENTS, WITH_COCO
from resnet_repro.spec.run import Run
from resnet_repro.spec.surface import PathSettings
from resnet_repro.spec.tables_figures import Views
from resnet_repro.store.lines import other_run
from resnet_repro.store.measured import is_averaged, is_measured
from resnet_repro.store.store import Store
from resnet_repro.store.stored_run import StoredRun
from resnet_repro.training.checkpoint import CheckpointError, final_state, weights_missing
from resnet_repro.training.device import origin_here
from resnet_repro.training.memory import is_lack_of_memory
from resnet_repro.training.subject import Subject

__all__ = ["Measurer"]


class Work(NamedTuple):
    """The inputs of a measurement."""

    subject: Subject
    parts: Parts
    store: Store
    stored: StoredRun
    settings: Any  # the experiment's settings of it
    should_stop: Callable[[], bool]
    news: Callable[[str], None]  # as those of `Progress`
    note: Callable[[str], None]


# What makes the rows of each measurement; views of photographs are looked at by all processes.
METHODS: dict[str, Callable[[Work], Sequence[Any]]] = {
    "responses": lambda work: responses_of(work.subject, work.should_stop),
    "gradients": lambda work: measure_afterwards(work.subject, work.stored.rows("gradients")),
    "surface": lambda work: surface_rows(
        work.subject, work.parts, work.settings, work.should_stop, work.news
    ),
    "path": lambda work: path_to_other_run(
        work.subject, work.parts, work.store, work.settings, work.should_stop, work.news, work.note
    ),
    "curvature": lambda work: curvature_rows(
        work.subject, work.parts, work.settings, work.should_stop, work.news
    ),
    "average-precision": lambda work: precisions_of(
        work.subject, work.parts, work.should_stop, work.news, work.note
    ),
    "detections": lambda work: show_some(work.subject, work.stored.folder.photographs),
}
VIEWS: tuple[Views, ...] = get_args(Views)
Unmeasured = Literal["unmeasured", "locked", "stopped"]  # without weights or memory; or for now


class Asked(NamedTuple):
    """A measurement that a run should have."""

    name: str  # one of `MEASUREMENTS`
    settings: Any = None  # the experiment's settings of it
    scores: bool = False  # whether an ensemble needs the scores of each image, too


def _measurements(experiment: Experiment, run: Run) -> Sequence[str]:
    """What an experiment measures on a run; the centre crop also without being told to.

    Tables show it beside all other views, and an ensemble may average it.
    """
    ensemble = experiment.ensemble
    averaged = ensemble and ensemble.views == "centre" and run.network in ensemble.networks
    centre = ["centre"] if averaged or set(experiment.measure) & set(VIEWS) else []
    return [*centre, *experiment.measure]


class Measurer:
    """Makes and stores the measurements of experiments that finished runs lack."""

    def __init__(self, store: Store, sources: Sources, progress: Progress) -> None:
        self.store, self.sources, self.progress = store, sources, progress

    def measure(self, experiments: Sequence[Experiment]) -> dict[str, Unmeasured]:
        """Measure everything; returns the ids of finished runs that still lack something.

        Raises:
            DataError: a data set is not here.
            StoreError: a result cannot be written.
        """
        ensembles = [
            (experiment, experiment.ensemble.views)
            for experiment in experiments
            if experiment.ensemble and not is_averaged(self.store, experiment)
        ]
        scored = {(run.id, views) for e, views in ensembles for run in e.ensemble_members}
        unfinished = self._unfinished(experiments)
        wanted: dict[str, tuple[Run, list[Asked]]] = {}
        for experiment in experiments:
            for run in experiment.measured_runs:
                for name in _measurements(experiment, run):
                    asked = Asked(name, experiment.settings_of(name), (run.id, name) in scored)
                    if name == "path" and self._waits(run, asked.settings, unfinished):
                        continue
                    wanted.setdefault(run.id, (run, []))[1].append(asked)
        left: dict[str, Unmeasured] = {}
        for run, every in wanted.values():
            if outcome := self.measure_run(run, list(dict.fromkeys(every))):
                left[run.id] = outcome
        for experiment, views in ensembles:
            try:
                if self.sources.should_stop():
                    raise Stopped
                found, unscored = measure_ensemble(experiment, views, self.store, self.sources)
            except Stopped:
                left |= {run.id: "stopped" for run in experiment.ensemble_members}
                continue
            tell = self.progress.note if unscored else self.progress.news
            tell(f"{experiment.name}: {found}")
            for id_ in unscored:
                left.setdefault(id_, "unmeasured")
        return left

    def _unfinished(self, experiments: Sequence[Experiment]) -> dict[str, StoredRun]:
        """By id, the runs at which lines may end that these experiments have yet to train."""
        lines = any("path" in experiment.measure for experiment in experiments)
        runs = [run for e in experiments for run in e.resolve()] if lines else []
        there = {run.id: self.store.get(run) for run in runs}
        return {id_: stored for id_, stored in there.items() if not stored.finished}

    def _waits(self, run: Run, settings: PathSettings, unfinished: dict[str, StoredRun]) -> bool:
        """Whether a line ends at one of the unfinished runs; its own outcome says what is left."""
        if not unfinished or run.id in unfinished:
            return False
        other = other_run(run, settings, self.store, list(unfinished.values()))
        if other.id in unfinished:
            self.progress.note(f"{run.id}: its line ends at {other.id}, which is not trained yet")
        return other.id in unfinished

    def measure_run(self, run: Run, asked: Sequence[Asked]) -> Unmeasured | None:
        """Make the measurements that a finished run lacks; None if it has all of them then."""
        if not self._lacks(run, asked):
            return None
        if not self.store.folder(run).checkpoints():
            return self._without_weights(self.store.get(run))
        if self.sources.should_stop():
            return "stopped"
        with self.store.folder(run).locked() as held:
            if held:
                try:
                    return self._measure_locked(run, asked)
                except Stopped:
                    return "stopped"
                except (RuntimeError, MemoryError) as error:
                    if not is_lack_of_memory(error):
                        raise
                    self.progress.note(
                        f"{run.id}: not enough memory to measure it; what is missing is made by "
                        "the same command where there is more (--device cpu)"
                    )
                    return "unmeasured"
        self.progress.note(f"{run.id}: another process is at work on it, not measured")
        return "locked"

    def _lacks(self, run: Run, asked: Sequence[Asked]) -> bool:
        """Whether a run lacks one of these; one that is not finished lacks none."""
        stored = self.store.get(run)
        return stored.finished and any(
            (one.scores and read_scores(stored, one.name) is None)
            or not is_measured(self.store, stored, one.name, one.settings)
            for one in asked
        )

    def _measure_locked(self, run: Run, asked: Sequence[Asked]) -> Unmeasured | None:
        """`measure_run` of a run that no other process works on."""
        if not self._lacks(run, asked):  # another may have made some meanwhile
            return None
        stored = self.store.get(run)
        subject = self._trained(run, stored)
        if subject is None:
            return "unmeasured"
        made: list[bool] = []
        with contextlib.closing(subject.feed):
            for one in asked:
                if self._lacks(run, [one]):  # it may have come with one before it
                    if self.sources.should_stop():
                        raise Stopped
                    found = self._measure(one, subject, stored)
                    made.append(found is not None)
                    if found:
                        self.progress.news(f"{run.id}: {found}")
                    else:
                        title = MEASUREMENTS[one.name].title
                        self.progress.note(f"{run.id}: {title} not measured")
        return None if all(made) else "unmeasured"

    def _without_weights(self, stored: StoredRun, reasons: Sequence[str] = ()) -> Unmeasured:
        self.progress.note(f"{stored.id}: not measured, {weights_missing(stored, reasons)}")
        return "unmeasured"

    def _measure(self, asked: Asked, subject: Subject, stored: StoredRun) -> str | None:
        """Measure and store; returns a message about it, None if it could not be measured."""
        name, settings, folder = asked.name, asked.settings, stored.folder
        stop, news, note = self.sources.should_stop, self.progress.news, self.progress.note
        if name in VIEWS:
            return measure_views(subject, folder, name, self.sources, news)
        measurement = MEASUREMENTS[name]
        backend = subject.backend.with_precision(measurement.precision or subject.backend.precision)
        origin = origin_here(backend, self.sources.options.command)
        parts = Parts(folder.unfinished_arrays(measurement.table), origin)
        rows = METHODS[name](Work(subject, parts, self.store, stored, settings, stop, news, note))
        if not rows:
            return None
        if settings not in (None, WITH_COCO) and measurement.table in stored.tables:
            before = stored.rows(measurement.table)  # none, if all of an earlier version
            seed, whole = subject.run.seed, stored.training_images
            if not settings.measured_in(before, seed, whole):
                note(
                    f"{stored.id}: its {measurement.title}, of other settings or by an earlier "
                    "version, is replaced"
                )
        folder.write_measured(measurement.table, rows, origin, parts.earlier)
        if not (settings == WITH_COCO and all(row.coco_ap is None for row in rows)):
            folder.discard_unfinished(measurement.table)
        if name == "average-precision":
            found = [row.ap_11point for row in rows if row.ap_11point is not None]
            if (mean := mean_over_classes(found)) is not None:
                return f"mAP {mean:.2f} percent over {plural(len(found), 'class')} (11 points)"
        return f"{measurement.title} measured, {plural(len(rows), 'row')}"

    def _trained(self, run: Run, stored: StoredRun) -> Subject | None:
        """A finished run's network and data; None, with a note, if either is not here.

        Raises:
            DataError: there is no such data set here.
        """
        assert stored.summary is not None, "finished runs have one"
        origin = stored.summary.provenance
        state, reasons = final_state(run, stored)
        if state is None:
            self._without_weights(stored, reasons)
            return None
        for reason in reasons:
            self.progress.note(f"{run.id}: not used: {reason}")
        dataset = self.sources.dataset(run.dataset)
        if isinstance(dataset, PhotoDataset):
            dataset.need_training("what is measured on a run needs its training photographs' mean")
        if dataset.identity.sha256 != origin.dataset.get("sha256"):
            self.progress.note(
                f"{run.id}: not measured, it was trained on another copy of {run.dataset} than the "
                "one here"
            )
            return None
        backend = self.sources.backend(origin.precision)
        try:
            return self.sources.trained(run, state["network"], backend)
        except CheckpointError as error:
            self._without_weights(stored, [f"its checkpoint {error}"])
            return None
