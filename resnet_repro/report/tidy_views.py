"""Tidy CSVs of what was measured on photographs: by kind of views, and of ensembles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from resnet_repro.base.files import csv_text
from resnet_repro.base.plain_text import spreadsheet_safe
from resnet_repro.paper.facts import ImageNetResult, load_facts
from resnet_repro.report.claims.quantities import evaluation
from resnet_repro.report.results import Cell
from resnet_repro.report.views import of_network, weights_caption
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.shows import Views, ViewsTable
from resnet_repro.store.models import EnsembleResult, ExternalEvaluation
from resnet_repro.store.stored_run import StoredRun

__all__ = ["RUN_COLUMNS", "ensembles_csv", "identity", "tidy_text", "views_csv"]

CENTRE: Views = "centre"

RUN_COLUMNS = ("experiment", "network", "preset", "dataset", "official", "precision", "seed", "run")
_EVALUATION = (
    "state",
    "iterations",
    "crop",
    "views",
    "top1_error",
    "top5_error",
    "loss",
    "images",
    "bn",
    "bn_images",
    "processes",
    "final_train_error",
    "paper_top1_error",
    "paper_top5_error",
    "weights",
    "protocol",
)
_ENSEMBLE = (
    "experiment",
    "preset",
    "dataset",
    "official",
    "views",
    "models",
    "runs",
    "top1_error",
    "top5_error",
    "images",
    "code",
    "measured",
)


def tidy_text(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A tidy file's text, whose words no spreadsheet takes for formulas."""
    return csv_text(
        header, [[spreadsheet_safe(v) if isinstance(v, str) else v for v in row] for row in rows]
    )


def identity(experiment: Experiment, cell: Cell, run: StoredRun) -> list[Any]:
    """The values of `RUN_COLUMNS` for a run."""
    group = cell.group
    official = "yes" if group.official else "no"
    seed = run.summary.seed if run.summary else None
    protocol = (group.preset, group.dataset, official, group.resolved)
    return [experiment.name, cell.network, *protocol, seed, run.id]


def views_csv(
    experiment: Experiment,
    table: ViewsTable,
    cells: Sequence[Cell],
    externals: Sequence[ExternalEvaluation],
) -> str:
    """A line per run and kind of views, and per weights that were not trained here."""
    rows: list[list[Any]] = []
    for cell in cells:
        for run in (*cell.done, *cell.failed, *cell.unfinished):
            known = identity(experiment, cell, run)
            rows += [[*known, *values] for values in _evaluations(cell, run, table)]
    for network in _tabulated(experiment, table):
        for external in of_network(externals, network):
            rows += _external(experiment, table, external)
    return tidy_text([*RUN_COLUMNS, *_EVALUATION], rows)


def _evaluations(cell: Cell, run: StoredRun, table: ViewsTable) -> Iterator[Sequence[Any]]:
    """The centre crop, and the views that the table shows; a line without errors if not there."""
    summary = run.summary
    assert summary is not None, "runs of a cell have a summary"
    state = "done" if run in cell.done else "failed" if run in cell.failed else "unfinished"
    for views in dict.fromkeys((CENTRE, table.views)):
        row = evaluation(run, views) if state == "done" else None
        top1 = row.top1_error if row else summary.final_test_error if views == CENTRE else None
        paper = _paper(table, cell.network) if views == table.views else None
        yield (
            state,
            summary.iterations,
            cell.group.crop,
            views,
            top1,
            *((row.top5_error, row.loss, row.images, row.bn) if row else [None] * 4),
            summary.provenance.bn_images,
            summary.provenance.processes,
            summary.final_train_error,
            paper.top1 if paper else None,
            paper.top5 if paper else None,
            None,
            cell.group.caption,
        )


def _paper(table: ViewsTable, network: str) -> ImageNetResult | None:
    return load_facts().imagenet_result(table.paper, network) if table.paper else None


def _tabulated(experiment: Experiment, table: ViewsTable) -> list[str]:
    """The networks of a table's rows, those that only the paper has included."""
    printed = load_facts().imagenet_results(table.paper) if table.paper else ()
    return list(dict.fromkeys([*experiment.networks, *(r.network for r in printed if r.network)]))


def _external(
    experiment: Experiment, table: ViewsTable, external: ExternalEvaluation
) -> list[list[Any]]:
    """Lines of weights that were not trained here: no run, no seed, no preset."""
    official = "yes" if external.data.get("official") is True else "no"
    lines: list[list[Any]] = []
    for row in external.evaluations:
        if row.views in (CENTRE, table.views):
            paper = _paper(table, external.network) if row.views == table.views else None
            known: dict[str, Any] = {
                "experiment": experiment.name,
                "network": external.network,
                "dataset": external.dataset,
                "official": official,
                "state": "evaluated",
                "views": row.views,
                "top1_error": row.top1_error,
                "top5_error": row.top5_error,
                "loss": row.loss,
                "images": row.images,
                "bn": row.bn,
                "paper_top1_error": paper.top1 if paper else None,
                "paper_top5_error": paper.top5 if paper else None,
                "weights": external.weights_sha256,
                "protocol": weights_caption(external),
            }
            lines.append([known.get(column) for column in (*RUN_COLUMNS, *_EVALUATION)])
    return lines


def ensembles_csv(experiment: Experiment, ensembles: Sequence[EnsembleResult]) -> str:
    """A line per ensemble that was measured for an experiment."""
    rows = [
        (
            e.experiment,
            e.preset,
            e.dataset,
            "yes" if e.data.get("official") is True else "no",
            e.views,
            len(e.members),
            " ".join(e.members),
            e.top1_error,
            e.top5_error,
            e.images,
            e.code,
            e.measured,
        )
        for e in ensembles
        if e.experiment == experiment.name
    ]
    return tidy_text(_ENSEMBLE, rows)
