"""Tables 2 to 5: errors from several views of each photograph, beside the paper's.

Results of other protocols or data sets than the paper's, and of weights that were not trained here,
have their own columns, since they must not be compared with the paper's numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from resnet_repro.base.errors import plain
from resnet_repro.base.plain_text import plural
from resnet_repro.paper.facts import ImageNetResult, load_facts
from resnet_repro.paper.papers import FAMILIES
from resnet_repro.report.cells import Cell, Sample
from resnet_repro.report.rendering import Column, Row, Table, csv_only, spread
from resnet_repro.report.results import Results
from resnet_repro.report.table_parts import (
    AT_REDUCED_SCALE,
    PROTOCOL_COLUMNS,
    REDUCED_NOTE,
    VIEWS_NOTES,
    cell_values,
    difference_from_paper,
    group_notes,
    no_results,
    results_table,
    to_do,
)
from resnet_repro.spec.dataset_names import data_title
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.network_names import network_title, parse_network
from resnet_repro.spec.tables_figures import Views, ViewsTable
from resnet_repro.store.models import EnsembleResult, ExternalEvaluation

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ensemble_table", "of_network", "views_table", "weights_caption", "weights_note"]

PARAMETERS_NOTE = "Parameters are those of the networks as trained, for their data set's classes."
WEIGHTS_NOTE = "Weights: evaluated here, not trained here."
VIEWS_COLUMNS = (
    *csv_only("network"),
    Column("method", "method", number=False),
    Column("layers", "layers", spare=6),
    Column("parameters", "parameters", form=",", spare=5),
    Column("paper_top1", "paper top-1", form=".2f"),
    Column("paper_top5", "paper top-5", form=".2f", spare=2),
    spread("ours_top1", "ours top-1"),
    spread("ours_top5", "ours top-5", spare=2),
    Column("difference", "difference", form="+.2f", spare=1),
    spread("reduced_top1", "reduced top-1"),
    spread("reduced_top5", "reduced top-5", spare=2),
    Column("weights_top1", "weights top-1", form=".2f"),
    Column("weights_top5", "weights top-5", form=".2f", spare=2),
    Column("seeds", "seeds"),
    Column("centre_top1", "centre crop", form=".2f", spare=3),
    Column("train_error", "train error", form=".2f", spare=3),
    *csv_only("failed", "unfinished"),
    Column("where", "on", number=False, csv=()),
    *csv_only("views"),
    *PROTOCOL_COLUMNS,
)

TEST_SET_NOTE = (
    "The paper's errors are of ImageNet's test set, whose labels are not public; ours are of the "
    "validation set."
)

ENSEMBLE_COLUMNS = (
    Column("method", "method", number=False),
    Column("members", "members", number=False, spare=1),
    Column("paper_top5", "paper top-5 (test set)", form=".2f"),
    Column("ours_top1", "ours top-1", form=".2f"),
    Column("ours_top5", "ours top-5", form=".2f"),
    Column("reduced_top1", "reduced top-1", form=".2f"),
    Column("reduced_top5", "reduced top-5", form=".2f"),
    Column("member_top5", "mean of members, top-5", form=".2f", spare=2),
    Column("where", "on", number=False, csv=()),
    *csv_only("views", "images", "preset", "dataset", "official", "runs", "measured"),
)


def views_table(experiment: Experiment, table: ViewsTable, results: Results) -> Table:
    """A row per network and group of runs, in the paper's order, and per weights of others."""
    cells = results.cells_of(experiment)
    found = results.evaluated(table.views)
    # The top-1 error of the centre crop is measured at the end of every training.
    top1 = results.runs.final_test_error if table.views == "centre" else found.top1_error
    measured = [cell for cell in cells if cell.over_seeds(top1).count]
    rows: list[Row] = []
    weights: list[str] = []
    for network, paper in _paper_rows(experiment, table):
        own = []
        for cell in cells:
            if cell.network == network:
                ours = _our_values(paper, cell, top1, found.top5_error, results)
                own.append({**paper, "views": table.views, **ours})
        evaluated = []
        for external in of_network(results.externals, network):
            if row := _weights_row(paper, external, table.views):
                evaluated.append(row)
                weights.append(weights_note(external))
        about_it = own or any(row["network"] == network for row in evaluated)
        rows += [*([] if about_it else [paper]), *own, *evaluated]
    columns = [c for c in VIEWS_COLUMNS if table.top5 or "top5" not in c.key]
    notes = []
    if measured or weights:
        notes.append(
            "Errors are percent over the validation images, of the final iterate, mean ± standard "
            f"deviation over seeds; {VIEWS_NOTES[table.views]}."
        )
    if any(not cell.group.faithful for cell in measured):
        notes += [REDUCED_NOTE, PARAMETERS_NOTE]
    if weights:
        notes.append(WEIGHTS_NOTE)
    notes += to_do(experiment, cells, results)
    reduced = bool(cells) and not any(cell.group.faithful for cell in cells)
    return results_table(
        experiment, columns, rows, cells, results, own=weights, explained=notes, reduced=reduced
    )


