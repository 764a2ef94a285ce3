"""Whether finished runs have what an experiment measures on them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.measurements import MEASUREMENTS, WITH_COCO, PrecisionRow
from resnet_repro.store.lines import other_end_moved
from resnet_repro.store.models import EnsembleResult
from resnet_repro.store.store import Store
from resnet_repro.store.stored_run import StoredRun, trained_since

__all__ = ["has_coco_numbers", "is_averaged", "is_measured"]


def is_measured(store: Store, stored: StoredRun, name: str, settings: Any) -> bool:
    """Whether a run has one of `MEASUREMENTS`, with an experiment's settings of it.

    One whose origin is lost (a crash came before it was written) is to be made again.
    """
    if stored.run is None or not stored.has(name):
        return False
    if name != "gradients" and name not in stored.origins:  # those are mostly the training's own
        return False
    rows = stored.rows(MEASUREMENTS[name].table)
    if settings == WITH_COCO:
        return has_coco_numbers(rows)
    if settings is not None:
        whole = settings.measured_in(rows, stored.run.seed, stored.training_images)
        return bool(whole) and not (name == "path" and other_end_moved(store, stored))
    if name == "gradients":
        return {0, stored.run.recipe.iterations} <= {row.iteration for row in rows}
    return True


def is_averaged(store: Store, experiment: Experiment) -> bool:
    """Whether its ensemble, if it has one, was measured after all members were trained."""
    if experiment.ensemble is None:
        return True
    trained = [store.get(run) for run in experiment.ensemble_members]
    own = experiment.name, tuple(stored.id for stored in trained), experiment.ensemble.views
    return any(
        (result.experiment, result.members, result.views) == own
        and not trained_since(trained, result.measured)
        for result in store.records(EnsembleResult)
    )


def has_coco_numbers(rows: Sequence[PrecisionRow]) -> bool:
    """Whether a detector's average precision has COCO's numbers, or cannot have them here."""
    if not importlib.util.find_spec("pycocotools"):
        return bool(rows)
    some = [row for row in rows if row.objects]
    return bool(rows) and (not some or any(row.coco_ap is not None for row in some))
