"""Checks whether the files of one run contradict each other.

Configuration, summary, curve and measurements repeat many facts, and others follow from the recipe
and the network's name. So files that were edited, swapped or half copied show even if no SHA-256
was recorded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby, pairwise
from typing import Any

from resnet_repro.base.errors import StoreError, plain
from resnet_repro.networks.architecture import architecture
from resnet_repro.networks.detector_cost import detector_parameters
from resnet_repro.networks.outline import parameters
from resnet_repro.spec.dataset_names import DATASETS
from resnet_repro.spec.measurements import (
    MEASUREMENTS,
    CurvatureRow,
    EvaluationRow,
    PathRow,
    PrecisionRow,
    ResponseRow,
    SurfaceRow,
)
from resnet_repro.spec.network_names import parse_network
from resnet_repro.spec.recipe import Recipe
from resnet_repro.spec.run import Run
from resnet_repro.spec.schedule import learning_rate, plateau_divisions
from resnet_repro.store.measurements import FILES, Table
from resnet_repro.store.models import CurveRow, DetectionPoint, MeasurementOrigin, Summary

__all__ = ["contradictions"]

Origins = Mapping[str, MeasurementOrigin]

EPOCH_ROUNDING = 1e-4
# How far testing again may differ from the last test of a training, in percentage points and in
# images: another processor rounds differently, which changes close decisions.
TESTED_AGAIN, TIPPED_IMAGES = 1.0, 3


def contradictions(
    run: Run, summary: Summary | None, contents: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """(name, what is wrong): the first contradiction in the summary and in each file.

    `contents` are by name in `measurements.FILES`; errors among them are reported elsewhere.
    """
    found = {
        name: value
        for name, value in contents.items()
        if value is not None and not isinstance(value, StoreError)
    }
    origins: Origins = found.get("origins") or {}
    problems: list[tuple[str, Iterator[str]]] = []
    if summary is not None:
        problems.append(("summary", summary_problems(summary, run)))
        problems.append(("summary", origin_problems(origins, summary)))
    if not isinstance(contents.get("curve"), StoreError):
        curve: Sequence[Any] = found["curve"].rows if "curve" in found else ()
        if curve and isinstance(curve[0], DetectionPoint) is (run.recipe.detection is None):
            yield "curve", f"{FILES['curve'][0]}: is not of such a network as {run.network}"
            curve = ()
        problems.append(("curve", curve_problems(curve, run, summary)))
        if summary is not None:
            problems.append(("summary", outcome_problems(summary, curve, run)))
    if "responses" in found:
        problems.append(("responses", response_problems(found["responses"].rows, run)))
    if "gradients" in found:
        problems.append(("gradients", gradient_problems(found["gradients"], run, origins)))
    if "evaluations" in found:
        told = evaluation_problems(found["evaluations"].rows, run, summary, origins)
        problems.append(("evaluations", told))
    if "average_precision" in found:
        rows = found["average_precision"].rows
        problems.append(("average_precision", precision_problems(rows)))
    for name in ("surface", "curvature"):
        if name in found:
            problems.append((name, surface_problems(found[name].rows)))
    if "path" in found:
        problems.append(("path", path_problems(found["path"].rows, run)))
    for name, texts in problems:
        for text in texts:
            yield name, f"{FILES[name][0] if name in FILES else 'summary.json'}: {text}"
            break


def summary_problems(summary: Summary, run: Run) -> Iterator[str]:
    """What in `summary.json` contradicts `config.yaml` or is impossible."""
    for name, said, known in (
        ("network", summary.network, run.network),
        ("dataset", summary.dataset, run.dataset),
        ("preset", summary.preset, run.preset),
        ("seed", summary.seed, run.seed),
        ("iterations", summary.iterations, run.recipe.iterations),
    ):
        if said != known:
            yield f"{name} is {_text(said)}, but config.yaml has {known}"
    if summary.iteration > run.recipe.iterations:
        yield f"iteration {summary.iteration:,} is after the last, {run.recipe.iterations:,}"
    if summary.state == "done" and summary.iteration < run.recipe.iterations:
        yield f"is done, but only {summary.iteration:,} of {run.recipe.iterations:,} iterations"
    if not _possible_parameters(run, summary.parameters):
        yield f"{run.network} does not have {summary.parameters:,} parameters"
    warmup = run.recipe.warmup
    if summary.warmup_end is not None and (
        warmup is None
        or summary.warmup_end > summary.iteration
        or not summary.warmup_end
        or summary.warmup_end % warmup.window
    ):
        yield f"the warm-up of its recipe cannot end at iteration {summary.warmup_end:,}"
    yield from _provenance_problems(summary, run)


def _provenance_problems(summary: Summary, run: Run) -> Iterator[str]:
    provenance, data = summary.provenance, summary.provenance.dataset
    if run.precision not in ("auto", provenance.precision):
        yield f"precision is {_text(provenance.precision)}, but config.yaml has {run.precision}"
    for session in provenance.earlier:
        if session.precision not in ("unknown", provenance.precision):
            yield f"precision changes from {_text(session.precision)} on the way"
    if data.get("name", run.dataset) != run.dataset:
        yield f"data of {_text(data['name'])}, but config.yaml has {run.dataset}"
    if data.get("official") is True and (data.get("note") or run.dataset.startswith("folder:")):
        reason = data.get("note") or "nothing official has such a folder"
        yield f"calls its data official, but: {_text(reason)}"
    if provenance.bn_images is not None and not 1 <= provenance.bn_images <= run.recipe.batch_size:
        yield f"batch normalisation cannot have seen {provenance.bn_images:,} images"


def _possible_parameters(run: Run, said: int) -> bool:
    """Whether the network can have so many parameters; the number of classes may be unknown."""
    if parse_network(run.network).family == "cifar":
        return said == parameters(run.network, DATASETS[run.dataset].classes)
    detection = run.recipe.detection
    if detection is not None:
        none, one = (detector_parameters(run.network, n, detection) for n in (0, 1))
    else:
        none, one = (parameters(run.network, n) for n in (0, 1))
    return said > none and (said - none) % (one - none) == 0


def curve_problems(rows: Sequence[Any], run: Run, summary: Summary | None) -> Iterator[str]:
    """What in `curve.csv` is out of range or does not follow the recipe."""
    recipe = run.recipe
    for row, due in zip(rows, _points(recipe, len(rows)), strict=True):
        if row.iteration != due:
            yield f"a point at iteration {row.iteration:,}, where the recipe has one at {due:,}"
            return
    for row in rows:
        errors = _errors(row)[1:]
        for error in errors:
            if error is not None and not 0 <= error <= 100:
                yield f"an error of {error:g} percent at iteration {row.iteration:,}"
        if row.train_loss < 0 or row.seconds < 0 or row.epoch < 0:
            yield f"a negative number at iteration {row.iteration:,}"
        if isinstance(row, DetectionPoint):
            parts = row.objectness_loss, row.proposal_loss, row.class_loss, row.box_loss
            if min(parts) < 0 or not math.isclose(row.train_loss, sum(parts), rel_tol=1e-3):
                yield f"losses at iteration {row.iteration:,} that do not add up"
            continue
        if (row.validation_error is None) is (recipe.validation_images > 0):
            yield f"held-out images at iteration {row.iteration:,} are not as in config.yaml"
    if any(a.seconds > b.seconds for a, b in pairwise(rows)):
        yield "seconds that do not increase"
    yield from _epoch_problems(rows)
    if summary and (summary.state in ("done", "failed") or not recipe.warmup):
        for row, rate in zip(rows, _rates(recipe, rows, summary.warmup_end), strict=True):
            if row.lr != rate and not math.isclose(row.lr, rate, rel_tol=1e-9):
                yield f"learning rate {row.lr:g} at iteration {row.iteration:,}, not {rate:g}"


def _epoch_problems(rows: Sequence[Any]) -> Iterator[str]:
    """Epochs that are not in proportion to iterations."""
    if rows:
        an_iteration = rows[-1].epoch / rows[-1].iteration
        for row in rows:
            if abs(row.epoch - row.iteration * an_iteration) > EPOCH_ROUNDING:
                yield f"epoch {row.epoch:g} does not go with iteration {row.iteration:,}"


@lru_cache(maxsize=64)
def _points(recipe: Recipe, count: int) -> tuple[int, ...]:
    """The iterations of a recipe's first points of the curve."""
    every = recipe.evaluate_every
    return tuple(min(every * n, recipe.iterations) for n in range(1, count + 1))


