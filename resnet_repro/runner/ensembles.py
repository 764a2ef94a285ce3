"""Ensembles, which average the scores of several runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from resnet_repro.base import provenance
from resnet_repro.base.plain_text import plural
from resnet_repro.data.dataset import Dataset, Identity
from resnet_repro.data.photos.photos import PhotoDataset
from resnet_repro.measure.scores import read_scores
from resnet_repro.measure.views import topk_errors
from resnet_repro.runner.sources import Sources
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.tables_figures import Views
from resnet_repro.store.models import EnsembleResult
from resnet_repro.store.store import Store
from resnet_repro.store.stored_run import StoredRun, trained_since
from resnet_repro.training.device import Backend, origin_here

__all__ = ["measure_ensemble"]


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
