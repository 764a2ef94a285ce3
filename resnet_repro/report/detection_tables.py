"""Tables 7, 8 and 10: average precision of detectors, beside the paper's.

What is not the paper's protocol on the table's data stands in a table of its own, without the
paper's numbers: a mean over other classes, or over fewer images, is another quantity. In CSV, it
has rows and columns of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from resnet_repro.base.plain_text import plural
from resnet_repro.paper.facts import load_facts
from resnet_repro.report.cells import Cell
from resnet_repro.report.rendering import Column, Row, Table, csv_only, spread
from resnet_repro.report.results import Results
from resnet_repro.report.table_parts import (
    PROTOCOL_COLUMNS,
    cell_values,
    results_table,
    to_do,
)
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.network_names import network_title, parse_network
from resnet_repro.spec.tables_figures import DetectionTable

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["detection_table"]

OwnColumn = Literal["ours", "reduced"]  # both a column and what its numbers are called


class _Paper(NamedTuple):
    """A table of the paper: its data set, and (title, field) of its two columns and of ours."""

    dataset: str
    printed: tuple[tuple[str, str], tuple[str, str]]  # fields of the facts' rows
    ours: tuple[tuple[str, str], tuple[str, str]]  # columns of `average_precision.csv`


_PAPER = {
    "table7": _Paper(
        "voc07+12",
        (("VOC07", "voc07"), ("VOC12", "voc12")),
        (("mAP", "ap_11point"), ("mAP by area", "ap_area")),
    ),
    "table8": _Paper(
        "coco",
        (("AP@.5", "ap50"), ("AP@[.5,.95]", "ap")),
        (("AP@.5", "coco_ap50"), ("AP@[.5,.95]", "coco_ap")),
    ),
    "table10": _Paper(
        "voc07+12",
        (("VGG-16", "vgg_16"), ("ResNet-101", "resnet_101")),
        (("AP", "ap_11point"), ("by area", "ap_area")),
    ),
}
_TAIL = (
    Column("seeds", "seeds", spare=3),
    *csv_only("failed", "unfinished"),
    Column("where", "on", number=False, csv=()),
    *PROTOCOL_COLUMNS,
)
FORMS_NOTE = (
    "Average precision (AP; mAP is its mean over the classes) at an overlap of 0.5, in percent, in "
    "PASCAL VOC 2007's form with 11 points; by area: in that of 2010 and later. Difficult objects "
    "count neither way."
)
COCO_NOTE = (
    "AP@.5 and AP@[.5,.95]: COCO's average precision, in percent, by its own program (an extra: "
    "pip install 'resnet-repro[detection]')."
)
REDUCED_DETECTION_NOTE = (
    "Reduced: other images, classes or weights to start from than the paper's, or less training; "
    "not to be compared with the paper's numbers. On images that were chosen because they hold the "
    "classes, average precision comes out higher than on all."
)
BACKBONE_NOTE = (
    "Its test error: of the classification network that the detector started from, in percent."
)


def detection_table(experiment: Experiment, table: DetectionTable, results: Results) -> Table:
    """The paper's rows, with ours beside them; below, a table of reduced results if there are any.

    A row per network and group of runs, in Table 10 per class as well.
    """
    cells = results.cells_of(experiment)
    dataset = _PAPER[table.paper].dataset  # on which the paper's protocol stands beside its numbers
    beside = [cell for cell in cells if cell.group.faithful and cell.group.dataset == dataset]
    reduced = [cell for cell in cells if cell not in beside]
    make = _class_rows if table.paper == "table10" else _mean_rows
    columns, below = _columns(table), None
    if reduced:
        rows = make(table, reduced, results, "reduced")
        own = [REDUCED_DETECTION_NOTE, *_measures(table, reduced, results)]
        below = results_table(experiment, columns, rows, reduced, results, own=own, reduced=True)
    explained = to_do(experiment, cells, results)
    rows = make(table, beside, results, "ours")
    own = _measures(table, beside, results)
    return results_table(
        experiment, columns, rows, beside, results, own=own, explained=explained, below=below
    )


def _measures(table: DetectionTable, cells: Sequence[Cell], results: Results) -> list[str]:
    """What our numbers in a table are: how they are computed, and over which classes and images."""
    found = results.frame("average_precision")
    if not any(cell.done for cell in cells):
        return []
    notes = [COCO_NOTE if table.paper == "table8" else FORMS_NOTE]
    if table.paper != "table10":
        notes.append(BACKBONE_NOTE)
    of: dict[str, None] = {}
    for cell in cells:
        for _, rows in found[found.run.isin([run.id for run in cell.done])].groupby("run"):
            classes = plural(int(rows.ap_11point.notna().sum()), "class")  # those with objects
            images = plural(int(rows.images.max()), "test image")
            of[f"[{results.numbers[cell.group]}] is over {classes} and {images}."] = None
    return [*notes, *of]


def _columns(table: DetectionTable) -> list[Column]:
    """The paper's columns, ours and reduced ones; a table fills either ours or the reduced ones."""
    of = _PAPER[table.paper]
    printed = [Column(f"paper_{name}", f"paper {title}", form=".1f") for title, name in of.printed]
    (first, _), (second, _) = of.ours
    ours = [
        spread("ours", f"ours {first}"),
        spread("ours_too", f"ours {second}", spare=2),
        spread("reduced", f"reduced {first}"),
        spread("reduced_too", f"reduced {second}", spare=2),
    ]
    if table.paper == "table10":
        name = Column("class_name", "class", number=False, csv=("class",))
        network = [*csv_only("network"), Column("method", "network", number=False)]
        objects = Column("objects", "objects", form=",", spare=1)
        return [name, *printed, *network, *ours, objects, *_TAIL]
    network = [*csv_only("network"), Column("method", "method", number=False)]
    error = spread("backbone_error", "its test error", spare=1)
    parameters = Column("parameters", "parameters", form=",", spare=4)
    return [*network, *printed, *ours, error, parameters, *_TAIL]


