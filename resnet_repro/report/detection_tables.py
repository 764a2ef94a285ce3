"""Tables 7, 8 and 10: average precision of detectors, beside the paper's.

What is not the paper's protocol on its data has a column of its own, in rows without the paper's
numbers: a mean over other classes, or over fewer images, is another quantity. By class the paper's
numbers stand on every row, since a class is the same everywhere; reduced ones stay marked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from resnet_repro.paper.facts import load_facts
from resnet_repro.report.groups import Group
from resnet_repro.report.rendering import Column, Row, Table
from resnet_repro.report.results import Cell, Results
from resnet_repro.report.table_parts import (
    AT_REDUCED_SCALE,
    PROTOCOL_COLUMNS,
    cell_values,
    group_notes,
    no_results,
    number_groups,
    title_of,
    troubles,
)
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.network_names import network_title, parse_network
from resnet_repro.spec.shows import DetectionTable

__all__ = ["detection_table"]

Numbers = Mapping[Group, int]
# By the paper's table: its columns with the facts' names, and what of ours stands beside the first
# and the second of them.
_MEANS = {
    "table7": (("VOC07", "voc07"), ("VOC12", "voc12"), "ap_11point", "ap_area"),
    "table8": (("AP@.5", "ap50"), ("AP@[.5,.95]", "ap"), "coco_ap50", "coco_ap"),
}
_DATA = {"table7": "voc07+12", "table8": "coco", "table10": "voc07+12"}
_OURS = {
    "table7": ("mAP", "mAP by area"),
    "table8": ("AP@.5", "AP@[.5,.95]"),
}
_TAIL = (
    Column("seeds", "seeds", shown="print", spare=3),
    Column("finished", csv="seeds", shown="csv"),
    Column("failed", shown="csv"),
    Column("unfinished", shown="csv"),
    Column("where", "on", number=False, shown="print"),
    *PROTOCOL_COLUMNS,
)
FORMS_NOTE = (
    "mAP: mean over the classes of average precision at an overlap of 0.5, in percent, in PASCAL "
    "VOC 2007's form with 11 points; by area: in that of 2010 and later. Difficult objects count "
    "neither way."
)
COCO_NOTE = (
    "AP@.5 and AP@[.5,.95]: COCO's average precision, in percent, by its own program (an extra: "
    "pip install 'resnet-repro[detection]')."
)
REDUCED_NOTE = (
    "Reduced: other images, classes or weights to start from than the paper's, or less training; "
    "not to be held against the paper's numbers."
)


def detection_table(
    experiment: Experiment, table: DetectionTable, results: Results, shared: Numbers | None
) -> Table:
    """The paper's rows, and a row per network (and class) and group of runs."""
    cells = results.cells_of(experiment)
    numbers = shared or number_groups(cells)
    by_class = table.paper == "table10"
    made = _class_rows if by_class else _mean_rows
    columns, rows = made(table, cells, results, numbers)
    notes = troubles(cells, numbers)
    if not shared:
        notes = [
            *group_notes(numbers),
            *notes,
            COCO_NOTE if table.paper == "table8" else FORMS_NOTE,
        ]
        if not any(cell.done for cell in cells):
            notes.append(no_results(experiment))
    beside = [cell for cell in cells if _is_beside(table, cell)]
    if len(beside) < len(cells):
        notes.append(REDUCED_NOTE)
    title = title_of(experiment)
    if cells and not beside:
        title += AT_REDUCED_SCALE
    return Table(title, columns, tuple(rows), tuple(notes))


