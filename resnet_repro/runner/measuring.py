"""Making the measurements and ensembles of experiments on finished runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from resnet_repro.base.errors import ConfigError, DataError
from resnet_repro.base.plain_text import plural
from resnet_repro.base.stop import Stopped
from resnet_repro.data.dataset import Dataset
from resnet_repro.data.npz import read_npz
from resnet_repro.data.photos.photos import PhotoDataset
from resnet_repro.measure.average_precision import mean_over_classes
from resnet_repro.measure.curvature import curvature_rows
from resnet_repro.measure.detection import precisions_of, show_some
from resnet_repro.measure.ensemble import ensemble_of, read_scores, write_scores
from resnet_repro.measure.evaluate.run import find_target
from resnet_repro.measure.gradients import measure_afterwards
from resnet_repro.measure.path import path_rows
from resnet_repro.measure.responses import responses_of
from resnet_repro.measure.surface import surface_rows
from resnet_repro.measure.tensorboard import write_events
from resnet_repro.measure.views import row_of
from resnet_repro.plan.measured import is_measured
from resnet_repro.runner.options import Progress
from resnet_repro.runner.scores import score_together
from resnet_repro.runner.sources import Sources
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.measurements import MEASUREMENTS, WithCoco
from resnet_repro.spec.run import Run
from resnet_repro.spec.surface import PathSettings
from resnet_repro.spec.tables_figures import Views
from resnet_repro.store.models import EnsembleResult
from resnet_repro.store.store import Store
from resnet_repro.store.stored_run import StoredRun, trained_since
from resnet_repro.training.checkpoint import CheckpointError, final_state
from resnet_repro.training.device import origin_here
from resnet_repro.training.memory import is_lack_of_memory
from resnet_repro.training.subject import Subject

__all__ = ["Measurer"]


class Work(NamedTuple):
    """The inputs of a measurement."""

    subject: Subject
    stored: StoredRun
    settings: Any  # the experiment's settings of it
    # The id and the weights of another run, which the settings name; None if they are not here.
    other: Callable[[], tuple[str, Mapping[str, Tensor]] | None]
    should_stop: Callable[[], bool]
    note: Callable[[str], None]


# What makes the rows of each measurement; views of photographs are looked at by all processes.
METHODS: dict[str, Callable[[Work], Sequence[Any]]] = {
    "responses": lambda work: responses_of(work.subject, work.should_stop),
    "gradients": lambda work: measure_afterwards(work.subject, work.stored.rows("gradients")),
    "surface": lambda work: surface_rows(
        work.subject, work.stored.folder, work.settings, work.should_stop, work.note
    ),
    "path": lambda work: _path(work),
    "curvature": lambda work: curvature_rows(
        work.subject, work.stored.folder, work.settings, work.should_stop, work.note
    ),
    "average-precision": lambda work: precisions_of(
        work.subject, work.stored.folder, work.should_stop, work.note
    ),
    "detections": lambda work: show_some(work.subject, work.stored.folder.photographs),
}
VIEWS: tuple[Views, ...] = get_args(Views)


class Asked(NamedTuple):
    """A measurement that a run should have."""

    name: str  # one of `MEASUREMENTS`
    settings: Any = None  # the experiment's settings of it
    scores: bool = False  # whether an ensemble needs the scores of each image, too


def _path(work: Work) -> Sequence[Any]:
    other = work.other()
    if other is None:
        return []
    folder = work.stored.folder
    return path_rows(work.subject, folder, *other, work.settings, work.should_stop, work.note)


class Measurer:
    """Makes and stores the measurements of experiments that finished runs lack."""

    def __init__(self, store: Store, sources: Sources, progress: Progress) -> None:
        self.store, self.sources, self.progress = store, sources, progress
        self.stopped: list[str] = []  # ids of runs whose measuring was stopped
        self.locked: list[str] = []  # ids of runs that another process works on
        self.failed: list[str] = []  # ids of runs for which there was not enough memory

    def measure(self, experiments: Sequence[Experiment]) -> list[str]:
        """Measure everything; returns the ids of finished runs whose weights are not here.

        Raises:
            DataError: the data set here is not the one that a run was trained on.
            StoreError: a result cannot be written.
        """
        ensembles = [
            (experiment, views)
            for experiment in experiments
            if experiment.ensemble
            and not self._is_known(experiment, views := experiment.ensemble.views)
        ]
        scored = {(run.id, views) for e, views in ensembles for run in e.ensemble_members}
        wanted: dict[str, tuple[Run, list[Asked]]] = {}
        for experiment in experiments:
            # Tables show the centre crop beside all other views.
            centre = ["centre"] if set(experiment.measure) & set(VIEWS) else []
            names = (*centre, *experiment.measure)
            for run in experiment.measured_runs if names else ():
                wanted.setdefault(run.id, (run, []))[1].extend(
                    Asked(name, experiment.settings_of(name), (run.id, name) in scored)
                    for name in names
                )
        without_weights = [
            run.id for run, asked in wanted.values() if not self.measure_run(run, asked)
        ]
        for experiment, views in ensembles:
            self._measure_ensemble(experiment, views)
        return without_weights

    def check_paths(self, experiments: Sequence[Experiment]) -> None:
        """Refuse lines that cannot be measured before anything is trained for them.

        Raises:
            ConfigError: a line's other end is no run, or not one of the same network and data.
        """
        coming = [run.id for experiment in experiments for run in experiment.resolve()]
        for experiment in experiments:
            path = experiment.path
            if path and path.to and not any(name.startswith(path.to) for name in coming):
                for run in experiment.measured_runs:
                    self._other_run(run, path)

    def measure_run(self, run: Run, asked: Sequence[Asked]) -> bool:
        """Make the measurements that a finished run lacks; False if its weights are not here."""
        if not self._missing(run, asked):
            return True
        if not self.store.folder(run).checkpoints():
            return False
        if self.sources.should_stop():
            self.stopped.append(run.id)
            return True
        with self.store.folder(run).locked() as held:
            if held:
                return self._measure_locked(run, asked)
        self.progress.note(f"{run.id}: another process is at work on it, not measured")
        self.locked.append(run.id)
        return True

    def _missing(self, run: Run, asked: Sequence[Asked]) -> list[Asked]:
        """The measurements that a run lacks; none of one that is not finished."""
        stored = self.store.get(run)
        distinct = dict.fromkeys(asked if stored.finished else ())
        return [one for one in distinct if self._lacks(stored, one)]

    def _measure_locked(self, run: Run, asked: Sequence[Asked]) -> bool:
        """`measure_run` of a run that no other process works on."""
        if not self._missing(run, asked):  # another may have made some meanwhile
            return True
        stored = self.store.get(run)
        try:
            subject = self._trained(run, stored)
            if subject is None:
                return False
            with contextlib.closing(subject.feed):
                for one in dict.fromkeys(asked):
                    if self._missing(run, [one]):  # it may have come with one before it
                        if self.sources.should_stop():
                            raise Stopped
                        found = self._measure(one, subject, stored)
                        self.progress.note(f"{run.id}: {found}")
        except Stopped:
            self.stopped.append(run.id)
        except (RuntimeError, MemoryError) as error:
            if not is_lack_of_memory(error):
                raise
            self.progress.note(
                f"{run.id}: not enough memory to measure it; what is missing is made by the same "
                "command where there is more (--device cpu)"
            )
            self.failed.append(run.id)
        return True

    def _lacks(self, stored: StoredRun, asked: Asked) -> bool:
        if asked.scores and read_npz(stored.folder.scores(asked.name)) is None:
            return True  # missing or torn
        return not is_measured(self.store, stored, asked.name, asked.settings)

    def _measure(self, asked: Asked, subject: Subject, stored: StoredRun) -> str:
        """Measure and store; returns a message about it."""
        name, settings = asked.name, asked.settings
        if name in VIEWS:
            return self._measure_views(name, subject, stored)
        measurement, folder = MEASUREMENTS[name], stored.folder
        stop, note = self.sources.should_stop, self.progress.note
        other = partial(self._other_end, subject.run, settings)
        rows = METHODS[name](Work(subject, stored, settings, other, stop, note))
        if not rows:
            return f"{measurement.title} not measured"
        backend = subject.backend.with_precision(measurement.precision or subject.backend.precision)
        origin = origin_here(backend, self.sources.options.command)
        folder.write_measured(measurement.table, rows, origin)
        if not (settings == WithCoco() and all(row.coco_ap is None for row in rows)):
            folder.discard_unfinished(measurement.table)
        if name == "average-precision":
            mean = mean_over_classes([row.ap_11point for row in rows])
            if mean is not None:
                return f"mAP {mean:.2f} percent over {plural(len(rows), 'class')} (11 points)"
        return f"{measurement.title} measured, {plural(len(rows), 'row')}"

    def _measure_views(self, views: Views, subject: Subject, stored: StoredRun) -> str:
        """Test on views of the photographs, and store errors and scores; returns a message."""
        folder = stored.folder
        found = score_together(subject, views, self.sources, self.progress.note)
        identity, labels = subject.feed.identity, self._test_labels(subject.run)
        averaged = subject.run.recipe.bn_average_iterations > 0
        row = row_of(views, found, labels, "average" if averaged else "running", identity)
        write_scores(folder.scores(views), found, identity.sha256)
        command, processes = self.sources.options.command, self.sources.processes.count
        origin = origin_here(subject.backend, command, processes)
        folder.write_measured(MEASUREMENTS[views].table, [row], origin)
        return f"{views}: top-1 error {row.top1_error:.2f}%, top-5 error {row.top5_error:.2f}%"

    def _other_end(
        self, run: Run, settings: PathSettings
    ) -> tuple[str, Mapping[str, Tensor]] | None:
        """The run at the other end of a line, and its weights; None, with a note, without these.

        Raises:
            ConfigError: as `_other_run`.
        """
        other = self._other_run(run, settings)
        state, _ = final_state(other, self.store.get(other))
        if state is None:
            self.progress.note(f"{run.id}: its line ends at {other.id}, whose weights are not here")
            return None
        return other.id, state["network"]

    def _other_run(self, run: Run, settings: PathSettings) -> Run:
        """The run at the other end of a line.

        Raises:
            ConfigError: it is the same run, or one of another network or data set.
        """
        other: Run | None = run.model_copy(update={"seed": settings.other_seed(run.seed)})
        if settings.to:
            found = find_target(settings.to, self.store)
            other = found.run if isinstance(found, StoredRun) else None
        if other is None or (settings.to and not other.id.startswith(settings.to)):
            raise ConfigError("path.to: should be a run's id, or the beginning of one")
        kinds = {(r.network, r.dataset, r.recipe.zero_channels) for r in (other, run)}
        if other.id == run.id or len(kinds) > 1:
            raise ConfigError(
                f"path.to: {other.id} should be another run of {run.network} on {run.dataset}"
            )
        return other

    def _trained(self, run: Run, stored: StoredRun) -> Subject | None:
        """A finished run's network and data; None if its final weights are not here.

        Raises:
            DataError: the data set here is not the one that it was trained on.
        """
        assert stored.summary is not None, "finished runs have one"
        origin = stored.summary.provenance
        state, reasons = final_state(run, stored)
        for reason in reasons:
            self.progress.note(f"{run.id}: not used: {reason}")
        if state is None:
            return None
        dataset = self.sources.dataset(run.dataset)
        if isinstance(dataset, PhotoDataset):
            dataset.need_training("what is measured on a run needs its training photographs' mean")
        if dataset.identity.sha256 != origin.dataset.get("sha256"):
            raise DataError(
                f"{run.id} was trained on another copy of {run.dataset} than the one here"
            )
        backend = self.sources.backend(origin.precision)
        try:
            return self.sources.trained(run, state["network"], backend)
        except CheckpointError as error:
            self.progress.note(f"{run.id}: its checkpoint {error}")
            return None

    def _measure_ensemble(self, experiment: Experiment, views: Views) -> None:
        """Average the scores of an ensemble's members (Table 5), if all of them have some."""
        members = experiment.ensemble_members
        if self.sources.should_stop():
            self.stopped += [run.id for run in members]
            return
        every = [self.store.get(run) for run in members]
        lacking = [stored.id for stored in every if not stored.finished]
        found: list[Tensor] = []
        if not lacking:
            identity = self.sources.dataset(members[0].dataset).identity
            labels = self._test_labels(members[0])
            for stored in every:
                scores = read_scores(stored.folder.scores(views), len(labels), identity.sha256)
                if scores is None:
                    lacking.append(stored.id)
                else:
                    found.append(scores)
        if lacking:
            self.progress.note(f"{experiment.name}: no ensemble yet, {lacking[0]} lacks {views}")
            return
        command = self.sources.options.command
        names = [stored.id for stored in every]
        result = ensemble_of(experiment, names, found, labels, identity, command)
        others = (e for e in self.store.records(EnsembleResult) if e.file_name == result.file_name)
        larger = [other for other in others if len(other.members) > len(members)]
        if not larger:
            self.store.write_record(result)
        kept = f"; not stored beside the one of {len(larger[0].members)}" if larger else ""
        self.progress.note(
            f"{experiment.name}: {len(members)} networks together, {views}: "
            f"top-1 error {result.top1_error:.2f}%, top-5 error {result.top5_error:.2f}%{kept}"
        )

    def _is_known(self, experiment: Experiment, views: Views) -> bool:
        """Whether an ensemble was measured after the last of its members was trained."""
        members = experiment.ensemble_members
        trained = [self.store.get(run) for run in members]
        own = experiment.name, tuple(stored.id for stored in trained), views
        return any(
            (result.experiment, result.members, result.views) == own
            and not trained_since(trained, result.measured)
            for result in self.store.records(EnsembleResult)
        )

    def write_events(self, runs: Sequence[Run]) -> None:
        """Write TensorBoard's event file of finished runs."""
        for run in runs:
            stored = self.store.get(run)
            if stored.finished:
                write_events(stored.folder.tensorboard, stored.curve())

    def _test_labels(self, run: Run) -> Tensor:
        dataset = self.sources.dataset(run.dataset)
        if isinstance(dataset, PhotoDataset):
            return torch.from_numpy(dataset.test.labels)
        assert isinstance(dataset, Dataset), "of detectors there are no scores"
        return torch.from_numpy(dataset.test_labels)
