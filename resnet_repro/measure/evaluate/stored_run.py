"""Testing a run: the weights of its checkpoint, on the data set that it was trained on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from resnet_repro.base.errors import ConfigError, DataError, StoreError
from resnet_repro.base.files import read_regular
from resnet_repro.data.photos.photos import PhotoDataset
from resnet_repro.measure.evaluate.options import Options
from resnet_repro.measure.evaluate.outcome import Outcome, explained, row_of
from resnet_repro.measure.origin import origin_here
from resnet_repro.measure.views import scores
from resnet_repro.spec.dataset_names import DatasetChoice
from resnet_repro.spec.measurements import BatchNorm, EvaluationRow
from resnet_repro.spec.run import Run
from resnet_repro.spec.shows import Views
from resnet_repro.store.stored_run import StoredRun
from resnet_repro.training.backend import Backend
from resnet_repro.training.building import build_for
from resnet_repro.training.checkpoint import LARGEST_CHECKPOINT, CheckpointError, unpack
from resnet_repro.training.device import choose_backend
from resnet_repro.training.evaluate import image_scores
from resnet_repro.training.feed import Feed
from resnet_repro.training.feeds import make_feed
from resnet_repro.training.photo_feed import PhotoFeed

__all__ = ["evaluate_run"]


def evaluate_run(
    stored: StoredRun, options: Options, choice: DatasetChoice | None = None
) -> Outcome:
    """Measure a run's errors; those of a finished run on photographs are stored with it.

    Args:
        stored: the run. Its checkpoint and its configuration have to be there.
        options: which views, and how.
        choice: where its data set is, if the command line says so.

    Raises:
        ConfigError: views that the run's images do not have, or another data set than the run's.
        StoreError: the weights are not here, or the results cannot be written.
        DataError: the data set is missing, or is not the copy that the run was trained on.
        Stopped: `options.should_stop` said so; what was measured before is stored.
    """
    run = stored.run
    if run is None:
        raise StoreError(f"{stored.id}: {stored.problem or 'its config.yaml is not here'}")
    _check(run, options, choice)
    state = _newest_state(stored, run)
    dataset = options.load(run.dataset, choice)
    if isinstance(dataset, PhotoDataset):
        dataset.need_training("a run's test needs the mean of its training photographs")
    if state.get("data", dataset.identity.sha256) != dataset.identity.sha256:
        raise DataError(f"{run.id} was trained on another copy of {run.dataset} than the one here")
    precision = options.precision or state["precision"]
    backend = choose_backend(options.device, precision)
    unstored = _why_not_stored(stored, run, state, backend)
    averaged = bool(run.recipe.bn_average_iterations) and _at_the_end(run, state)
    rows: list[EvaluationRow] = []
    with explained(str(backend.device)):
        feed = make_feed(
            run, dataset, backend, data_dir=options.data_dir, should_stop=options.should_stop
        )
        network = _network(run, state, feed.classes, backend)
        for views in options.views:
            found, labels = _scores(network, feed, views, backend, options)
            bn: BatchNorm = "average" if averaged else "running"
            rows.append(row_of(views, found, labels, bn, dataset.identity))
            if not unstored:
                stored.folder.write_measured(
                    "evaluations", rows[-1:], origin_here(backend, options.command)
                )
    return Outcome(
        network=run.network,
        what=run.id,
        rows=tuple(rows),
        identity=dataset.identity,
        precision=backend.precision,
        input=f"0 to 255, minus the {feed.normalisation['kind']}, as in its training",
        notes=tuple(filter(None, (dataset.identity.note, unstored))),
        stored=None if unstored else stored.folder.evaluations,
    )


def _check(run: Run, options: Options, choice: DatasetChoice | None) -> None:
    if choice and choice.name != run.dataset:
        raise ConfigError(
            f"{run.id} is tested on {run.dataset}, on which it was trained; "
            "for a run, --dataset only says where the folder of folder:PATH is"
        )
    if run.recipe.photographs is None and set(options.views) != {"centre"}:
        raise ConfigError(
            f"{run.id} is of 32x32 images, which are tested on the single original view: --crops 1"
        )


def _newest_state(stored: StoredRun, run: Run) -> dict[str, Any]:
    """The state in the newest checkpoint that can be read.

    Raises:
        StoreError: there is none.
    """
    reasons = []
    for path in stored.folder.checkpoints():
        try:
            state = unpack(read_regular(path, LARGEST_CHECKPOINT))
            if state["run"] != run.id:
                raise CheckpointError("of another run")
            _ = int(state["iteration"]), str(state["precision"])
        except (CheckpointError, LookupError, TypeError, ValueError) as error:
            reasons.append(f"{path.name} is {error}")
        except OSError as error:
            reasons.append(f"{path.name} cannot be read: {error.strerror}")
        else:
            return state
    raise StoreError(
        f"{run.id}: its weights are not here ({'; '.join(reasons) or 'there is no checkpoint'}); "
        "bring its checkpoint from where it was trained, or train it again"
    )


def _at_the_end(run: Run, state: dict[str, Any]) -> bool:
    return bool(state["iteration"] == run.recipe.iterations)


def _why_not_stored(
    stored: StoredRun, run: Run, state: dict[str, Any], backend: Backend
) -> str | None:
    """Why the results folder should not have what is measured now; None if it should."""
    if not (stored.finished and _at_the_end(run, state)):
        done = f"{state['iteration']:,} of {run.recipe.iterations:,} iterations"
        return f"not stored: the run is {stored.state} after {done}"
    if backend.precision != state["precision"]:
        return f"not stored: the run was trained in {state['precision']}"
    if run.recipe.photographs is None:
        return "not stored: the curve has the error of 32x32 images already"
    return None


def _network(run: Run, state: dict[str, Any], classes: int, backend: Backend) -> nn.Module:
    network = build_for(run, classes)
    try:
        network.load_state_dict(state["network"])
    except (LookupError, TypeError, RuntimeError, AttributeError) as error:
        raise StoreError(f"{run.id}: its checkpoint does not fit its configuration") from error
    return network.eval().to(backend.device).to(memory_format=torch.channels_last)


def _scores(
    network: nn.Module, feed: Feed, views: Views, backend: Backend, options: Options
) -> tuple[Tensor, Tensor]:
    """(scores [N, classes], labels [N]) of the test part, on the CPU."""
    if not isinstance(feed, PhotoFeed):
        return image_scores(network, feed.part("test"), backend, options.should_stop)
    found = scores(
        network,
        feed.dataset.test,
        views,
        feed.photographs,
        feed.mean,
        backend,
        options.should_stop,
        on_progress=options.progress_of(views),
    )
    return found, torch.from_numpy(feed.dataset.test.labels)
