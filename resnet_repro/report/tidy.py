"""An experiment's tidy CSV: every number with its run, seed, preset and data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from resnet_repro.paper.facts import load_facts
from resnet_repro.report.results import Cell, collect, networks_of
from resnet_repro.report.tidy_views import (
    RUN_COLUMNS,
    ensembles_csv,
    identity,
    tidy_text,
    views_csv,
)
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.shows import EnsembleTable, ViewsTable
from resnet_repro.store.models import EnsembleResult, ExternalEvaluation
from resnet_repro.store.stored_run import StoredRun

__all__ = ["tidy_csv"]

_RESULT = (
    "state",
    "iterations",
    "parameters",
    "final_train_error",
    "final_test_error",
    "best_test_error",
    "best_test_iteration",
    "paper_error",
    "paper_best_error",
    "protocol",
)
_CURVE = ("iteration", "epoch", "lr", "train_error", "test_error")
_RESPONSE = ("layer", "module", "std", "rank")
_GRADIENT = (
    "iteration",
    "layer",
    "module",
    "forward_std",
    "gradient_norm",
    "weight_norm",
    "measured",
    "signal_norm",
)


def tidy_csv(
    experiment: Experiment,
    runs: Sequence[StoredRun],
    externals: Sequence[ExternalEvaluation] = (),
    ensembles: Sequence[EnsembleResult] = (),
) -> str:
    """What an experiment measured, one observation per line; errors in percent.

    Training curves where the experiment draws curves, layer responses or gradients where it draws
    those; a line per ensemble, or per run and kind of views, where it tabulates these, those of
    `externals` included; and otherwise one line per run. Failed and unfinished runs have a line of
    their own. `paper_error` is what a mean over seeds is compared with; `rank` counts a run's
    responses from the largest, 1.

    Raises:
        StoreError: a run's curve or measurements cannot be read.
    """
    if isinstance(experiment.table, EnsembleTable):
        return ensembles_csv(experiment, ensembles)
    cells = collect(networks_of(experiment), runs)
    if isinstance(experiment.table, ViewsTable):
        return views_csv(experiment, experiment.table, cells, externals)
    kind = experiment.plot.kind if experiment.plot else "results"
    columns, observations = {
        "curves": (_CURVE, _curve),
        "responses": (_RESPONSE, _responses),
        "gradients": (_GRADIENT, _gradients),
        "results": (_RESULT, _result),
    }[kind]
    rows: list[list[Any]] = []
    for cell in cells:
        for run in cell.done if kind != "results" else (*cell.done, *cell.failed, *cell.unfinished):
            rows += [
                [*identity(experiment, cell, run), *values] for values in observations(cell, run)
            ]
    return tidy_text([*RUN_COLUMNS, *columns], rows)


def _result(cell: Cell, run: StoredRun) -> Iterator[Sequence[Any]]:
    summary, paper = run.summary, load_facts().cifar_result(cell.network)
    assert summary is not None, "runs of a cell have a summary"
    state = "done" if run in cell.done else "failed" if run in cell.failed else "unfinished"
    yield (
        state,
        summary.iterations,
        summary.parameters,
        summary.final_train_error,
        summary.final_test_error,
        summary.best_test_error,
        summary.best_test_iteration,
        paper.error.comparable if paper else None,
        paper.error.printed if paper and paper.error.mean is not None else None,
        cell.group.caption,
    )


def _curve(cell: Cell, run: StoredRun) -> Iterator[Sequence[Any]]:
    for row in run.curve():
        yield (row.iteration, row.epoch, row.lr, row.train_error, row.test_error)


def _responses(cell: Cell, run: StoredRun) -> Iterator[Sequence[Any]]:
    rows = run.responses()
    ranked = sorted(rows, key=lambda row: (-row[2], row[0]))
    ranks = {layer: rank for rank, (layer, _, _) in enumerate(ranked, start=1)}
    for layer, module, std in rows:
        yield (layer, module, std, ranks[layer])


def _gradients(cell: Cell, run: StoredRun) -> Iterator[Sequence[Any]]:
    for row in run.gradients():
        yield [getattr(row, name) for name in _GRADIENT]