def _paper_rows(experiment: Experiment, table: ViewsTable) -> list[tuple[str | None, Row]]:
    """(network, row) of the paper's rows, then of the experiment's other networks."""
    printed = [
        row
        for row in (load_facts().imagenet_results(table.paper) if table.paper else ())
        if row.network is None
        or row.network in experiment.networks
        or parse_network(row.network).compared
    ]
    known = {row.network for row in printed}
    rows = [(row.network, _paper_row(row.network, row)) for row in printed]
    return rows + [(n, _paper_row(n, None)) for n in experiment.networks if n not in known]


def _paper_row(network: str | None, printed: ImageNetResult | None) -> Row:
    method = printed.method if printed else None
    if printed and printed.note:
        method = f"{method} ({printed.note})"
    return {
        "network": network,
        "method": network_title(network) if network else method,
        "layers": parse_network(network).depth if network else None,
        "paper_top1": printed.top1 if printed else None,
        "paper_top5": printed.top5 if printed else None,
    }


def _our_values(
    paper: Row,
    cell: Cell,
    top1_errors: pd.Series[float],
    top5_errors: pd.Series[float],
    results: Results,
) -> Row:
    """The errors of a cell, given by run id; if some seeds have them, all else is of these."""
    top1, top5 = cell.over_seeds(top1_errors), cell.over_seeds(top5_errors)
    runs, scale = results.runs, "ours" if cell.group.faithful else "reduced"
    if top1.count:
        runs = runs[runs.index.isin(top1_errors.index)]
    printed = paper["paper_top1"]
    reference = printed if isinstance(printed, float) else None
    return {
        **cell_values(cell, results, top1.count),
        f"{scale}_top1": top1,
        f"{scale}_top5": top5,
        "difference": difference_from_paper(cell.group, top1.mean, reference),
        "centre_top1": cell.over_seeds(runs.final_test_error).mean,
        "train_error": cell.over_seeds(runs.final_train_error).mean,
    }


def of_network(
    externals: Sequence[ExternalEvaluation], network: str | None
) -> list[ExternalEvaluation]:
    """The evaluations of a network, also of its variant with the stride in the 3x3 convolution."""
    if network is None:
        return []
    name = parse_network(network)
    return [e for e in externals if replace(parse_network(e.network), stride_in_3x3=False) == name]


def _weights_row(paper: Row, external: ExternalEvaluation, views: Views) -> Row | None:
    row = next((row for row in external.evaluations if row.views == views), None)
    if row is None:
        return None
    same = external.network == paper["network"]  # else the paper's numbers are of another network
    return {
        **(paper if same else {"layers": paper["layers"]}),
        "network": external.network,
        "method": network_title(external.network),
        "weights_top1": row.top1_error,
        "weights_top5": row.top5_error,
        "where": f"weights {external.weights_sha256[:8]}",
        "views": views,
        "dataset": external.dataset,
        "official": "yes" if external.official else "no",
        "precision": external.precision,
        "protocol": weights_caption(external),
    }