def _mean_rows(
    table: DetectionTable, cells: Sequence[Cell], results: Results, numbers: Numbers
) -> tuple[tuple[Column, ...], list[Row]]:
    (first, first_fact), (second, second_fact), ours, ours_too = _MEANS[table.paper]
    names = _OURS[table.paper]
    columns = (
        Column("network", shown="csv"),
        Column("method", "method", number=False),
        Column("paper_first", f"paper {first}", form=".1f", csv=f"paper_{first_fact}"),
        Column("paper_second", f"paper {second}", form=".1f", csv=f"paper_{second_fact}"),
        Column("ours", f"ours {names[0]}", spread=True),
        Column("ours_too", f"ours {names[1]}", spread=True, spare=2),
        Column("reduced", f"reduced {names[0]}", spread=True),
        Column("reduced_too", f"reduced {names[1]}", spread=True, spare=2),
        Column("parameters", "parameters", form=",", spare=4),
        *_TAIL,
    )
    means = results.precisions.groupby("run")[[ours, ours_too]].mean()
    printed = {row.network: row for row in getattr(load_facts(), table.paper)}
    rows: list[Row] = []
    for network, row in printed.items():
        beside = [c for c in cells if c.network == network and _is_beside(table, c)]
        paper: Row = {
            "network": network,
            "method": row.method,
            "paper_first": getattr(row, first_fact),
            "paper_second": getattr(row, second_fact),
        }
        rows += [{**paper, **_means(table, c, means, numbers)} for c in beside] or [paper]
    for cell in cells:
        if not (_is_beside(table, cell) and cell.network in printed):
            method = _method(cell.network)
            own = {"network": cell.network, "method": method}
            rows.append({**own, **_means(table, cell, means, numbers)})
    return columns, rows


def _means(table: DetectionTable, cell: Cell, means: pd.DataFrame, numbers: Numbers) -> Row:
    first, second = (cell.over_seeds(means[name]) for name in means.columns)
    kind = "ours" if _is_beside(table, cell) else "reduced"
    values = cell_values(cell, numbers[cell.group], first.count)
    return {**values, kind: first, f"{kind}_too": second}


def _class_rows(
    table: DetectionTable, cells: Sequence[Cell], results: Results, numbers: Numbers
) -> tuple[tuple[Column, ...], list[Row]]:
    columns = (
        Column("class_name", "class", number=False, csv="class"),
        Column("paper_vgg", "paper VGG-16", form=".1f", csv="paper_vgg_16"),
        Column("paper_resnet", "paper ResNet-101", form=".1f", csv="paper_resnet_101"),
        Column("network", shown="csv"),
        Column("method", "ours", number=False, shown="print"),
        Column("ours", "AP", spread=True),
        Column("ours_too", "by area", spread=True, spare=2),
        Column("reduced", "reduced AP", spread=True),
        Column("reduced_too", "reduced by area", spread=True, spare=2),
        Column("objects", "objects", form=",", spare=1),
        *_TAIL,
    )
    found, facts = results.precisions, load_facts()
    vgg, resnet = (
        facts.class_precisions(table.paper, f"faster-rcnn-{name}")
        for name in ("vgg-16", "resnet-101")
    )
    rows: list[Row] = []
    measured = list(dict.fromkeys(found[found.run.isin(_runs(cells))].class_name))
    for name in measured or facts.voc_classes:
        paper: Row = {
            "class_name": name,
            "paper_vgg": vgg.get(name),
            "paper_resnet": resnet.get(name),
        }
        of_class = found[found.class_name == name].set_index("run")
        own = []
        for cell in cells:
            first, second = (cell.over_seeds(of_class[n]) for n in ("ap_11point", "ap_area"))
            if not first.count:
                continue
            kind = "ours" if _is_beside(table, cell) else "reduced"
            values = cell_values(cell, numbers[cell.group], first.count)
            objects = of_class.objects.reindex(_runs([cell])).max()
            own.append(
                {
                    **paper,
                    **values,
                    "network": cell.network,
                    "method": _method(cell.network),
                    "objects": int(objects),
                    kind: first,
                    f"{kind}_too": second,
                }
            )
        rows += own or [paper]
    return columns, rows


def _is_beside(table: DetectionTable, cell: Cell) -> bool:
    """Whether a cell stands beside the paper's numbers: its protocol, on the table's data set."""
    return cell.group.faithful and cell.group.dataset == _DATA[table.paper]


def _runs(cells: Sequence[Cell]) -> list[str]:
    return [run.id for cell in cells for run in cell.done]


def _method(network: str) -> str:
    """A detector in a table of detectors: by its backbone."""
    return network_title(parse_network(network).backbone)