def _rates(recipe: Recipe, rows: Sequence[Any], warmup_end: int | None) -> Sequence[float]:
    """The learning rate of the last iteration before each point."""
    if recipe.plateau is None:
        return _scheduled_rates(recipe, warmup_end, len(rows))
    divisions = plateau_divisions(recipe, rows, warmup_end)
    return [learning_rate(recipe, row.iteration - 1, warmup_end, divisions) for row in rows]


@lru_cache(maxsize=64)
def _scheduled_rates(recipe: Recipe, warmup_end: int | None, count: int) -> tuple[float, ...]:
    points = _points(recipe, count)
    return tuple(learning_rate(recipe, point - 1, warmup_end) for point in points)


def outcome_problems(summary: Summary, rows: Sequence[Any], run: Run) -> Iterator[str]:
    """Where the errors in `summary.json` are not those in `curve.csv`.

    During training the two are written one after the other, so either may be behind.
    """
    if summary.state == "done":
        if not rows:
            yield "is done, but curve.csv is missing or empty"
            return
        if not rows[-1].iteration == summary.iteration == summary.iterations:
            yield f"is done, but its curve ends at {rows[-1].iteration:,} of {summary.iterations:,}"
            return
    said = (
        summary.final_train_loss,
        summary.final_train_error,
        summary.final_test_error,
        summary.final_validation_error,
    )
    if summary.state in ("done", "failed"):
        reported = len(rows)
    elif said == (None,) * 4:
        reported = 0
    else:
        found = [n for n, row in enumerate(rows, start=1) if _errors(row) == said]
        if not found and summary.iteration // run.recipe.evaluate_every > len(rows):
            return
        reported = found[-1] if found else len(rows)
    last = _errors(rows[reported - 1]) if reported else (None,) * 4
    names = ("train_loss", "train_error", "test_error", "validation_error")
    for name, error, known in zip(names, said, last, strict=True):
        if error != known:
            yield f"final_{name} is {_number(error)}, but curve.csv has {_number(known)}"
    tested = [row for row in rows[:reported] if isinstance(row, CurveRow)]
    best = min(tested, key=lambda row: row.test_error, default=None)
    if summary.best_test_error != (best and best.test_error):
        known = best and best.test_error
        yield f"best_test_error is {_number(summary.best_test_error)}, not {_number(known)}"
    elif summary.best_test_iteration != (best and best.iteration):
        yield "best_test_iteration is not that of the best point of curve.csv"
    if summary.state in ("done", "failed") and rows and summary.seconds < rows[-1].seconds:
        yield f"{summary.seconds:g} seconds, but curve.csv has {rows[-1].seconds:g}"
    if run.recipe.plateau and summary.state == "done" and summary.lr_divisions is not None:
        divisions = plateau_divisions(run.recipe, rows, summary.warmup_end)
        if summary.lr_divisions != divisions:
            yield f"lr_divisions are not those that curve.csv gives, {divisions}"


