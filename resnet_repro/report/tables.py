"""An experiment's table: the paper's numbers beside ours; what public reproductions report."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from resnet_repro.base.errors import ConfigError
from resnet_repro.paper.facts import CifarResult, load_facts, load_others, reported_range
from resnet_repro.paper.papers import HE_2016, paper_of_table, papers_on
from resnet_repro.report.cells import Cell
from resnet_repro.report.cost_tables import cost_table, layer_table
from resnet_repro.report.detection_tables import detection_table
from resnet_repro.report.photo_tables import ensemble_table, views_table
from resnet_repro.report.rendering import Column, Row, Shown, Table, Value, csv_only, spread
from resnet_repro.report.results import Results
from resnet_repro.report.table_parts import (
    DIFFERENCE_NOTES,
    ERRORS_NOTE,
    HELD_OUT_NOTE,
    OTHERS_NOTE,
    PROTOCOL_COLUMNS,
    cell_values,
    difference_from_paper,
    results_table,
    to_do,
)
from resnet_repro.spec.dataset_names import dataset_title
from resnet_repro.spec.experiment import Choices, Experiment
from resnet_repro.spec.network_names import network_title, parse_network
from resnet_repro.spec.tables_figures import (
    CostTable,
    DetectionTable,
    EnsembleTable,
    ErrorTable,
    LayerTable,
    ViewsTable,
)

__all__ = ["OTHERS_SOURCES_NOTE", "make_table", "others_table"]

ERROR_COLUMNS = (
    *csv_only("network"),
    Column("method", "method", number=False),
    Column("data", "data", number=False, csv=()),
    Column("layers", "layers", spare=5),
    Column("parameters", "parameters", form=",", spare=4),
    Column("paper_parameters", "in paper", spare=6),
    Column("paper", "paper", csv=("paper_error", "paper_best")),
    Column("others", "others", csv=("others_lowest", "others_highest", "others_count")),
    spread("test_error", "ours"),
    spread("validation_error", "held out"),
    Column("seeds", "seeds"),
    Column("difference", "difference", form="+.2f", spare=1),
    Column("best_seed", "best of seeds", form=".2f", spare=3),
    spread("train_error", "train error", form=".2f", spare=2),
    *csv_only("best_on_test", "failed", "unfinished"),
    Column("where", "preset", number=False, csv=()),
    *PROTOCOL_COLUMNS,
)

OTHERS_SOURCES_NOTE = (
    "Errors are percent as the sources report them (100 minus an accuracy), of one run unless a "
    "standard deviation stands beside; iterate is what the source says of how it was chosen. The "
    "ranges of others above leave out the best on test."
)
SELECTIONS = {"final": "final", "best": "best on test", "unstated": "not stated"}


def make_table(experiment: Experiment, results: Results, *, others: bool = False) -> Table:
    """An experiment's table: the paper's rows, with ours beside or below them.

    With `others` a table of errors shows the range that public reproductions report.

    Raises:
        ConfigError: the experiment has no table.
        StoreError: a result cannot be read.
    """
    match experiment.table:
        case None if experiment.plot is None:
            raise ConfigError(f"{experiment.name} has neither table nor figure")
        case None:
            plot = f"resnet-repro plot {shlex.quote(experiment.source.text)}{results.option}"
            raise ConfigError(f"{experiment.name} is a figure: {plot}")
        case CostTable() as table:
            return cost_table(experiment, table)
        case ViewsTable() as table:
            return views_table(experiment, table, results)
        case LayerTable() as table:
            return layer_table(experiment, table)
        case EnsembleTable():
            return ensemble_table(experiment, results)
        case DetectionTable() as table:
            return detection_table(experiment, table, results)
        case ErrorTable() as table:
            return _error_table(experiment, table, results, others)


def _error_table(
    experiment: Experiment, table: ErrorTable, results: Results, others: bool
) -> Table:
    """Final test errors beside the paper's (Table 6), a row per network and group of runs.

    Without results, the paper's rows stand alone with the command that fills the table.
    """
    cells = results.cells_of(experiment)
    rows: list[Row] = []
    if table.literature:
        unnamed = (row for row in load_facts().cifar_results(table.paper) if row.network is None)
        rows += [_paper_row(row.method, row) for row in unnamed]
    for network in experiment.shown_networks:
        for dataset, cell in _places(experiment, table, network, cells):
            row = _beside(network, dataset, table, others)
            ours = _our_values(cell, results, table) if cell else {}
            rows.append({**row, **ours})
    columns = [c for c in ERROR_COLUMNS if others or c.key != "others"]
    done = [cell for cell in cells if cell.done]
    compared = any(row.get("difference") is not None for row in rows)
    held_out = any(row.get("validation_error") is not None for row in rows)
    explained = [
        *([ERRORS_NOTE] if done else []),
        *([HELD_OUT_NOTE] if held_out else []),
        *([DIFFERENCE_NOTES[paper_of_table(table.paper)]] if compared else []),
        *([OTHERS_NOTE] if others else []),
        *to_do(experiment, cells, results),
    ]
    return results_table(experiment, columns, rows, cells, results, explained=explained)


def _places(
    experiment: Experiment, table: ErrorTable, network: str, cells: Sequence[Cell]
) -> list[tuple[str, Cell | None]]:
    """(data set, cell or None) of each row of a network: our results, then what is printed alone.

    A network that the paper's table lacks and that the preset leaves out has no empty row.
    """
    own: list[tuple[str, Cell | None]]
    own = [(cell.group.dataset, cell) for cell in cells if cell.network == network]
    printed = [r.dataset for r in load_facts().cifar_results(table.paper) if r.network == network]
    if not own and not printed and network in experiment.choose(Choices()).networks:
        return [(experiment.dataset, None)]
    if own and not _several_datasets(table):
        return own
    chosen = [dataset for dataset in experiment.datasets if papers_on("cifar", dataset)]
    seen = {dataset for dataset, _ in own}
    wanted = [d for d in printed if d not in seen and (d in chosen or not chosen)]
    return own + [(dataset, None) for dataset in wanted]


def _several_datasets(table: ErrorTable) -> bool:
    return len({row.dataset for row in load_facts().cifar_results(table.paper)}) > 1


def _beside(network: str, dataset: str, table: ErrorTable, others: bool) -> Row:
    """What papers and public reproductions say of a network on a data set."""
    row = load_facts().cifar_result(network, table.paper, dataset)
    values = dict(_paper_row(network_title(network), row, network))
    if _several_datasets(table):
        values |= {"data": dataset_title(dataset), "dataset": dataset}
    if others and papers_on("cifar", dataset) != (HE_2016,):  # they are on CIFAR-10
        values["others"] = _others(network)
    return values


def _paper_row(method: str, row: CifarResult | None, network: str | None = None) -> Row:
    """The paper's values of a network; without the paper's numbers if it has none."""
    layers = parse_network(network).depth if network else row.layers if row else None
    if network is None and layers is not None:
        method = f"{method}-{layers}"
    values: dict[str, Value] = {"network": network, "method": method, "layers": layers}
    if row is None:
        return values
    shown = Shown(str(row.error), (row.error.comparable, row.error.best))
    return values | {"paper_parameters": row.parameters, "paper": shown}


def _others(network: str) -> Shown | None:
    """The range that public reproductions report for a network: `8.27 to 8.74 (6)`."""
    found = reported_range(network)
    if found is None:
        return None
    low, high, count = found
    return Shown(f"{low:.2f}" if count == 1 else f"{low:.2f} to {high:.2f} ({count})", found)


def _our_values(cell: Cell, results: Results, table: ErrorTable) -> dict[str, Value]:
    """One cell's results, for the columns beside the paper's."""
    runs, dataset = results.runs, cell.group.dataset
    printed = load_facts().cifar_result(cell.network, table.paper, dataset)
    reference = printed.error.comparable if printed else None
    test = cell.over_seeds(runs.final_test_error)
    held_out = cell.over_seeds(runs.final_validation_error)
    return {
        **cell_values(cell, results, len(cell.done)),
        "test_error": test,
        "validation_error": held_out if held_out.count else None,
        "difference": difference_from_paper(
            cell.group, test.mean, reference, paper_of_table(table.paper)
        ),
        "best_seed": min(test.values) if test.count > 1 else None,
        "train_error": cell.over_seeds(runs.final_train_error),
        "best_on_test": cell.over_seeds(runs.best_test_error).mean,
    }


def others_table(networks: Sequence[str]) -> Table:
    """A row per reproduction that reports one of the networks, with its link."""
    columns = (
        Column("name", "reproduction", number=False),
        *(Column(network, network_title(network)) for network in networks),
        Column("selection", "iterate", number=False),
        Column("protocol", "protocol", number=False, spare=2),
        Column("link", "source", number=False, spare=1),
    )
    rows: list[Row] = [
        {
            "name": other.name,
            **{n: str(other.errors[n]) for n in networks if n in other.errors},
            "selection": SELECTIONS[other.selection],
            "protocol": other.protocol,
            "link": other.link,
        }
        for other in load_others()
        if any(network in other.errors for network in networks)
    ]
    title = "Public reproductions: test error on CIFAR-10"
    return Table(title, columns, rows, [OTHERS_SOURCES_NOTE])