def weights_note(external: ExternalEvaluation) -> str:
    """The caption, then how the weights were used and what a reader of the errors should know."""
    known = (external.precision, external.input, *external.notes)
    return "; ".join([weights_caption(external), *(plain(text, 300) for text in known if text)])


def weights_caption(external: ExternalEvaluation) -> str:
    """`weights a1b2c3d4: vgg16.pth on ImageNet (unofficial copy)`."""
    file = plain(external.weights_file, 60)
    on = data_title(external.dataset, external.official)
    return f"weights {external.weights_sha256[:8]}: {file} on {on}"


def ensemble_table(experiment: Experiment, results: Results) -> Table:
    """The paper's ensembles, and a row for each of ours, by preset and data set."""
    own = [e for e in results.ensembles if e.experiment == experiment.name]
    rows: list[Row] = [
        {"method": row.method, "paper_top5": row.top5, "members": row.note}
        for row in load_facts().table5
    ]
    rows += [_ensemble_row(ensemble, results) for ensemble in own]
    there = {run.id for run in results.stored}
    always = []
    for ensemble in own:
        if gone := [member for member in ensemble.members if member not in there]:
            always.append(f"Members that are not in this results folder: {', '.join(gone)}.")
    always.append(TEST_SET_NOTE)
    faithful = [_is_faithful(ensemble, results) for ensemble in own]
    reading = []
    if own:
        kinds = sorted({VIEWS_NOTES[ensemble.views] for ensemble in own})
        reading.append(f"Errors are percent; {'; '.join(kinds)}, and then over the members.")
        reading += [] if all(faithful) else [REDUCED_NOTE]
    else:
        always.append(no_results(experiment, results))
    notes = [*group_notes(_members(own, results).group, results), *always, *reading]
    title = experiment.table_heading + (AT_REDUCED_SCALE if own and not any(faithful) else "")
    return Table(title, ENSEMBLE_COLUMNS, rows, notes, always)


def _is_faithful(ensemble: EnsembleResult, results: Results) -> bool:
    """Whether its members follow the paper's protocol on the paper's data set.

    Of members that are not in this results folder the preset alone is known.
    """
    known = all(group.faithful for group in _members([ensemble], results).group)
    at_paper = ensemble.preset == "paper" and ensemble.dataset == FAMILIES["imagenet"].dataset
    return at_paper and known


def _members(ensembles: Sequence[EnsembleResult], results: Results) -> pd.DataFrame:
    """The members of ensembles that are in this results folder, as in `Results.runs`."""
    names = [member for ensemble in ensembles for member in ensemble.members]
    return results.runs.reindex(names).dropna(subset="network")


def _ensemble_row(ensemble: EnsembleResult, results: Results) -> Row:
    scale = "ours" if _is_faithful(ensemble, results) else "reduced"
    known = _members([ensemble], results)
    numbers = sorted(results.numbers[group] for group in set(known.group))
    marks = "".join(f" [{number}]" for number in numbers)
    presets = {group.preset for group in known.group} or {ensemble.preset}
    preset = presets.pop() if len(presets) == 1 else "custom"
    counts = Counter(map(network_title, known.network))
    top5 = results.evaluated(ensemble.views).top5_error.reindex(ensemble.members).dropna()
    return {
        "method": f"ours, {plural(len(ensemble.members), 'model')}",
        "members": ", ".join(t if n == 1 else f"{n} {t}" for t, n in counts.items()),
        f"{scale}_top1": ensemble.top1_error,
        f"{scale}_top5": ensemble.top5_error,
        "member_top5": Sample(tuple(top5)).mean,
        "where": preset + (marks or f", {data_title(ensemble.dataset, ensemble.official)}"),
        "views": ensemble.views,
        "images": ensemble.images,
        "preset": preset,
        "dataset": ensemble.dataset,
        "official": "yes" if ensemble.official else "no",
        "runs": " ".join(ensemble.members),
        "measured": ensemble.measured,
    }
