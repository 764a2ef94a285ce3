"""Tables 2, 3 and 4: errors from several views of each photograph, beside the paper's.

Results that are not the paper's protocol on ImageNet have columns of their own, and so have weights
that were not trained here: neither is to be held against the paper's numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from resnet_repro.base.errors import plain
from resnet_repro.paper.facts import ImageNetResult, load_facts
from resnet_repro.report.claims.quantities import evaluation
from resnet_repro.report.commands import at_group, run_command
from resnet_repro.report.groups import Group
from resnet_repro.report.notes import troubles
from resnet_repro.report.results import Cell, Sample, collect, groups_in, main_group, network_title
from resnet_repro.report.tables import Column, Row, Table, mean_and_std, number_groups, title_of
from resnet_repro.spec.dataset_names import dataset_title
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.network_names import parse_network
from resnet_repro.spec.shows import Views, ViewsTable
from resnet_repro.store.models import ExternalEvaluation
from resnet_repro.store.stored_run import StoredRun

__all__ = [
    "REDUCED_NOTE",
    "VIEWS_NOTES",
    "errors_from",
    "of_network",
    "views_table",
    "weights_caption",
]

VIEWS_NOTES: dict[Views, str] = {
    "centre": "one centre crop per image",
    "10-crop": "10-crop: centre and four corners of the image and of its mirror, softmax averaged",
    "multi-scale": "multi-scale: fully convolutional, softmax averaged over places, the mirror "
    "image and several shorter sides",
}
REDUCED_NOTE = (
    "Reduced: other photographs than ImageNet's or less than the paper's protocol; not to be held "
    "against the paper's numbers."
)
WEIGHTS_NOTE = "Weights: evaluated here, not trained here."

VIEWS_COLUMNS = (
    Column("network", "network", number=False, shown="csv"),
    Column("method", "method", number=False),
    Column("layers", "layers", spare=6),
    Column("parameters", "parameters", form=",", spare=5),
    Column("paper_top1", "paper top-1", form=".2f"),
    Column("paper_top5", "paper top-5", form=".2f", spare=2),
    Column("ours_top1_text", "ours top-1", shown="print"),
    Column("ours_top5_text", "ours top-5", shown="print", spare=2),
    Column("ours_top1", "", shown="csv"),
    Column("ours_top1_std", "", shown="csv"),
    Column("ours_top5", "", shown="csv"),
    Column("ours_top5_std", "", shown="csv"),
    Column("difference", "difference", form="+.2f", spare=1),
    Column("reduced_top1_text", "reduced top-1", shown="print"),
    Column("reduced_top5_text", "reduced top-5", shown="print", spare=2),
    Column("reduced_top1", "", shown="csv"),
    Column("reduced_top1_std", "", shown="csv"),
    Column("reduced_top5", "", shown="csv"),
    Column("reduced_top5_std", "", shown="csv"),
    Column("weights_top1", "weights top-1", form=".2f"),
    Column("weights_top5", "weights top-5", form=".2f", spare=2),
    Column("seeds", "seeds", shown="print"),
    Column("finished", "seeds", shown="csv"),
    Column("centre_top1", "centre crop", form=".2f", spare=3),
    Column("train_error", "train error", form=".2f", spare=3),
    Column("failed", "failed", shown="csv"),
    Column("unfinished", "unfinished", shown="csv"),
    Column("where", "on", number=False, shown="print"),
    Column("views", "views", number=False, shown="csv"),
    Column("preset_name", "preset", number=False, shown="csv"),
    Column("dataset", "dataset", number=False, shown="csv"),
    Column("official", "official", number=False, shown="csv"),
    Column("precision", "precision", number=False, shown="csv"),
    Column("protocol", "protocol", number=False, shown="csv"),
)


def views_table(
    experiment: Experiment,
    table: ViewsTable,
    runs: Sequence[StoredRun],
    externals: Sequence[ExternalEvaluation] = (),
    numbers: Mapping[Group, int] | None = None,
) -> Table:
    """A row per network and group of runs, in the paper's order, and one per foreign weights.

    `numbers` are the groups' numbers where they are counted and explained elsewhere; the notes are
    about this table alone then.

    Raises:
        StoreError: what was measured on a run cannot be read.
    """
    cells = collect(experiment.networks, runs)
    found = groups_in(cells)
    counted, numbers = bool(numbers), number_groups(found, numbers)
    rows: list[Row] = []
    for paper, network in _paper_rows(experiment, table):
        base = _base_row(paper, network)
        own = [c for c in cells if c.network == network]
        trained = [_run_row(base, cell, table.views, numbers[cell.group]) for cell in own]
        found_weights = [
            row
            for external in of_network(externals, network)
            if (row := _weights_row(base, external, table.views))
        ]
        about_it = trained or any(row["network"] == network for row in found_weights)
        rows += [*([] if about_it else [base]), *trained, *found_weights]
    columns = tuple(c for c in VIEWS_COLUMNS if table.top5 or "top5" not in c.key)
    notes = _weights(rows) + troubles(cells, numbers)
    if not counted:
        notes = [f"[{number}] {group.caption}" for group, number in numbers.items()] + notes
        notes += _notes(experiment, table, cells, bool(_weights(rows)))
    title = title_of(experiment)
    if found and not any(group.faithful for group in found):
        title += "; ours at reduced scale"
    return Table(title, columns, tuple(rows), tuple(notes))


def _paper_rows(
    experiment: Experiment, table: ViewsTable
) -> list[tuple[ImageNetResult | None, str | None]]:
    """(the paper's row, network), each None where there is no such thing."""
    networks = experiment.networks
    if table.paper is None:
        return [(None, network) for network in networks]
    printed = [
        (row, row.network)
        for row in load_facts().imagenet_results(table.paper)
        if row.network is None or row.network in networks or not _trainable(row.network)
    ]
    known = {network for _, network in printed}
    return [*printed, *((None, network) for network in networks if network not in known)]


def _trainable(network: str) -> bool:
    return parse_network(network).trainable


def _base_row(paper: ImageNetResult | None, network: str | None) -> Row:
    name = parse_network(network) if network else None
    return {
        "network": network,
        "method": network_title(network) if network else paper.method if paper else None,
        "layers": name.depth if name else None,
        "paper_top1": paper.top1 if paper else None,
        "paper_top5": paper.top5 if paper else None,
    }


def _run_row(base: Row, cell: Cell, views: Views, number: int) -> Row:
    group, every = cell.group, (*cell.done, *cell.failed, *cell.unfinished)
    top1, top5 = errors_from(cell, views)
    scale = "ours" if group.faithful else "reduced"
    reference = base["paper_top1"]
    difference = None
    if group.faithful and top1.mean is not None and isinstance(reference, float):
        difference = top1.mean - reference
    return {
        **base,
        f"{scale}_top1_text": mean_and_std(top1.mean, top1.std),
        f"{scale}_top5_text": mean_and_std(top5.mean, top5.std),
        f"{scale}_top1": top1.mean,
        f"{scale}_top1_std": top1.std,
        f"{scale}_top5": top5.mean,
        f"{scale}_top5_std": top5.std,
        "parameters": next((run.summary.parameters for run in every if run.summary), None),
        "difference": difference,
        "seeds": f"{top1.count} of {len(every)}" if top1.count != len(every) else str(len(every)),
        "finished": top1.count,
        "centre_top1": cell.errors("final_test_error").mean,
        "train_error": cell.errors("final_train_error").mean,
        "failed": len(cell.failed),
        "unfinished": len(cell.unfinished),
        "where": f"{group.preset} [{number}]",
        "views": views,
        "preset_name": group.preset,
        "dataset": group.dataset,
        "official": "yes" if group.official else "no",
        "precision": group.resolved,
        "protocol": group.caption,
    }


def errors_from(cell: Cell, views: Views) -> tuple[Sample, Sample]:
    """(top-1, top-5) errors of a cell's runs on which these views were measured.

    The top-1 error of the centre crop is measured at the end of every training.
    """
    rows = [row for run in cell.done if (row := evaluation(run, views)) is not None]
    top5 = Sample(tuple(row.top5_error for row in rows))
    if views == "centre":
        return cell.errors("final_test_error"), top5
    return Sample(tuple(row.top1_error for row in rows)), top5


def of_network(
    externals: Sequence[ExternalEvaluation], network: str | None
) -> list[ExternalEvaluation]:
    """Those of a network, or of the same with its stride elsewhere, as others have trained it."""
    if network is None:
        return []
    name = parse_network(network)
    return [e for e in externals if replace(parse_network(e.network), stride_in_3x3=False) == name]


def _weights_row(base: Row, external: ExternalEvaluation, views: Views) -> Row | None:
    row = next((row for row in external.evaluations if row.views == views), None)
    if row is None:
        return None
    official = external.data.get("official") is True
    same = external.network == base["network"]  # else the paper's numbers are of another network
    return {
        **(base if same else {"layers": base["layers"]}),
        "network": external.network,
        "method": network_title(external.network),
        "weights_top1": row.top1_error,
        "weights_top5": row.top5_error,
        "where": f"weights {external.weights_sha256[:8]}",
        "views": views,
        "dataset": external.dataset,
        "official": "yes" if official else "no",
        "protocol": weights_caption(external),
    }


def weights_caption(external: ExternalEvaluation) -> str:
    """`weights a1b2c3d4: vgg16.pth on ImageNet (unofficial copy)`."""
    copy = "" if external.data.get("official") is True else " (unofficial copy)"
    file, data = plain(external.weights_file, 60), dataset_title(external.dataset)
    return f"weights {external.weights_sha256[:8]}: {file} on {data}{copy}"


def _weights(rows: Sequence[Row]) -> list[str]:
    """Whose weights were evaluated, on what."""
    return [str(row["protocol"]) for row in rows if row.get("weights_top1") is not None]


def _notes(
    experiment: Experiment, table: ViewsTable, cells: Sequence[Cell], weights: bool
) -> list[str]:
    """How to read the columns, and what is not measured."""
    notes = []
    measured = [cell for cell in cells if errors_from(cell, table.views)[0].count]
    if measured or weights:
        notes.append(
            "Errors are percent over the validation images, of the final iterate, mean ± standard "
            f"deviation over seeds; {VIEWS_NOTES[table.views]}."
        )
    if any(not cell.group.faithful for cell in measured):
        notes.append(REDUCED_NOTE)
    if weights:
        notes.append(WEIGHTS_NOTE)
    return notes + _to_do(experiment, cells, measured)


def _to_do(experiment: Experiment, cells: Sequence[Cell], measured: Sequence[Cell]) -> list[str]:
    """What is not run or not measured, with the command."""
    if not measured and not any(cell.done for cell in cells):
        return [f"No results yet. To fill this table: {run_command(experiment)}"]
    main = main_group(cells)
    variant = (main and at_group(experiment, main)) or experiment
    have = {cell.network for cell in measured if cell.group == main}
    missing = [network for network in variant.networks if network not in have]
    if not missing:
        return []
    titles = ", ".join(network_title(network) for network in missing)
    command = run_command(variant, missing)
    return [f"Not measured: {titles}. To do so at the {variant.preset} preset: {command}"]