def _mean_rows(
    table: DetectionTable, cells: Sequence[Cell], results: Results, kind: OwnColumn
) -> list[Row]:
    """A row per cell; where they are ours, those that the paper prints first, with its numbers."""
    measured = [name for _, name in _PAPER[table.paper].ours]
    means = results.frame("average_precision").groupby("run")[measured].mean()
    rows: list[Row] = []
    printed = getattr(load_facts(), table.paper) if kind == "ours" else ()
    for row in printed:
        paper: Row = {"network": row.network, "method": row.method} | {
            f"paper_{fact}": getattr(row, fact) for _, fact in _PAPER[table.paper].printed
        }
        own = [cell for cell in cells if cell.network == row.network]
        rows += [{**paper, **_values(cell, results, means, kind)} for cell in own] or [paper]
    others = [cell for cell in cells if cell.network not in {row.network for row in printed}]
    return rows + [_values(cell, results, means, kind) for cell in others]


def _class_rows(
    table: DetectionTable, cells: Sequence[Cell], results: Results, kind: OwnColumn
) -> list[Row]:
    """A row per class and cell; where they are ours, the paper's numbers of all its classes.

    Reduced ones of which no class was measured yet have a row per cell.
    """
    facts, columns = load_facts(), [name for _, name in _PAPER[table.paper].ours]
    names = [fact for _, fact in _PAPER[table.paper].printed] if kind == "ours" else []
    networks = {name: f"faster-rcnn-{name.replace('_', '-')}" for name in names}
    printed = {f"paper_{f}": facts.class_precisions(n) for f, n in networks.items()}
    found = results.frame("average_precision")
    theirs = found[found.run.isin([run.id for cell in cells for run in cell.done])]
    measured = list(dict.fromkeys(theirs.class_name))
    if not measured and kind == "reduced":
        return [_values(cell, results, theirs.set_index("run")[columns], kind) for cell in cells]
    rows: list[Row] = []
    for name in measured or facts.voc_classes:
        paper: Row = {"class_name": name} | {key: by.get(name) for key, by in printed.items()}
        of_class = theirs[theirs.class_name == name].set_index("run")
        own: list[Row] = []
        for cell in cells:
            if cell.over_seeds(of_class[columns[0]]).count:
                objects = int(max(cell.over_seeds(of_class.objects).values))
                values = _values(cell, results, of_class[columns], kind)
                own.append({**paper, **values, "objects": objects})
        rows += own or [paper]
    return rows


def _values(cell: Cell, results: Results, forms: pd.DataFrame, kind: OwnColumn) -> Row:
    """A cell's row besides the paper's numbers; `forms` are its two columns by run."""
    first, second = (cell.over_seeds(forms[name]) for name in forms.columns)
    method = network_title(parse_network(cell.network).backbone)
    values = cell_values(cell, results, first.count)
    named = {"network": cell.network, "method": method}
    started = cell.over_seeds(results.backbone_errors)
    return {**named, **values, kind: first, f"{kind}_too": second, "backbone_error": started}
