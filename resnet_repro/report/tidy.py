"""An experiment's tidy CSV: every number with its run, seed, preset and data set."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from resnet_repro.base.plain_text import spreadsheet_safe
from resnet_repro.paper.facts import load_facts
from resnet_repro.report.cost_tables import cost_rows
from resnet_repro.report.figures.figures import FIGURES
from resnet_repro.report.groups import slugs
from resnet_repro.report.photo_tables import of_network, weights_caption
from resnet_repro.report.results import Results
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.tables_figures import (
    CostTable,
    DetectionTable,
    EnsembleTable,
    ErrorTable,
    Views,
    ViewsTable,
)
from resnet_repro.store.models import EnsembleResult, ExternalEvaluation

__all__ = ["tidy_csv"]

_RUN = ("experiment", "network", "preset", "dataset", "official", "precision", "seed", "run")
_RESULT = (
    *("state", "iterations", "parameters", "final_train_error", "final_validation_error"),
    *("final_test_error", "best_test_error", "best_test_iteration"),
    *("paper_error", "paper_best_error", "protocol"),
)
_EVALUATION = (
    *("state", "iterations", "crop", "views", "top1_error", "top5_error", "loss", "images", "bn"),
    *("bn_images", "processes", "final_train_error", "paper_top1_error", "paper_top5_error"),
    *("weights", "protocol"),
)
_PRECISION = (
    *("state", "iterations", "class_name", "ap_11point", "ap_area", "coco_ap50", "coco_ap"),
    *("objects", "detections", "images", "dataset_sha256", "protocol"),
)
_ENSEMBLE = (
    *("experiment", "preset", "dataset", "official", "views", "models", "runs"),
    *("top1_error", "top5_error", "images", "code", "measured"),
)
_COST = ("network", "parameters", "multiply_adds", "paper_flops", "agrees")
_WHOLE = (
    *("seed", "iterations", "crop", "images", "bn_images", "processes", "objects", "detections"),
)  # or not known
_HELD_OUT = ("validation_error", "final_validation_error")  # only where some run has it
_FINAL = ("final_train_error", "final_validation_error", "final_test_error")
CENTRE: Views = "centre"


def tidy_csv(experiment: Experiment, results: Results) -> str:
    """The results of an experiment, one observation per line; errors in percent.

    With a table of ensembles there is a line per ensemble, of costs one per network, of views one
    per run and kind of views (weights not trained here included), of detection one per run and
    class. Other experiments with a figure of curves or of a measurement have its data; their
    protocol stands in `group` by the short name that files of figures have. The rest have a line
    per run, failed and unfinished ones too, which have no final errors. `paper_error` is the number
    to compare a mean over seeds with; `rank` counts a run's responses from the largest, 1.

    Raises:
        StoreError: an ensemble or an evaluation of others' weights cannot be read.
    """
    if isinstance(experiment.table, EnsembleTable):
        return _text(_ensembles(experiment, results.ensembles), _ENSEMBLE)
    if isinstance(experiment.table, CostTable):
        return _text(_costs(experiment.table), _COST)
    runs = _runs(experiment, results)
    if isinstance(experiment.table, ViewsTable):
        trained = _evaluations(runs, experiment.table, results.evaluations)
        external = _externals(experiment, experiment.table, results.externals)
        return _text(pd.concat([trained, external]), (*_RUN, *_EVALUATION))
    if isinstance(experiment.table, DetectionTable):
        return _text(
            runs.merge(results.frame("average_precision"), how="left", on="run"),
            (*_RUN, *_PRECISION),
        )
    kind = FIGURES[experiment.plot.kind] if experiment.plot else None
    if kind is None or not kind.table:  # as of drawings
        return _text(_with_paper(experiment, runs), (*_RUN, *_RESULT))
    measured = results.frame(kind.table)
    if kind.table == "responses":
        measured = _with_rank(measured)
    if kind.table == "gradients":
        measured = _with_nan(results.gradients)
    columns = kind.columns or tuple(measured.columns.drop("run"))
    return _text(runs[[*_RUN, "group"]].merge(measured, on="run"), (*_RUN, *columns, "group"))


def _text(frame: pd.DataFrame, columns: Sequence[str]) -> str:
    """A tidy file's text, safe to open in a spreadsheet."""
    frame = frame.reindex(columns=list(columns))
    frame = frame.drop(columns=[c for c in _HELD_OUT if c in frame and frame[c].isna().all()])
    for name in _WHOLE:
        if name in frame:
            frame[name] = pd.to_numeric(frame[name]).astype("Int64")
    safe = frame.map(lambda value: spreadsheet_safe(value) if isinstance(value, str) else value)
    return safe.to_csv(index=False, lineterminator="\n")


