"""Checks whether measurements can be those of a run's network and data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

from resnet_repro.base.errors import plain
from resnet_repro.networks.architecture import architecture
from resnet_repro.spec.measurements import (
    MEASUREMENTS,
    CurvatureRow,
    EvaluationRow,
    PathRow,
    PrecisionRow,
    SurfaceRow,
)
from resnet_repro.spec.run import Run
from resnet_repro.store.models import MeasurementOrigin, Summary
from resnet_repro.store.tables import StoredTable

__all__ = ["Origins", "measurement_problems", "origin_problems", "without_initial_weights"]

Origins = Mapping[str, MeasurementOrigin]

# How far testing again may differ from the last test of a training, in percentage points and in
# images: another processor rounds differently, which changes close decisions.
TESTED_AGAIN, TIPPED_IMAGES = 1.0, 3


def measurement_problems(
    found: Mapping[str, Any], run: Run, summary: Summary | None, origins: Origins
) -> Iterator[tuple[str, Iterator[str]]]:
    """(name, what is wrong) of each table in `found`, by name in `tables.FILES`."""
    checks: dict[str, Callable[[StoredTable], Iterator[str]]] = {
        "responses": lambda table: _layer_problems([row[:2] for row in table.rows], run),
        "gradients": lambda table: gradient_problems(table, run, origins),
        "evaluations": lambda table: evaluation_problems(table.rows, run, summary, origins),
        "average_precision": lambda table: precision_problems(table.rows),
        "surface": lambda table: surface_problems(table.rows),
        "curvature": lambda table: surface_problems(table.rows),
        "path": lambda table: path_problems(table.rows, run),
    }
    for name, check in checks.items():
        if name in found:
            yield name, check(found[name])


def gradient_problems(found: StoredTable, run: Run, origins: Origins) -> Iterator[str]:
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
    for moment, measured in set(zip(there["iteration"], there["measured"], strict=True)):
        if measured == "afterwards" and moment not in (0, last):
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
        yield f"{run.network} has no layer {wrong[0]} called {plain(wrong[1], 80)}"


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
    if not rows:
        yield "no errors"
    if len({(row.images, row.bn) for row in rows}) > 1:
        yield "other images or batch normalisation from line to line"
    for row in rows:
        if row.top5_error > row.top1_error:
            yield f"{row.views}: a top-5 error above the top-1 error"
        if (row.bn == "average") is not (run.recipe.bn_average_iterations > 0):
            yield f"{row.views}: batch normalisation is not as in config.yaml"
        if row.views == "centre" and summary and summary.final_test_error is not None:
            data = summary.provenance.dataset.get("sha256", row.dataset_sha256)
            allowed = TESTED_AGAIN + 100 * TIPPED_IMAGES / row.images
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
    if any(isinstance(row, CurvatureRow) and row.smallest > row.largest for row in rows):
        yield "a smallest eigenvalue above the largest"


def without_initial_weights(around: StoredTable, run: Run) -> StoredTable:
    """Points around trained weights, but for those along the run's initial weights.

    Until 30 November 2026 the directions of a run's own seed were drawn as its initial weights.
    """
    if None not in around.columns["stream"]:
        return around
    kept = [
        row
        for row in around.rows
        if row.stream or row.directions != run.seed or row.alpha == row.beta == 0
    ]
    if around.row is SurfaceRow and all(row.alpha == row.beta == 0 for row in kept):
        kept = []  # a centre alone is no surface
    columns = zip(*kept, strict=True) if kept else [()] * len(around.columns)
    return StoredTable(around.row, dict(zip(around.columns, columns, strict=True)))


def precision_problems(rows: Sequence[PrecisionRow]) -> Iterator[str]:
    """Whether these can be the classes of one data set, each once."""
    if not rows:
        yield "no classes"
    if len({row.class_name for row in rows}) < len(rows):
        yield "the same class twice"
    if len({(row.images, row.dataset_sha256) for row in rows}) > 1:
        yield "other images from line to line"
    for row in rows:
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


def origin_problems(origins: Origins, summary: Summary) -> Iterator[str]:
    """Measurements in another precision than the training's or their own fixed one."""
    for name, made in origins.items():
        expected = MEASUREMENTS[name].precision or summary.provenance.precision
        if made.precision != expected:
            wanted = plain(expected, 80)
            yield f"precision is {wanted}, but {name} was measured in {plain(made.precision, 80)}"
            return