def _errors(row: CurveRow | DetectionPoint) -> tuple[float | None, ...]:
    if isinstance(row, DetectionPoint):
        return row.train_loss, None, None, None
    return row.train_loss, row.train_error, row.test_error, row.validation_error


def response_problems(rows: Sequence[ResponseRow], run: Run) -> Iterator[str]:
    """Whether these are the layers of the run's network."""
    yield from _layer_problems([(layer, module) for layer, module, _ in rows], run)
    if any(std < 0 for _, _, std in rows):
        yield "a negative standard deviation"


def gradient_problems(found: Table, run: Run, origins: Origins) -> Iterator[str]:
    """Whether these are the layers of the run's network at points of its recipe."""
    last, layers = run.recipe.iterations, _observed(run)
    there = found.columns
    moments = there["iteration"][:: len(layers) or 1]
    if not moments:
        yield "no layers"
    lines = list(zip(there["iteration"], there["layer"], there["module"], strict=True))
    if lines != [(moment, *layer) for moment in moments for layer in layers]:
        for _, rows in groupby(lines, key=lambda row: row[0]):
            yield from _layer_problems([row[1:] for row in rows], run)
        yield "not each moment once"
    if any(a >= b for a, b in pairwise(moments)):
        yield "iterations do not increase"
    for moment in moments:
        if moment > last or (moment % run.recipe.evaluate_every and moment != last):
            yield f"iteration {moment:,}, of which the recipe has no point"
    # Norms may be infinite or NaN, but never negative.
    numbers = ("forward_std", "gradient_norm", "weight_norm", "signal_norm")
    if any(value is not None and value < 0 for name in numbers for value in there[name]):
        yield "a negative number"
    for moment, measured in set(zip(there["iteration"], there["measured"], strict=True)):
        if measured not in ("training", "afterwards"):
            yield f"measured {_text(measured)}"
        elif measured == "afterwards" and moment not in (0, last):
            yield f"measured afterwards at iteration {moment:,}, which nothing can be"
    if "gradients" in origins and not {0, last} <= set(moments):
        yield "lacks the start or the end, of which measurements.json tells"


def _layer_problems(rows: Sequence[tuple[int, str]], run: Run) -> Iterator[str]:
    known = _observed(run)
    if list(rows) == known:
        return
    if len(rows) != len(known):
        yield f"{len(rows)} layers, but {run.network} has {len(known)}"
    else:
        wrong = next(row for row, layer in zip(rows, known, strict=True) if row != layer)
        yield f"{run.network} has no layer {wrong[0]} called {_text(wrong[1])}"