def _runs(experiment: Experiment, results: Results) -> pd.DataFrame:
    """A line per run of the experiment's networks, by network, group, state and seed.

    Only of runs that are done errors are final; a summary has those of the curve so far before.
    """
    ids = [run.id for cell in results.cells_of(experiment) for run in cell.every]
    runs = results.runs.loc[ids].reset_index()
    groups, names = runs.group, slugs(list(results.numbers))
    runs.loc[runs.state != "done", list(_FINAL)] = math.nan
    return runs.assign(
        experiment=experiment.name,
        preset=[group.preset for group in groups],
        dataset=[group.dataset for group in groups],
        official=["yes" if group.official else "no" for group in groups],
        precision=[group.precision for group in groups],
        crop=[group.side for group in groups],
        group=groups.map(names),
        protocol=[group.caption for group in groups],
    )


def _with_paper(experiment: Experiment, runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with the errors that the paper prints of their networks."""
    table = experiment.table.paper if isinstance(experiment.table, ErrorTable) else "table6"
    places = zip(runs.network, runs.dataset, strict=True)
    rows = [load_facts().cifar_result(network, table, dataset) for network, dataset in places]
    errors = [row.error if row else None for row in rows]
    means = [error.comparable if error else None for error in errors]
    best = [error.best if error else None for error in errors]
    return runs.assign(
        paper_error=pd.Series(means, runs.index, dtype=float),
        paper_best_error=pd.Series(best, runs.index, dtype=float),
    )


def _with_rank(responses: pd.DataFrame) -> pd.DataFrame:
    """The frame with `rank`, which counts a run's layers from the largest response, 1."""
    largest_first = responses.sort_values(["std", "layer"], ascending=[False, True])
    return responses.assign(rank=largest_first.groupby("run").cumcount() + 1)


def _with_nan(gradients: pd.DataFrame) -> pd.DataFrame:
    """The frame with `nan` for NaN norms; norms that were not measured stay empty."""
    norms = gradients[["forward_std", "gradient_norm", "weight_norm", "signal_norm"]]
    texts = norms.astype(object).mask(norms.isna(), "nan")
    texts["signal_norm"] = texts.signal_norm.where(gradients.has_signal, None)
    return gradients.assign(**texts).drop(columns="has_signal")


def _evaluations(runs: pd.DataFrame, table: ViewsTable, evaluations: pd.DataFrame) -> pd.DataFrame:
    """Lines for the centre crop and the table's views; without errors if they were not measured."""
    kinds = pd.DataFrame({"views": list(dict.fromkeys((CENTRE, table.views)))})
    rows = runs.merge(kinds, how="cross").merge(evaluations, how="left", on=["run", "views"])
    centre = rows.views == CENTRE  # whose top-1 error is measured at the end of every training
    rows["top1_error"] = rows.top1_error.fillna(rows.final_test_error.where(centre))
    return _with_paper_of(rows, table)


def _with_paper_of(rows: pd.DataFrame, table: ViewsTable) -> pd.DataFrame:
    """The rows with the errors of Table 2, 3 or 4 on lines with the same views."""
    printed = load_facts().imagenet_results(table.paper) if table.paper else ()
    results = [row for row in printed if row.network]
    known = rows.network.where(rows.views == table.views)
    return rows.assign(
        paper_top1_error=known.map({row.network: row.top1 for row in results}),
        paper_top5_error=known.map({row.network: row.top5 for row in results}),
    )


def _externals(
    experiment: Experiment, table: ViewsTable, externals: Sequence[ExternalEvaluation]
) -> pd.DataFrame:
    """Lines of weights that were not trained here: no run, no seed, no preset."""
    printed = load_facts().imagenet_results(table.paper) if table.paper else ()
    networks = dict.fromkeys([*experiment.networks, *(r.network for r in printed if r.network)])
    lines = [
        {
            "experiment": experiment.name,
            "network": external.network,
            "dataset": external.dataset,
            "official": "yes" if external.official else "no",
            "precision": external.precision,
            "state": "evaluated",
            "weights": external.weights_sha256,
            "protocol": weights_caption(external),
            **vars(row),
        }
        for network in networks
        for external in of_network(externals, network)
        for row in external.evaluations
        if row.views in (CENTRE, table.views)
    ]
    return _with_paper_of(pd.DataFrame(lines, columns=[*_RUN, *_EVALUATION]), table)


def _costs(table: CostTable) -> pd.DataFrame:
    """A line per network of a table of costs."""
    costs = pd.DataFrame(cost_rows(table))
    printed = (costs.paper_flops / 1e9).map("{:.1f}e9".format, na_action="ignore")
    return costs.assign(paper_flops=printed)


def _ensembles(experiment: Experiment, ensembles: Sequence[EnsembleResult]) -> pd.DataFrame:
    """A line per measured ensemble of an experiment."""
    lines = [
        ensemble.model_dump(include=set(_ENSEMBLE))
        | {
            "official": "yes" if ensemble.official else "no",
            "models": len(ensemble.members),
            "runs": " ".join(ensemble.members),
        }
        for ensemble in ensembles
        if ensemble.experiment == experiment.name
    ]
    return pd.DataFrame(lines, columns=list(_ENSEMBLE))
