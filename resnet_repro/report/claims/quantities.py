"""The quantities that claims speak of, each as one number per finished run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean, median

from resnet_repro.paper.claims import Quantity
from resnet_repro.spec.measurements import EvaluationRow, GradientRow
from resnet_repro.spec.shows import Views
from resnet_repro.store.stored_run import StoredRun

__all__ = ["UNITS", "by_iteration", "evaluation", "measure", "share_above"]

UNITS: dict[Quantity, str] = {
    "gradient_vanishing": " powers of ten",
    "gradient_spread": " powers of ten",
    "initial_gradient_spread": " powers of ten",
    "signal_vanishing": " powers of ten",
    "signal_spread": " powers of ten",
    "initial_signal_spread": " powers of ten",
    "epochs_to_start": " epochs",
}
Moments = Mapping[int, Sequence[GradientRow]]  # iteration -> its layers, in order
Norms = Callable[[Sequence[GradientRow]], list[float]]
EARLY = 0.25  # of the iterations
BEGINNING = 0.05  # of the iterations, which say nothing of two curves that are near chance
STARTED = 90.0  # percent: a training error below it is better than chance on ten classes
NEVER = 1e6  # epochs: stands for a training error that never fell below chance
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
        case "weakest_signal":
            return _of_gradients(run, _weakest)
        case "gradient_vanishing":
            return _of_gradients(run, lambda moments: _vanishing(moments, _gradient_norms))
        case "gradient_spread":
            return _of_gradients(run, lambda moments: _median_spread(moments, _gradient_norms))
        case "initial_gradient_spread":
            return _initially(run, _gradient_norms)
        case "signal_vanishing":
            return _of_gradients(run, lambda moments: _vanishing(moments, _signal_norms))
        case "signal_spread":
            return _of_gradients(run, lambda moments: _median_spread(moments, _signal_norms))
        case "initial_signal_spread":
            return _initially(run, _signal_norms)
        case "ten_crop_error":
            return _top1(run, "10-crop")
        case "multi_scale_error":
            return _top1(run, "multi-scale")
        case "early_error":
            return _early_error(run)
        case "epochs_to_start":
            started = (row.epoch for row in run.curve() if row.train_error < STARTED)
            return next(started, NEVER) if run.curve() else None
        case "train_error_along" | "parameters" | "multiply_adds" | "ensemble_top5_error":
            return None  # not one number per run


def share_above(lower: Sequence[StoredRun], upper: Sequence[StoredRun]) -> dict[int, float]:
    """For each seed that both have: at how many points the second's training error is higher.

    In percent of the points that both curves have after the beginning.

    Raises:
        StoreError: a curve cannot be read.
    """
    seeds = {run.summary.seed: run for run in lower if run.summary}
    shares = {}
    for run in upper:
        other = seeds.get(run.summary.seed) if run.summary else None
        if other is None or run.summary is None:
            continue
        below = {row.iteration: row.train_error for row in other.curve()}
        first = BEGINNING * run.summary.iterations
        points = [r for r in run.curve() if r.iteration > first and r.iteration in below]
        if points:
            above = sum(row.train_error > below[row.iteration] for row in points)
            shares[run.summary.seed] = 100.0 * above / len(points)
    return shares


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


def _of_gradients(run: StoredRun, number: Callable[[Moments], float | None]) -> float | None:
    """A number from what was measured at the start of a training and at every point of its curve.

    What only the start and the end are known of, as where they were measured afterwards, has none:
    its worst moment may lie between.
    """
    moments = by_iteration(run.gradients())
    points = {row.iteration for row in run.curve()}
    return number(moments) if points and {0, *points} <= moments.keys() else None


def _initially(run: StoredRun, norms: Norms) -> float | None:
    first = norms(by_iteration(run.gradients()).get(0, []))
    return _spread(first) if first else None


def _gradient_norms(layers: Sequence[GradientRow]) -> list[float]:
    return [row.gradient_norm for row in layers]


def _signal_norms(layers: Sequence[GradientRow]) -> list[float]:
    """The norms of the gradients in the layers' outputs; empty where one was not measured."""
    norms = [row.signal_norm for row in layers if row.signal_norm is not None]
    return norms if len(norms) == len(layers) else []


def _weakest(moments: Moments) -> float:
    stds = [row.forward_std for layers in moments.values() for row in layers]
    return min(std if math.isfinite(std) else 0.0 for std in stds)


def _vanishing(moments: Moments, norms: Norms) -> float | None:
    """By how many powers of ten the smallest norm is below the last layer's, at worst."""
    found = [norms(layers) for layers in moments.values()]
    if not all(found):
        return None
    return max(_decades(layers[-1], norm) for layers in found for norm in layers)


def _median_spread(moments: Moments, norms: Norms) -> float | None:
    """By how many powers of ten the layers' norms differ: the median after initialisation."""
    found = [norms(layers) for iteration, layers in moments.items() if iteration]
    return median(map(_spread, found)) if all(found) else None


def _spread(norms: Sequence[float]) -> float:
    """By how many powers of ten these norms differ."""
    return _decades(max(norms), min(norms)) if all(map(math.isfinite, norms)) else MOST_DECADES


def _decades(high: float, low: float) -> float:
    if not (math.isfinite(high) and math.isfinite(low) and high > 0 and low > 0):
        return MOST_DECADES
    return math.log10(high / low)
