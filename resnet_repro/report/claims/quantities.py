"""What claims speak of, computed.

The quantities of `paper/quantities.py` from the results, one number per run; the counts of
`paper/exact.py` from the networks' outlines.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from statistics import fmean
from typing import Literal, TypeAlias

import numpy as np
import pandas as pd

from resnet_repro.networks.outline import Outline, outline
from resnet_repro.paper.quantities import FEWEST_PLANES, LARGEST_STEP, QUANTITIES
from resnet_repro.report.cells import Cell, is_coarse
from resnet_repro.report.groups import BegunRun
from resnet_repro.report.results import Results
from resnet_repro.report.surfaces import RISE, Surface, eigenvalue_ratio, surfaces_of
from resnet_repro.spec.dataset_names import DATASETS
from resnet_repro.store.stored_run import StoredRun

__all__ = ["TOGETHER", "classes_of", "comparable", "counts", "measured"]

Numbers: TypeAlias = "pd.Series[float]"  # by run id
Norm = Literal["gradient_norm", "signal_norm"]
EARLY = 0.25  # of the iterations
BEGINNING = 0.05  # of the iterations, at which both curves are near chance
CHANCE = 90.0  # percent: the error of guessing among ten classes
SURE = 4.0  # standard errors of a point's images below it: a network that guesses hardly ever is
SEVERAL, CLEARLY_MORE = 10.0, 11.0  # epochs: limit and margin of the claims about the start


@lru_cache(maxsize=64)  # several claims speak of it
def measured(results: Results, quantity: str) -> dict[str, float]:
    """Run id -> a claim's quantity, for the runs with that measurement.

    Infinite only where `QUANTITIES` says what that means.

    Raises:
        ValueError: the quantity is not one number per run.
    """
    numbers = _numbers(results, quantity).astype(float)
    found = numbers.dropna() if QUANTITIES[quantity].infinite else numbers[np.isfinite(numbers)]
    return dict(zip(map(str, found.index), found, strict=True))


def comparable(
    results: Results, quantity: str, cells: Iterable[Cell]
) -> tuple[dict[str, float], str]:
    """What was `measured` on the cells' runs in one way, and in which, where it can differ.

    Surfaces differ with their grid, eigenvalues with the images. Of several ways it is that of the
    most cells, then that of the most points or images.
    """
    numbers = {} if quantity in TOGETHER else measured(results, quantity)
    if (way_of := _WAYS.get(quantity)) is None:
        return numbers, ""
    known = [{r.id: way_of(r) for r in cell.done if r.id in numbers} for cell in cells]
    counts = Counter(way for ways in known for way in set(ways.values()))
    if not counts:
        return {}, ""
    chosen = max(counts, key=lambda way: (counts[way], way))
    runs = [run for ways in known for run, way in ways.items() if way == chosen]
    return {run: numbers[run] for run in runs}, f"measured {chosen[1]}"


def _numbers(results: Results, quantity: str) -> Numbers:
    norm: Norm = "signal_norm" if "signal" in quantity else "gradient_norm"
    match quantity:
        case "final_test_error" | "final_train_error":
            return results.runs[quantity]
        case "ten_crop_error":
            return results.evaluated("10-crop").top1_error
        case "multi_scale_error":
            return results.evaluated("multi-scale").top1_error
        case "mean_response":
            return results.frame("responses").groupby("run")["std"].mean()
        case "early_error":
            curves = _fine_curves(results)
            early = curves.iteration <= EARLY * curves.run.map(results.runs.iterations)
            return curves[early].groupby("run").train_error.mean()
        case "epochs_to_start":
            batch_sizes = {run.id: run.run.recipe.batch_size for run in results.begun}
            return _starts(results.frame("curve"), batch_sizes)
        case "weakest_signal":
            rows = _observed(results)
            return _finite(rows.forward_std).groupby(rows.run).min()
        case "gradient_vanishing" | "signal_vanishing":  # at the worst moment
            return _decades(_observed(results), norm, "last").groupby("run").max()
        case "gradient_spread" | "signal_spread":  # the median after initialisation
            rows = _observed(results)
            return _decades(rows[rows.iteration > 0], norm, "max").groupby("run").median()
        case "initial_gradient_spread" | "initial_signal_spread":
            rows = results.gradients
            return _decades(rows[rows.iteration == 0], norm, "max").groupby("run").max()
        case "convexity_violations":
            return _of_surfaces(results, lambda surface: surface.violations)
        case "contour_radius":
            return _of_surfaces(results, _valley_radius)
        case "voc_ap":
            return results.frame("average_precision").groupby("run").ap_11point.mean()
        case "eigenvalue_ratio":
            finished = [run for run in results.stored if run.finished]
            return pd.Series({run.id: eigenvalue_ratio(run) for run in finished}, dtype=float)
    raise ValueError(f"{quantity} is not one number per run")


def _fine_curves(results: Results) -> pd.DataFrame:
    """The curves whose points are as close as those of their presets."""
    curves = results.frame("curve")
    return curves[~curves.run.isin([run.id for run in results.begun if is_coarse(run)])]


def _starts(curves: pd.DataFrame, batch_sizes: dict[str, int]) -> Numbers:
    """The epoch at which each run's training error is first surely below chance; infinite if never.

    A point's error is over the images since the point before it: the fewer, the further below.
    None where that is clearly more than several epochs, and the point before it lies within them:
    points so far apart cannot tell on which side the start was.
    """
    iterations = curves.iteration.groupby(curves.run).diff().fillna(curves.iteration)
    images = iterations * curves.run.map(batch_sizes)
    below = CHANCE - SURE * (CHANCE * (100 - CHANCE) / images) ** 0.5
    started = curves.epoch.where(curves.train_error < below).astype(float)
    first = started.groupby(curves.run).first().fillna(math.inf)
    earlier = curves.epoch.where(curves.epoch < curves.run.map(first))
    before = earlier.groupby(curves.run).max().fillna(0.0)
    unknown = np.isfinite(first) & (first > CLEARLY_MORE) & (before < SEVERAL)
    return first.mask(unknown)


def _of_surfaces(results: Results, number: Callable[[Surface], float]) -> Numbers:
    """A number of the planes around each run's weights: the mean over seeds of directions."""
    measured = {
        run.id: [surface for surface in surfaces_of(run) if min(surface.loss.shape) > 1]
        for run in results.stored
        if run.finished
    }
    enough = {run: found for run, found in measured.items() if len(found) >= FEWEST_PLANES}
    means = {run: fmean(map(number, found)) for run, found in enough.items()}
    return pd.Series(means, dtype=float)


