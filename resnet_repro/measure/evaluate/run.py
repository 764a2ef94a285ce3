"""Testing a run: the weights of its checkpoint on its own data set."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resnet_repro.base.errors import ConfigError, DataError, StoreError
from resnet_repro.data.photos.photos import PhotoDataset
from resnet_repro.measure.evaluate.evaluation import (
    Evaluation,
    Request,
    evaluation_memory_advice,
    keep_measured,
)
from resnet_repro.measure.scores import store_views
from resnet_repro.measure.views import row_of, scores_of
from resnet_repro.spec.dataset_names import DatasetChoice
from resnet_repro.spec.measurements import BnStatistics, EvaluationRow
from resnet_repro.spec.run import Run
from resnet_repro.spec.tables_figures import Views
from resnet_repro.store.stored_run import StoredRun
from resnet_repro.training.checkpoint import (
    OTHER_TRAINING,
    CheckpointError,
    is_final,
    matches_result,
    newest_state,
    weights_missing,
)
from resnet_repro.training.device import Backend, choose_backend, origin_here
from resnet_repro.training.evaluate import image_scores
from resnet_repro.training.feed import make_feed
from resnet_repro.training.memory import enough_memory
from resnet_repro.training.photo_feed import PhotoFeed
from resnet_repro.training.subject import Subject, trained_network

__all__ = ["configuration_of", "evaluate_run", "network_of", "newest_weights", "what_differs"]


def evaluate_run(
    stored: StoredRun, request: Request, choice: DatasetChoice | None = None
) -> Evaluation:
    """Measure a run's errors; those of a finished run on photographs are stored with it.

    Raises:
        ConfigError: views that the run's images do not have, or another data set than the run's.
        StoreError: the weights are not here.
        DataError: the data set is missing, or is not the copy that the run was trained on.
        Stopped: `request.should_stop` said so, before any views were done.
    """
    run = configuration_of(stored)
    _check(stored.id, run, request, choice)
    state, reasons = newest_weights(stored, run)
    dataset = request.load(run.dataset, choice)
    if isinstance(dataset, PhotoDataset):
        dataset.need_training("a run's test needs the mean of its training photographs")
    if state.get("data", dataset.identity.sha256) != dataset.identity.sha256:
        raise DataError(
            f"{stored.id} was trained on another copy of {run.dataset} than the one here"
        )
    backend = choose_backend(request.device, request.precision or state["precision"])
    origin = origin_here(backend, request.command)
    unstored = _why_not_stored(stored, run, state, backend)
    averaged = run.recipe.bn_average_iterations > 0 and is_final(run, state)
    bn: BnStatistics = "average" if averaged else "running"
    rows: list[EvaluationRow] = []
    path: Path | None = None
    with (
        keep_measured(rows) as failures,
        ExitStack() as held,
        enough_memory(lambda: evaluation_memory_advice(backend, state["precision"])),
    ):
        unstored = unstored or _why_not_locked(stored, held)
        if not unstored:  # until now another process could train it anew
            state, reasons = newest_weights(stored, run)
            unstored = _why_not_stored(stored, run, state, backend)
        feed = make_feed(
            run, dataset, backend, data_dir=request.data_dir, should_stop=request.should_stop
        )
        network = network_of(stored, run, state, feed.classes, backend)
        subject = Subject(run, network, feed, backend)
        for views in request.views:
            found, labels = _scores(subject, views, request)
            rows.append(row_of(views, found, labels, bn, dataset.identity))
            if not unstored:
                store_views(stored.folder, rows[-1], found, origin)
                path = stored.folder.evaluations
    return Evaluation(
        network=run.network,
        what=stored.id,
        rows=tuple(rows),
        identity=dataset.identity,
        origin=origin,
        input=f"0 to 255, minus the {subject.labelled.normalisation['kind']}, as in its training",
        notes=tuple(filter(None, (dataset.identity.note, *reasons, unstored))),
        stored=path,
        failures=failures,
    )


def _check(name: str, run: Run, request: Request, choice: DatasetChoice | None) -> None:
    if run.recipe.detection is not None:
        raise ConfigError(
            f"{name} is a detector, of which `resnet-repro run` measures average precision; "
            "on pictures of yours: resnet-repro detect"
        )
    if choice and choice.name != run.dataset:
        raise ConfigError(
            f"{name} is tested on {run.dataset}, on which it was trained; "
            "for a run, --dataset only says where the folder of folder:PATH is"
        )
    if run.recipe.photographs is None and set(request.views) != {"centre"}:
        raise ConfigError(
            f"{name} is of the CIFAR family, which is tested on the single original view: --crops 1"
        )


def configuration_of(stored: StoredRun) -> Run:
    """The configuration of a run.

    Raises:
        StoreError: it is not here, or unusable.
    """
    if stored.run is None:
        raise StoreError(f"{stored.id}: {stored.problem or 'its config.yaml is not here'}")
    return stored.run


def newest_weights(stored: StoredRun, run: Run) -> tuple[dict[str, Any], list[str]]:
    """The state in the newest usable checkpoint of a run, and notes on newer ones.

    Raises:
        StoreError: there is none.
    """
    state, reasons = newest_state(run, stored.folder.checkpoints())
    if state is not None:
        return state, [f"not used: {reason}" for reason in reasons]
    raise StoreError(f"{stored.id}: {weights_missing(stored, reasons)}")


def network_of(
    stored: StoredRun, run: Run, state: dict[str, Any], classes: int, backend: Backend
) -> nn.Module:
    """The network of a run with the weights of a checkpoint's state, on the backend's device.

    Raises:
        StoreError: they are not of such a network.
    """
    try:
        return trained_network(run, state["network"], classes, backend)
    except CheckpointError as error:
        reason = f"its checkpoint {error}"
        raise StoreError(f"{stored.id}: {weights_missing(stored, [reason])}") from error


def what_differs(stored: StoredRun, run: Run, state: dict[str, Any]) -> str | None:
    """What tells a state's weights from those of the run's final result; None if nothing does."""
    if not (stored.finished and is_final(run, state)):
        done = f"{state['iteration']:,} of {run.recipe.iterations:,} iterations"
        return f"the run is {stored.state}, its weights here are those after {done}"
    if not matches_result(stored, state["points"], state["precision"]):
        return OTHER_TRAINING
    return None


def _why_not_stored(
    stored: StoredRun, run: Run, state: dict[str, Any], backend: Backend
) -> str | None:
    """Why the results folder should not have what is measured now; None if it should."""
    if different := what_differs(stored, run, state):
        return f"not stored: {different}"
    if backend.precision != state["precision"]:
        return f"not stored: the run was trained in {state['precision']}"
    if run.recipe.photographs is None:
        return "not stored: it is in the run's curve already"
    return None


def _why_not_locked(stored: StoredRun, held: ExitStack) -> str | None:
    """Why the run's lock is not held now; None if it is, until `held` is closed."""
    try:
        there = held.enter_context(stored.folder.locked())
    except StoreError as error:
        return f"not stored: {error}"
    return None if there else "not stored: another process is at work on the run"


def _scores(subject: Subject, views: Views, request: Request) -> tuple[Tensor, Tensor]:
    """(scores [N, classes], labels [N]) of the test part, on the CPU."""
    feed, stop = subject.labelled, request.should_stop
    if not isinstance(feed, PhotoFeed):
        return image_scores(subject.network, feed.part("test"), subject.backend, stop)
    found = scores_of(subject, views, stop, request.progress_of(views))
    return found, torch.from_numpy(feed.dataset.test.labels)
