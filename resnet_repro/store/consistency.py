"""Checks whether the files of one run contradict each other.

Configuration, summary, curve and measurements repeat many facts, and others follow from the recipe
and the network's name. So files that were edited, swapped or half copied show even if no SHA-256
was recorded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from resnet_repro.base.errors import plain
from resnet_repro.networks.detector_cost import detector_parameters
from resnet_repro.networks.outline import outline
from resnet_repro.spec.dataset_names import DATASETS
from resnet_repro.spec.network_names import parse_network
from resnet_repro.spec.run import Run
from resnet_repro.spec.schedule import learning_rate, plateau_divisions
from resnet_repro.store.measurement_checks import Origins, measurement_problems, origin_problems
from resnet_repro.store.models import CurveRow, DetectionPoint, Summary
from resnet_repro.store.tables import FILES

__all__ = ["contradictions"]

EPOCH_ROUNDING = 1e-4


def contradictions(
    run: Run, summary: Summary | None, contents: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """(name, what is wrong): the first contradiction that each check finds.

    `contents` are those of whole files, by name in `tables.FILES`.
    """
    origins: Origins = contents.get("origins", {})
    curve: Sequence[Any] = contents["curve"].rows if "curve" in contents else ()
    if curve and isinstance(curve[0], DetectionPoint) is (run.recipe.detection is None):
        yield "curve", f"curve.csv: is not of such a network as {run.network}"
        curve = ()
    problems: list[tuple[str, Iterable[str]]] = [
        ("summary", summary_problems(summary, run) if summary else ()),
        ("summary", origin_problems(origins, summary) if summary else ()),
        ("curve", curve_problems(curve, run, summary)),
        ("summary", outcome_problems(summary, curve, run) if summary else ()),
        *measurement_problems(contents, run, summary, origins),
    ]
    for name, texts in problems:
        for text in texts:
            yield name, f"{FILES[name].name if name in FILES else 'summary.json'}: {text}"
            break


def summary_problems(summary: Summary, run: Run) -> Iterator[str]:
    """What in `summary.json` contradicts `config.yaml` or is impossible."""
    for name, said, known in (
        ("network", summary.network, run.network),
        ("dataset", summary.dataset, run.dataset),
        ("seed", summary.seed, run.seed),
        ("iterations", summary.iterations, run.recipe.iterations),
    ):
        if said != known:
            yield f"{name} is {_text(said)}, but config.yaml has {known}"
    # Its id may name the preset from before that changed.
    if summary.preset != run.preset and f"-{summary.preset}-s{run.seed}-" not in summary.id:
        yield f"preset is {summary.preset}, but config.yaml has {run.preset}"
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
        return said == outline(run.network, None, DATASETS[run.dataset].classes).parameters
    detection = run.recipe.detection
    if detection is not None:
        none, one = (detector_parameters(run.network, n, detection) for n in (0, 1))
    else:
        none, one = (outline(run.network, None, n).parameters for n in (0, 1))
    return said > none and (said - none) % (one - none) == 0


def curve_problems(rows: Sequence[Any], run: Run, summary: Summary | None) -> Iterator[str]:
    """What in `curve.csv` is out of range or does not follow the recipe."""
    recipe = run.recipe
    for number, row in enumerate(rows, start=1):
        due = min(number * recipe.evaluate_every, recipe.iterations)
        if row.iteration != due:
            yield f"a point at iteration {row.iteration:,}, where the recipe has one at {due:,}"
            return
    for row in rows:
        if isinstance(row, DetectionPoint):
            parts = row.objectness_loss, row.proposal_loss, row.class_loss, row.box_loss
            if not math.isclose(row.train_loss, sum(parts), rel_tol=1e-3):
                yield f"losses at iteration {row.iteration:,} that do not add up"
            continue
        if (row.validation_error is None) is (recipe.validation_images > 0):
            yield f"held-out images at iteration {row.iteration:,} are not as in config.yaml"
    if any(a.seconds > b.seconds for a, b in pairwise(rows)):
        yield "seconds that do not increase"
    for row in rows:  # epochs are in proportion to iterations
        if abs(row.epoch - row.iteration * rows[-1].epoch / rows[-1].iteration) > EPOCH_ROUNDING:
            yield f"epoch {row.epoch:g} does not go with iteration {row.iteration:,}"
    if summary and (summary.state in ("done", "failed") or not recipe.warmup):
        divisions = plateau_divisions(recipe, rows, summary.warmup_end)
        for row in rows:
            rate = learning_rate(recipe, row.iteration - 1, summary.warmup_end, divisions)
            if row.lr != rate and not math.isclose(row.lr, rate, rel_tol=1e-9):
                yield f"learning rate {row.lr:g} at iteration {row.iteration:,}, not {rate:g}"


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


def _text(value: Any) -> str:
    return plain(str(value), 80)


def _number(value: float | None) -> str:
    return "missing" if value is None else f"{value:.10g}"