def _valley_radius(surface: Surface) -> float:
    """NaN where the grid is too coarse to tell, or ends before the contour is closed."""
    contour = surface.contour(surface.centre + RISE)
    known = surface.step <= LARGEST_STEP and contour.reached == 1
    return contour.radius if known else math.nan


def _grid(run: StoredRun) -> tuple[int, str]:
    """Forward passes of a run's surface, and its grid in words."""
    surface = surfaces_of(run)[0]
    return surface.loss.size * surface.images, f"at {surface.grid}"


def _images(run: StoredRun) -> tuple[int, str]:
    """The images over which the eigenvalues at a run's weights were measured."""
    images = next(row.images for row in run.rows("curvature") if row.alpha == row.beta == 0)
    return images, f"over {images:,} training images"


# How a run's number was measured, where that may differ between runs of the same protocol.
_WAYS: dict[str, Callable[[StoredRun], tuple[int, str]]] = {
    "convexity_violations": _grid,
    "contour_radius": _grid,
    "eigenvalue_ratio": _images,
}


def _shares_above(results: Results, cells: Sequence[Cell]) -> list[float]:
    """For each seed that both have, at how many points the second's training error is higher.

    In percent of the points that both curves have after the beginning; of two that were tested at
    other intervals there are none, as their errors are over other numbers of batches.
    """
    every = {run.id: run.run.recipe.evaluate_every for run in results.begun}
    runs = results.runs[["seed", "iterations"]]
    curves = _fine_curves(results).merge(runs, left_on="run", right_index=True)
    curves = curves[curves.iteration > BEGINNING * curves.iterations]
    curves = curves.assign(every=curves.run.map(every))
    low, high = (curves[curves.run.isin([run.id for run in cell.done])] for cell in cells)
    both = high.merge(low, on=["seed", "iteration", "every"], suffixes=("_high", "_low"))
    above = both.train_error_high > both.train_error_low
    return list(100 * above.groupby(both.seed).mean())


