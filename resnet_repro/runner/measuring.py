"""What experiments ask of finished runs, beyond their curves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from resnet_repro.base import provenance
from resnet_repro.base.errors import DataError
from resnet_repro.base.stop import Stopped
from resnet_repro.data.dataset import Dataset
from resnet_repro.data.photos.photos import PhotoDataset
from resnet_repro.measure.observe import has_events, measure_afterwards, write_events
from resnet_repro.measure.origin import origin_here
from resnet_repro.measure.responses import measure_responses
from resnet_repro.measure.views import mean_loss, topk_errors
from resnet_repro.runner.options import Progress
from resnet_repro.runner.resuming import trained_weights
from resnet_repro.runner.scores import load_subject, read_scores, score_together, write_scores
from resnet_repro.runner.sources import Sources
from resnet_repro.runner.surfaces import curvature_rows, surface_rows
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.measurements import EvaluationRow
from resnet_repro.spec.run import Run
from resnet_repro.spec.shows import Views
from resnet_repro.store.models import EnsembleResult, Origin
from resnet_repro.store.store import Store
from resnet_repro.store.stored_run import StoredRun
from resnet_repro.training.backend import Backend
from resnet_repro.training.subject import Subject

__all__ = ["Measurer"]


class Measurer:
    """Measures what finished runs lack of what experiments ask for, and stores it with them."""

    def __init__(self, store: Store, sources: Sources, progress: Progress) -> None:
        self.store, self.sources, self.progress = store, sources, progress

    def measure(self, experiments: Sequence[Experiment]) -> list[str]:
        """Measure everything; returns the ids of finished runs whose weights are not here.

        Raises:
            DataError: the data set here is not the one that a run was trained on.
            StoreError: a result cannot be written.
        """

        def asking(*what: str) -> list[Run]:
            asked = [e for e in experiments if set(what) & set(e.measure)]
            return list({run.id: run for e in asked for run in e.resolve()}.values())

        unmeasured = self.responses(asking("responses")) + self.gradients(asking("gradients"))
        ensembles = [e for e in experiments if e.ensemble and not self._is_known(e)]
        members: set[tuple[str, Views]] = set()
        for experiment in ensembles:
            if experiment.ensemble:
                views = experiment.ensemble.views
                members |= {(run.id, views) for run in experiment.ensemble_members}
        for experiment in experiments:
            unmeasured += self.surfaces(experiment) + self.curvatures(experiment)
        unmeasured += self.views(asking("10-crop", "multi-scale"), "centre", members)
        unmeasured += self.views(asking("10-crop"), "10-crop", members)
        unmeasured += self.views(asking("multi-scale"), "multi-scale", members)
        for experiment in ensembles:
            self.ensemble(experiment)
        return list(dict.fromkeys(unmeasured))

    def responses(self, runs: Sequence[Run]) -> list[str]:
        """Measure layer responses (Fig. 7)."""

        def lacking(stored: StoredRun) -> bool:
            return not stored.folder.responses.exists()

        def measure(subject: Subject, stored: StoredRun) -> str:
            rows = measure_responses(
                subject.network, self._test_inputs(subject), subject.backend.autocast
            )
            stored.folder.write_measured("responses", rows, self._origin(subject))
            return f"responses of {len(rows)} layers measured"

        return self._each(runs, lacking, measure)

    def gradients(self, runs: Sequence[Run]) -> list[str]:
        """Measure signals and gradients at the start and the end."""

        def lacking(stored: StoredRun) -> bool:
            assert stored.run is not None
            measured = {row.iteration for row in stored.gradients()}
            return not {0, stored.run.recipe.iterations} <= measured

        def measure(subject: Subject, stored: StoredRun) -> str:
            rows = measure_afterwards(subject, stored.gradients())
            stored.folder.write_measured("gradients", rows, self._origin(subject))
            return "signals and gradients measured at the start and end"

        return self._each(runs, lacking, measure)

    def surfaces(self, experiment: Experiment) -> list[str]:
        """Measure the loss surfaces that an experiment asks for, where there are no such yet."""
        settings = experiment.surface_settings
        if settings is None:
            return []

        def lacking(stored: StoredRun) -> bool:
            return not settings.measured_in(stored.rows("surface"))

        def measure(subject: Subject, stored: StoredRun) -> str:
            stop, note = self.sources.should_stop, self.progress.note
            rows = surface_rows(subject, stored.folder, settings, stop, note)
            stored.folder.write_measured("surface", rows, self._origin(subject))
            stored.folder.remove(stored.folder.unfinished_surface)
            return f"loss surface measured at {len(rows):,} points"

        return self._each(experiment.resolve(), lacking, measure)

    def curvatures(self, experiment: Experiment) -> list[str]:
        """Measure the ends of the Hessian's spectrum that an experiment asks for."""
        settings = experiment.curvature_settings
        if settings is None:
            return []

        def lacking(stored: StoredRun) -> bool:
            return not settings.measured_in(stored.rows("curvature"))

        def measure(subject: Subject, stored: StoredRun) -> str:
            rows = curvature_rows(subject, settings, self.sources.should_stop)
            backend = subject.backend.with_precision("fp32")
            stored.folder.write_measured("curvature", rows, self._origin_of(backend))
            ends = f"{rows[0].smallest:.4g} to {rows[0].largest:.4g}"
            return f"eigenvalues of the Hessian from {ends}"

        return self._each(experiment.resolve(), lacking, measure)

    def views(
        self, runs: Sequence[Run], views: Views, members: Collection[tuple[str, Views]] = ()
    ) -> list[str]:
        """Test on some views of every photograph (section 3.4).

        `members` are the runs whose scores an ensemble is going to need, with the views.
        """

        def lacking(stored: StoredRun) -> bool:
            measured = {row.views for row in stored.evaluations()}
            needed = (stored.id, views) in members
            return views not in measured or (needed and not stored.folder.scores(views).exists())

        def measure(subject: Subject, stored: StoredRun) -> str:
            found = score_together(subject, views, self.sources, self.progress.note)
            identity, labels = subject.feed.identity, self._test_labels(subject.run)
            top1, top5 = _errors(found, labels)
            averaged = subject.run.recipe.bn_average_iterations > 0
            row = EvaluationRow(
                views=views,
                top1_error=top1,
                top5_error=top5,
                loss=mean_loss(found, labels),
                images=len(labels),
                bn="average" if averaged else "running",
                dataset_sha256=identity.sha256,
            )
            write_scores(stored.folder.scores(views), found, identity.sha256)
            together = self.sources.processes.count
            stored.folder.write_measured("evaluations", [row], self._origin(subject, together))
            return f"{views}: top-1 error {top1:.2f}%, top-5 error {top5:.2f}%"

        return self._each(runs, lacking, measure)

    def ensemble(self, experiment: Experiment) -> None:
        """Average the scores of an experiment's members (Table 5), once all of them have some."""
        members = experiment.ensemble_members
        if experiment.ensemble is None or self.sources.should_stop():
            return
        views = experiment.ensemble.views
        dataset = self.sources.dataset(experiment.dataset)
        identity, labels = dataset.identity, self._test_labels(members[0])
        found: list[Tensor] = []
        for run in members:
            path = self.store.folder(run).scores(views)
            scores = read_scores(path, len(labels), identity.sha256)
            if scores is None or not self.store.get(run).finished:
                self.progress.note(f"{experiment.name}: no ensemble yet, {run.id} lacks {views}")
                return
            found.append(scores)
        top1, top5 = _errors(torch.stack(found).mean(dim=0), labels)
        presets: set[Any] = {run.preset for run in members}
        code, dirty = provenance.code_version()
        result = EnsembleResult(
            experiment=experiment.name,
            preset=presets.pop() if len(presets) == 1 else "custom",
            dataset=experiment.dataset,
            members=tuple(run.id for run in members),
            views=views,
            top1_error=top1,
            top5_error=top5,
            images=len(labels),
            data=identity.to_dict(),
            code=code,
            dirty=dirty,
            command=self.sources.options.command,
            measured=provenance.utc_now(),
        )
        self.store.write_ensemble(result)
        self.progress.note(
            f"{experiment.name}: {len(members)} networks together, {views}: "
            f"top-1 error {top1:.2f}%, top-5 error {top5:.2f}%"
        )

    def _is_known(self, experiment: Experiment) -> bool:
        """Whether an ensemble has been measured since the last of its members was trained."""
        members = experiment.ensemble_members
        summaries = [self.store.get(run).summary for run in members]
        ended = [summary.provenance.ended or "" for summary in summaries if summary]
        ids = tuple(run.id for run in members)
        return any(
            (result.experiment, result.members) == (experiment.name, ids)
            and experiment.ensemble is not None
            and result.views == experiment.ensemble.views
            and result.measured >= max(ended, default="")
            for result in self.store.ensembles()
        )

    def write_events(self, runs: Sequence[Run]) -> None:
        """Write TensorBoard's event file of finished runs that have none."""
        for run in runs:
            stored = self.store.get(run)
            if stored.finished and not has_events(stored.folder.tensorboard):
                write_events(stored.folder.tensorboard, stored.curve())

    def _each(
        self,
        runs: Sequence[Run],
        lacking: Callable[[StoredRun], bool],
        measure: Callable[[Subject, StoredRun], str],
    ) -> list[str]:
        """Measure finished runs that lack something, and tell what `measure` says of each.

        Returns the ids of those whose weights are not here.
        """
        without_weights = []
        for run in runs:
            if self.sources.should_stop():
                break
            stored = self.store.get(run)
            if not stored.finished or not lacking(stored):
                continue
            subject = self._trained(run, stored)
            if subject is None:
                without_weights.append(run.id)
                continue
            try:
                self.progress.note(f"{run.id}: {measure(subject, stored)}")
            except Stopped:
                break
            finally:
                subject.feed.close()
        return without_weights

    def _trained(self, run: Run, stored: StoredRun) -> Subject | None:
        """A finished run's network, or None if its weights are not here.

        Raises:
            DataError: the data set here is not the one that it was trained on.
        """
        assert stored.summary is not None, "finished runs have one"
        origin = stored.summary.provenance
        dataset = self.sources.dataset(run.dataset)
        classes = len(dataset.classes)
        weights = trained_weights(run, stored.folder, classes, self.progress.note)
        if weights is None:
            return None
        if isinstance(dataset, PhotoDataset):
            dataset.need_training("what is measured on a run needs its training photographs' mean")
        if dataset.identity.sha256 != origin.dataset.get("sha256"):
            raise DataError(
                f"{run.id} was trained on another copy of {run.dataset} than the one here"
            )
        return load_subject(run, weights, self.sources.backend(origin.precision), self.sources)

    def _origin(self, subject: Subject, processes: int = 1) -> Origin:
        return self._origin_of(subject.backend, processes)

    def _origin_of(self, backend: Backend, processes: int = 1) -> Origin:
        return origin_here(backend, self.sources.options.command, processes)

    def _test_inputs(self, subject: Subject) -> Iterator[Tensor]:
        """The test part's inputs. Raises Stopped when it is time to stop."""
        for batch in subject.feed.part("test"):
            if self.sources.should_stop():
                raise Stopped
            yield batch.inputs

    def _test_labels(self, run: Run) -> Tensor:
        dataset: Dataset | PhotoDataset = self.sources.dataset(run.dataset)
        if isinstance(dataset, PhotoDataset):
            return torch.from_numpy(dataset.test.labels)
        return torch.from_numpy(dataset.test_labels)


def _errors(scores: Tensor, labels: Tensor) -> tuple[float, float]:
    """(top-1, top-5) in percent, without the noise of binary fractions."""
    top1, top5 = topk_errors(scores, labels)
    return round(top1, 9), round(top5, 9)
