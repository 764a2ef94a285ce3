"""The quantities that claims speak of, each as one number per finished run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, median

from resnet_repro.paper import Quantity
from resnet_repro.spec import Views
from resnet_repro.store import EvaluationRow, GradientRow, StoredRun

__all__ = ["UNITS", "by_iteration", "evaluation", "measure"]

UNITS: dict[Quantity, str] = {
    "gradient_vanishing": " powers of ten",
    "gradient_spread": " powers of ten",
    "initial_gradient_spread": " powers of ten",
}
EARLY = 0.25  # of the iterations
MOST_DECADES = 99.0  # stands for a norm that is zero, infinite or not a number


def measure(quantity: Quantity, run: StoredRun) -> float | None:
    """A claim's quantity on one run, or None where it was not measured.

    Raises:
        StoreError: what was measured cannot be read.
    """
    if run.summary is None:
        return None
    match quantity:
        case "final_test_error":
            return run.summary.final_test_error
        case "final_train_error":
            return run.summary.final_train_error
        case "mean_response":
            rows = run.responses()
            return fmean(std for _, _, std in rows) if rows else None
        case (
            "weakest_signal" | "gradient_vanishing" | "gradient_spread" | "initial_gradient_spread"
        ):
            return _of_gradients(quantity, run)
        case "ten_crop_error":
            return _top1(run, "10-crop")
        case "multi_scale_error":
            return _top1(run, "multi-scale")
        case "early_error":
            return _early_error(run)


def evaluation(run: StoredRun, views: Views) -> EvaluationRow | None:
    """What was measured from such views on the data set that the run was trained on, or None.

    Raises:
        StoreError: what was measured cannot be read.
    """
    trained_on = run.summary.provenance.dataset.get("sha256") if run.summary else None
    rows = [r for r in run.evaluations() if r.views == views and r.dataset_sha256 == trained_on]
    return rows[0] if rows else None


def _top1(run: StoredRun, views: Views) -> float | None:
    row = evaluation(run, views)
    return row.top1_error if row else None


def _early_error(run: StoredRun) -> float | None:
    """The training error while it is high: which network gets down faster?"""
    last = run.summary.iterations if run.summary else 0
    early = [r.train_error for r in run.curve() if r.iteration <= EARLY * last]
    return fmean(early) if early else None


def by_iteration(rows: Iterable[GradientRow]) -> dict[int, list[GradientRow]]:
    """The layers in order, for each iteration at which they were measured, in order."""
    found: dict[int, list[GradientRow]] = {}
    for row in sorted(rows, key=lambda row: (row.iteration, row.layer)):
        found.setdefault(row.iteration, []).append(row)
    return found


def _of_gradients(quantity: Quantity, run: StoredRun) -> float | None:
    """A number from what was measured at the start of a training and at every point of its curve.

    What only the start and the end are known of, as where they were measured afterwards, has a
    number at initialisation alone: its worst moment may lie between.
    """
    rows = run.gradients()
    moments = by_iteration(rows)
    if quantity == "initial_gradient_spread":
        return _spread(moments[0]) if 0 in moments else None
    points = {row.iteration for row in run.curve()}
    if not points or not {0, *points} <= moments.keys():
        return None
    if quantity == "weakest_signal":
        return min(row.forward_std if math.isfinite(row.forward_std) else 0.0 for row in rows)
    if quantity == "gradient_vanishing":
        return max(_vanishing(layers) for layers in moments.values())
    return median(_spread(layers) for iteration, layers in moments.items() if iteration)


def _vanishing(layers: Sequence[GradientRow]) -> float:
    """By how many powers of ten the smallest gradient is below that of the last layer."""
    return max(_decades(layers[-1].gradient_norm, row.gradient_norm) for row in layers)


def _spread(layers: Sequence[GradientRow]) -> float:
    """By how many powers of ten the layers' gradients differ."""
    norms = [row.gradient_norm for row in layers]
    if not all(map(math.isfinite, norms)):
        return MOST_DECADES
    return _decades(max(norms), min(norms))


def _decades(high: float, low: float) -> float:
    if not (math.isfinite(high) and math.isfinite(low) and high > 0 and low > 0):
        return MOST_DECADES
    return math.log10(high / low)