def _agreements(results: Results, cells: Sequence[Cell]) -> list[float]:
    """For each seed that all have: how well detectors' precision follows backbones' errors.

    Spearman's rank correlation, its sign changed; 1 if a lower error is always a higher precision.
    A seed at which all errors or all precisions are equal has none.
    """
    precision, errors = measured(results, "voc_ap"), results.backbone_errors.dropna()
    by_seed: dict[int, list[tuple[float, float]]] = {}
    for run in (run for cell in cells for run in cell.done):
        if run.id in errors.index and run.id in precision:
            pair = (float(errors[run.id]), precision[run.id])
            by_seed.setdefault(run.run.seed, []).append(pair)
    frames = [pd.DataFrame(pairs) for pairs in by_seed.values() if len(pairs) == len(cells)]
    found = [-float(frame[0].rank().corr(frame[1].rank())) for frame in frames]
    return [value for value in found if math.isfinite(value)]


# Quantities that are no single run's: one number for each seed, of all networks of a rule together.
TOGETHER: dict[str, Callable[[Results, Sequence[Cell]], list[float]]] = {
    "train_error_along": _shares_above,
    "ap_follows_error": _agreements,
}


@lru_cache(maxsize=1)  # several quantities of the same results ask for it
def _observed(results: Results) -> pd.DataFrame:
    """Gradients of the runs that were measured at the start and at every point of their curve.

    Runs measured only at the start and the end are left out: their worst moment may lie between.
    """
    moments = results.gradients.groupby("run").iteration.agg(set)
    points = _fine_curves(results).groupby("run").iteration.agg(set)
    whole = [run for run in moments.index if {0, *points.get(run, {-1})} <= moments[run]]
    return results.gradients[results.gradients.run.isin(whole)]


def _decades(rows: pd.DataFrame, norm: Norm, high: Literal["last", "max"]) -> Numbers:
    """(run, moment) -> powers of ten between the smallest layer's norm and the last or largest.

    Without the runs of which a layer's signal was not measured.
    """
    if norm == "signal_norm":
        rows = rows[~rows.run.isin(rows.run[~rows.has_signal])]
    rows = rows.sort_values(["run", "iteration", "layer"])
    norms = _finite(rows[norm]).groupby([rows.run, rows.iteration])
    ratios: Numbers = norms.agg(high) / norms.min()
    return ratios.map(math.log10).fillna(math.inf)


def _finite(values: pd.Series[float]) -> pd.Series[float]:
    """The values, with zero for infinity and NaN."""
    return values.where(np.isfinite(values.astype(float)), 0.0)


def classes_of(run: BegunRun) -> int:
    """The classes that a run tells apart: its data set's, or as many as its classifier has outputs.

    Raises:
        ConfigError: a detector.
    """
    if known := DATASETS.get(run.run.dataset):
        return known.classes
    none, one = (outline(run.run.network, None, n).parameters for n in (0, 1))
    return (run.summary.parameters - none) // (one - none)


def counts(counted: str, network: str) -> tuple[int, ...]:
    """Something of `COUNTED` in a network: one number, or one for each layer.

    Raises:
        ConfigError: no such network, or a detector.
        ValueError: nothing that is counted.
    """
    whole = outline(network)
    match counted:
        case "parameters":
            return (whole.parameters,)
        case "multiply_adds":
            return (whole.multiply_adds,)
        case "layer_multiply_adds":
            layers = (layer for layer in whole.layers if layer.kernel == 3 and layer.kind == "conv")
            return tuple(each.multiply_adds for each in layers if each.inputs == each.outputs)
        case "block_weights":
            return (_block_weights(whole),)
        case "projections":
            return (sum(bool(shortcut.layers) for shortcut in whole.shortcuts),)
    raise ValueError(f"{counted} is nothing that is counted")


def _block_weights(whole: Outline) -> int:
    """Of the first block that keeps its dimensions, with its projection if it has one."""
    block = next(shortcut for shortcut in whole.shortcuts if not shortcut.resized)
    layers = (*whole.layers[block.first : block.last + 1], *block.layers)
    return sum(layer.weights for layer in layers)
