"""Straight lines between the weights of two runs: where they end, and which are refused."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_repro.base.errors import ConfigError
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.run import Run
from resnet_repro.spec.surface import PathSettings
from resnet_repro.store.store import Store
from resnet_repro.store.stored_run import StoredRun, trained_since
from resnet_repro.store.target import find_target

__all__ = ["check_paths", "other_end_moved", "other_run"]

# Fields of a recipe that decide what a network computes with its weights, and of which images.
SAME = ("zero_channels", "bn_epsilon", "image_size", "validation_images")


def check_paths(experiments: Sequence[Experiment], store: Store) -> None:
    """Refuse lines that cannot be measured before anything is trained for them.

    Raises:
        ConfigError: a line's other end is no run, not one of the same network and data, or neither
            among the runs of the experiments nor in the results folder with its weights.
        StoreError: the results folder cannot be read.
    """
    lines = [(e, settings) for e in experiments if (settings := e.settings_of("path"))]
    runs = [run for experiment in experiments for run in experiment.resolve()] if lines else []
    coming = {run.id: store.get(run) for run in runs}
    for experiment, settings in lines:
        seeds = {*settings.seeds, *(run.seed for run in experiment.measured_runs)}
        as_well = f"train that as well (--seeds {','.join(map(str, sorted(seeds)))})"
        for run in experiment.measured_runs:
            other, stored = other_run(run, settings, store, list(coming.values())), coming[run.id]
            rows, end = stored.rows("path"), store.get(other)
            measured = settings.measured_in(rows, run.seed, stored.training_images)
            here = other.id in coming or (end.state == "done" and end.folder.checkpoints())
            if not (measured or here):
                raise ConfigError(
                    f"the line of {run.id} ends at {other.id}, which is not among these runs and "
                    f"whose weights are not here: {'train it first' if settings.to else as_well}"
                )


def other_run(
    run: Run, settings: PathSettings, store: Store, coming: Sequence[StoredRun] = ()
) -> Run:
    """The run at the other end of a line, which may be among those `coming`.

    Raises:
        ConfigError: it is no run, the same run, or one of another network or data set, or its
            weights are used otherwise.
        StoreError: the results folder cannot be read.
    """
    other: Run | None = run.model_copy(update={"seed": settings.other_seed(run.seed)})
    if settings.to:
        found = find_target(settings.to, store, coming)
        other = found.run if isinstance(found, StoredRun) else None
    if other is None or (settings.to and not other.id.startswith(settings.to)):
        raise ConfigError("path.to: should be a run's id, or the beginning of one")
    if other.id == run.id or (other.network, other.dataset) != (run.network, run.dataset):
        raise ConfigError(
            f"path.to: {other.id} should be another run of {run.network} on {run.dataset}"
        )
    different = [f"recipe.{f}" for f in SAME if getattr(run.recipe, f) != getattr(other.recipe, f)]
    if different:
        raise ConfigError(
            f"path.to: {other.id} differs from {run.id} in {' and '.join(different)}; on a line "
            "only weights differ"
        )
    return other


def other_end_moved(store: Store, stored: StoredRun) -> bool:
    """Whether the run at the other end of a measured line was trained again since."""
    origin = stored.origins.get("path")
    runs = [store.named(name) for name in {row.to for row in stored.rows("path")}]
    return origin is not None and trained_since(runs, origin.measured)