def _observed(run: Run) -> list[tuple[int, str]]:
    """(layer from 1, module) of the layers whose responses and gradients are measured."""
    return list(enumerate(architecture(run.network).observed, start=1))


def evaluation_problems(
    rows: Sequence[EvaluationRow],
    run: Run,
    summary: Summary | None,
    origins: Origins,
) -> Iterator[str]:
    """Whether these can be errors of one network on the run's data set."""
    if run.recipe.photographs is None:
        yield f"{run.network} is not tested on photographs"
    if not rows:
        yield "no errors"
    if len({(row.images, row.bn) for row in rows if row.images}) > 1:
        yield "other images or batch normalisation from line to line"
    for row in rows:
        if row.images < 1:
            yield f"{row.views}: {row.images:,} images"
        if row.top5_error > row.top1_error:
            yield f"{row.views}: a top-5 error above the top-1 error"
        if row.loss < 0:
            yield f"{row.views}: a negative loss"
        if (row.bn == "average") is not (run.recipe.bn_average_iterations > 0):
            yield f"{row.views}: batch normalisation is not as in config.yaml"
        if row.views == "centre" and summary and summary.final_test_error is not None:
            data = summary.provenance.dataset.get("sha256", row.dataset_sha256)
            allowed = TESTED_AGAIN + 100 * TIPPED_IMAGES / max(1, row.images)
            apart = abs(row.top1_error - summary.final_test_error)
            if data == row.dataset_sha256 and apart > allowed:
                ended = f"but its training ended with {summary.final_test_error:.2f}"
                yield f"centre: a top-1 error of {row.top1_error:.2f}, {ended}"
    there = {row.views for row in rows}
    for views in ("centre", "10-crop", "multi-scale"):
        if views in origins and views not in there:
            yield f"lacks {views}, of which measurements.json tells"


def surface_problems(rows: Sequence[SurfaceRow | CurvatureRow]) -> Iterator[str]:
    """Whether these can be points around one network without repetitions."""
    if not rows:
        yield "no points"
    if len({(row[:3], row.images) for row in rows}) < len(rows):
        yield "the same point twice"
    if len({(row.images, row.sample_seed, row.sample_sha256) for row in rows}) > len(
        {row.images for row in rows}
    ):
        yield "different samples of so many images"
    for row in rows:
        if row.images < 1:
            yield f"{row.images:,} images"
        if isinstance(row, SurfaceRow) and row.loss < 0:
            yield "a negative loss"
        if isinstance(row, CurvatureRow) and row.smallest > row.largest:
            yield "a smallest eigenvalue above the largest"


def precision_problems(rows: Sequence[PrecisionRow]) -> Iterator[str]:
    """Whether these can be the classes of one data set, each once."""
    if not rows:
        yield "no classes"
    if len({row.class_name for row in rows}) < len(rows):
        yield "the same class twice"
    if len({(row.images, row.dataset_sha256) for row in rows}) > 1:
        yield "other images from line to line"
    for row in rows:
        if min(row.objects, row.detections, row.images) < 0:
            yield f"{row.class_name}: a negative number"
        if (row.ap_11point is None) is not (row.objects == 0):
            yield f"{row.class_name}: {row.objects:,} objects do not go with its average precision"


def path_problems(rows: Sequence[PathRow], run: Run) -> Iterator[str]:
    """Whether these can be points on one line that begins at this run."""
    if not rows:
        yield "no points"
    if len({(row.to, row.images, row.sample_seed, row.sample_sha256) for row in rows}) > 1:
        yield "lines to several runs or of several samples"
    if any(row.to == run.id for row in rows):
        yield "a line from the run to itself"
    if any(a.position >= b.position for a, b in pairwise(rows)):
        yield "positions do not increase"
    if any(row.images < 1 or row.loss < 0 for row in rows):
        yield "no images, or a negative loss"


def origin_problems(origins: Origins, summary: Summary) -> Iterator[str]:
    """Measurements in another precision than the training's or their own fixed one."""
    for name, made in origins.items():
        expected = MEASUREMENTS[name].precision or summary.provenance.precision
        if made.precision != expected:
            wanted = _text(expected)
            yield f"precision is {wanted}, but {name} was measured in {_text(made.precision)}"
            return


def _text(value: Any) -> str:
    return plain(str(value), 80)


def _number(value: float | None) -> str:
    return "missing" if value is None else f"{value:.10g}"
