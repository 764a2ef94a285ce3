"""Testing runs on views of their photographs, and ensembles, which average the runs' scores."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from resnet_repro.base import provenance
from resnet_repro.base.files import write_atomically
from resnet_repro.base.plain_text import plural
from resnet_repro.data.dataset import Dataset, Identity
from resnet_repro.data.npz import read_npz
from resnet_repro.data.photos.photos import PhotoDataset
from resnet_repro.measure.views import row_of, topk_errors
from resnet_repro.runner.scores import score_together
from resnet_repro.runner.sources import Sources
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.measurements import MEASUREMENTS, EvaluationRow
from resnet_repro.spec.tables_figures import Views
from resnet_repro.store.checksums import measured_sums
from resnet_repro.store.models import EnsembleResult
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.store.store import Store
from resnet_repro.store.stored_run import StoredRun, trained_since
from resnet_repro.store.tables import table_text
from resnet_repro.training.device import Backend, origin_here
from resnet_repro.training.subject import Subject

__all__ = ["is_known", "measure_ensemble", "measure_views", "read_scores", "write_scores"]


def measure_views(
    subject: Subject,
    folder: RunFolder,
    views: Views,
    sources: Sources,
    news: Callable[[str], None],
) -> str:
    """Test a run on views of the photographs, and store errors and scores; returns a message.

    Raises:
        DataError: a photograph cannot be decoded.
        Stopped: it was time to stop.
        StoreError: the results cannot be written.
    """
    found = score_together(subject, views, sources, news)
    identity, labels = subject.feed.identity, _test_labels(sources, subject.run.dataset)
    averaged = subject.run.recipe.bn_average_iterations > 0
    row = row_of(views, found, labels, "average" if averaged else "running", identity)
    origin = origin_here(subject.backend, sources.options.command, sources.processes.count)
    folder.write_measured(MEASUREMENTS[views].table, [row], origin)
    write_scores(folder, row, found)
    return f"{views}: top-1 error {row.top1_error:.2f}%, top-5 error {row.top5_error:.2f}%"


def write_scores(folder: RunFolder, row: EvaluationRow, found: Tensor) -> None:
    """Keep the scores [N, classes] that gave a row of a run's errors, in half precision.

    Raises:
        StoreError: they cannot be written.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, scores=found.half().numpy(), evaluation=np.array(_sum(row)))
    write_atomically(folder.scores(row.views), buffer.getvalue())


def read_scores(stored: StoredRun, views: str, dataset_sha256: str | None = None) -> Tensor | None:
    """Scores float32 [N, classes] that gave a run's stored errors; None if they are not here.

    They may be of another training of the run: its errors travel with git, scores do not. With
    `dataset_sha256`, also None if they are of other data.
    """
    row = next((row for row in stored.rows(MEASUREMENTS[views].table) if row.views == views), None)
    arrays = read_npz(stored.folder.scores(views)) or {}  # missing, torn or foreign: made anew
    found = arrays.get("scores")
    if row is None or found is None or str(arrays.get("evaluation")) != _sum(row):
        return None
    if dataset_sha256 not in (None, row.dataset_sha256):
        return None
    fits = found.ndim == 2 and len(found) == row.images and found.dtype == np.float16
    return torch.from_numpy(found).float() if fits else None


def _sum(row: EvaluationRow) -> str:
    """SHA-256 of a row, as `measurements.json` has it."""
    table = MEASUREMENTS[row.views].table
    return dict(measured_sums(table, table_text(table, [row])))[row.views]


def is_known(experiment: Experiment, views: Views, store: Store) -> bool:
    """Whether an experiment's ensemble was measured after the last of its members was trained."""
    trained = [store.get(run) for run in experiment.ensemble_members]
    own = experiment.name, tuple(stored.id for stored in trained), views
    return any(
        (result.experiment, result.members, result.views) == own
        and not trained_since(trained, result.measured)
        for result in store.records(EnsembleResult)
    )


def measure_ensemble(
    experiment: Experiment, views: Views, store: Store, sources: Sources
) -> tuple[str, list[str]]:
    """Average the scores of an ensemble's members (Table 5), if all have some.

    Returns a message, and the ids of members that are trained and have no scores of these data.

    Raises:
        DataError: the data set is not there.
        Stopped: it was time to stop before it was looked through.
        StoreError: the result cannot be written.
    """
    members = [store.get(run) for run in experiment.ensemble_members]
    unfinished = [stored.id for stored in members if not stored.finished]
    unscored: list[str] = []
    found: list[Tensor] = []
    if not unfinished:
        dataset = experiment.ensemble_members[0].dataset
        identity, labels = sources.dataset(dataset).identity, _test_labels(sources, dataset)
        for run, stored in zip(experiment.ensemble_members, members, strict=True):
            scores = read_scores(stored, views, identity.sha256)
            if scores is None:
                unscored.append(run.id)
            else:
                found.append(scores)
    if lacking := unfinished + unscored:
        return f"no ensemble yet, {lacking[0]} lacks {views}", unscored
    result = _averaged(experiment, members, found, labels, identity, sources.options.command)
    others = (e for e in store.records(EnsembleResult) if e.file_name == result.file_name)
    larger = [
        other
        for other in others
        if len(other.members) > len(members)
        and not trained_since(map(store.named, other.members), other.measured)  # shown nowhere
    ]
    if not larger:
        store.write_record(result)
    kept = f"; not stored beside the one of {len(larger[0].members)}" if larger else ""
    errors = f"top-1 error {result.top1_error:.2f}%, top-5 error {result.top5_error:.2f}%"
    return f"{plural(len(members), 'network')} together, {views}: {errors}{kept}", []


def _averaged(
    experiment: Experiment,
    members: Sequence[StoredRun],
    scores: Sequence[Tensor],
    labels: Tensor,
    identity: Identity,
    command: str,
) -> EnsembleResult:
    """The errors of the average of the members' scores, [N, classes] each, in their order."""
    assert experiment.ensemble is not None, "the experiment names one"
    runs = experiment.ensemble_members
    top1, top5 = topk_errors(torch.stack(list(scores)).mean(dim=0), labels)
    presets: set[Any] = {run.preset for run in runs}
    origin = origin_here(Backend(torch.device("cpu"), "fp32"), command)
    return EnsembleResult(
        experiment=experiment.name,
        preset=presets.pop() if len(presets) == 1 else "custom",
        dataset=runs[0].dataset,
        members=tuple(stored.id for stored in members),
        views=experiment.ensemble.views,
        top1_error=top1,
        top5_error=top5,
        images=len(labels),
        data=identity.to_dict(),
        code=origin.code,
        dirty=origin.dirty,
        command=origin.command,
        measured=provenance.utc_now(),
        origin=origin,
    )


def _test_labels(sources: Sources, name: str) -> Tensor:
    dataset = sources.dataset(name)
    if isinstance(dataset, PhotoDataset):
        return torch.from_numpy(dataset.test.labels)
    assert isinstance(dataset, Dataset), "of detectors there are no scores"
    return torch.from_numpy(dataset.test_labels)
