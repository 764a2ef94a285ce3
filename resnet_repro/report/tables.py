"""An experiment's table: the paper's numbers beside ours."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence

import pandas as pd
from pandas.errors import EmptyDataError

from resnet_repro.base.errors import ConfigError, StoreError
from resnet_repro.base.files import read_text
from resnet_repro.networks.architecture import architecture
from resnet_repro.networks.outline import outline
from resnet_repro.paper.facts import CifarResult, load_facts
from resnet_repro.paper.others import reported_range
from resnet_repro.report.commands import run_command
from resnet_repro.report.groups import Group
from resnet_repro.report.photo_tables import ensemble_table, views_table
from resnet_repro.report.rendering import Column, Row, Table, Value
from resnet_repro.report.results import Cell, Results, networks_of
from resnet_repro.report.table_parts import (
    DIFFERENCE_NOTE,
    ERRORS_NOTE,
    OTHERS_NOTE,
    PROTOCOL_COLUMNS,
    cell_values,
    difference,
    group_notes,
    no_results,
    number_groups,
    title_of,
    troubles,
    variant_of,
)
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.network_names import network_title, parse_network
from resnet_repro.spec.shows import (
    CostTable,
    EnsembleTable,
    ErrorTable,
    LayerTable,
    ViewsTable,
)
from resnet_repro.store.store import Store

__all__ = ["make_table", "read_costs"]

ERROR_COLUMNS = (
    Column("network", shown="csv"),
    Column("method", "method", number=False),
    Column("layers", "layers", spare=5),
    Column("parameters", "parameters", form=",", spare=4),
    Column("paper_parameters", "in paper", spare=6),
    Column("paper", "paper", shown="print"),
    Column("paper_error", shown="csv"),
    Column("paper_best", shown="csv"),
    Column("others", "others", shown="print", spare=1),
    Column("others_lowest", shown="csv"),
    Column("others_highest", shown="csv"),
    Column("others_count", shown="csv"),
    Column("test_error", "ours", spread=True),
    Column("seeds", "seeds", shown="print"),
    Column("finished", csv="seeds", shown="csv"),
    Column("difference", "difference", form="+.2f", spare=1),
    Column("best_seed", "best of seeds", form=".2f", spare=3),
    Column("train_error", "train error", form=".2f", spare=2),
    Column("train_error_std", shown="csv"),
    Column("best_on_test", shown="csv"),
    Column("failed", shown="csv"),
    Column("unfinished", shown="csv"),
    Column("where", "preset", number=False, shown="print"),
    *PROTOCOL_COLUMNS,
)

_YES_OR_NO = {"true": "yes", "yes": "yes", "1": "yes", "false": "no", "no": "no", "0": "no"}
# What is read of the CSV that `run` writes, and earlier versions wrote.
_COSTS: dict[str, Callable[[str], Value]] = {
    "network": str,
    "parameters": int,
    "multiply_adds": lambda text: int(float(text)),
    "agrees": lambda text: _YES_OR_NO.get(text.strip().lower(), ""),
}
COST_COLUMNS = (
    Column("network", "network", number=False),
    Column("parameters", "parameters", form=","),
    Column("paper_parameters", "paper parameters", spare=2),
    Column("giga_multiply_adds", "multiply-adds (1e9)", form=".3f", shown="print"),
    Column("multiply_adds", shown="csv"),
    Column("paper_giga_flops", "paper (1e9)", form=".1f", shown="print"),
    Column("paper_flops", shown="csv"),
    Column("agrees", "agrees", number=False),
)


LAYER_COLUMNS = (
    Column("layer", "layer", number=False),
    Column("kind", "", number=False),
    Column("output", "output", number=False, spare=1),
    Column("parameters", "parameters", form=","),
    Column("multiply_adds", "multiply-adds", form=","),
    Column("share", "share %", form=".1f", spare=2),
)


def make_table(
    experiment: Experiment, results: Results, *, others: bool = False, in_report: bool = False
) -> Table:
    """What an experiment tabulates.

    Args:
        experiment: whose rows are the paper's and, beside or below them, ours.
        results: all that was measured.
        others: whether a table of errors shows the range that public reproductions report.
        in_report: whether the groups of runs have the numbers of the whole report, which explains
            them and the columns elsewhere; the notes are about this table alone then.

    Raises:
        ConfigError: the experiment is a figure.
        StoreError: something that was measured cannot be read.
    """
    shared = results.numbers if in_report and results.numbers else None
    match experiment.table:
        case None:
            raise ConfigError(f"{experiment.name} has no table; try: resnet-repro plot")
        case CostTable() as table:
            return _cost_table(experiment, table, results.store)
        case ViewsTable() as table:
            return views_table(experiment, table, results, shared)
        case LayerTable() as table:
            return _layer_table(experiment, table)
        case EnsembleTable():
            return ensemble_table(experiment, results, shared)
        case ErrorTable() as table:
            return _error_table(experiment, table, results, others, shared)


def _error_table(
    experiment: Experiment,
    table: ErrorTable,
    results: Results,
    others: bool,
    shared: Mapping[Group, int] | None,
) -> Table:
    """Final test errors beside the paper's (Table 6), a row per network and group of runs.

    Without results, the paper's rows stand alone with the command that fills the table.
    """
    networks = networks_of(experiment)
    cells = results.cells(networks)
    numbers = shared or number_groups(cells)
    rows: list[Row] = []
    if table.literature:
        literature = [row for row in load_facts().table6 if row.network is None]
        rows += [_paper_row(row.method, row) for row in literature]
    for network in networks:
        paper = _paper_row(network_title(network), load_facts().cifar_result(network), network)
        if others:
            paper = {**paper, **_others(network)}
        own = [cell for cell in cells if cell.network == network]
        rows += [{**paper, **_our_values(paper, c, results, numbers)} for c in own] or [paper]
    columns = [c for c in ERROR_COLUMNS if others or not c.key.startswith("others")]
    notes = troubles(cells, numbers)
    if not shared:
        notes = [*group_notes(numbers), *notes, *_explained(experiment, cells, others)]
    return Table(title_of(experiment), tuple(columns), tuple(rows), tuple(notes))


def _paper_row(method: str, row: CifarResult | None, network: str | None = None) -> Row:
    """What the paper says of a network; most of it empty where it says nothing."""
    layers = parse_network(network).depth if network else row.layers if row else None
    if network is None and layers is not None:
        method = f"{method}-{layers}"
    values: dict[str, Value] = {"network": network, "method": method, "layers": layers}
    if row is None:
        return values
    return values | {
        "paper_parameters": row.parameters,
        "paper": str(row.error),
        "paper_error": row.error.comparable,
        "paper_best": None if row.error.mean is None else row.error.printed,
    }


def _others(network: str) -> Row:
    """What public reproductions report of a network: `8.27 to 8.74 (6)`."""
    found = reported_range(network)
    if found is None:
        return {}
    low, high, count = found
    return {
        "others": f"{low:.2f}" if count == 1 else f"{low:.2f} to {high:.2f} ({count})",
        "others_lowest": low,
        "others_highest": high,
        "others_count": count,
    }


def _our_values(
    paper: Row, cell: Cell, results: Results, numbers: Mapping[Group, int]
) -> dict[str, Value]:
    """One cell's results, to stand beside the paper's."""
    runs, printed = results.runs, paper.get("paper_error")
    reference = printed if isinstance(printed, float) else None
    test, train = map(cell.over_seeds, (runs.final_test_error, runs.final_train_error))
    return {
        **cell_values(cell, numbers[cell.group], len(cell.done)),
        "test_error": test,
        "difference": difference(cell.group, test.mean, reference),
        "best_seed": test.best if test.count > 1 else None,
        "train_error": train.mean,
        "train_error_std": train.std,
        "best_on_test": cell.over_seeds(runs.best_test_error).mean,
    }


def _explained(experiment: Experiment, cells: Sequence[Cell], others: bool) -> list[str]:
    """How to read the columns, and what is not run."""
    done = [cell for cell in cells if cell.done]
    notes = [OTHERS_NOTE] if others else []
    if not done:
        return [*notes, no_results(experiment)]
    faithful = any(cell.group.faithful for cell in done)
    notes = [ERRORS_NOTE, *([DIFFERENCE_NOTE] if faithful else []), *notes]
    missing = [n for n in networks_of(experiment) if n not in {cell.network for cell in done}]
    if missing:
        titles = ", ".join(network_title(network) for network in missing)
        variant = variant_of(experiment, cells)
        command = run_command(variant, [n for n in missing if n in variant.networks])
        notes.append(f"Not run: {titles}. To run at the {variant.preset} preset: {command}")
    return notes


def _cost_table(experiment: Experiment, table: CostTable, store: Store) -> Table:
    """Parameters and multiply-adds beside the paper's (Table 1, Fig. 3, Table 6).

    Reads the experiment's CSV, which `run` writes; without it the paper's numbers stand alone.
    """
    measured = read_costs(experiment, store)
    rows: list[Row] = []
    for network in table.networks:
        result, printed = load_facts().cifar_result(network), load_facts().flops_of(network)
        rows.append(
            {
                "network": network,
                "paper_parameters": result.parameters if result else None,
                "paper_flops": printed,
                "paper_giga_flops": printed and printed / 1e9,
                **measured.get(network, {}),
            }
        )
    notes = [
        "Multiply-adds of convolutions and classifier for one image: 224x224 in the ImageNet "
        "family, 32x32 in the CIFAR family. An empty cell: the paper prints no number."
    ]
    if len(measured) < len(rows):
        notes.append(f"To fill this table (seconds, trains nothing): {run_command(experiment)}")
    return Table(title_of(experiment), COST_COLUMNS, tuple(rows), tuple(notes))


def _layer_table(experiment: Experiment, table: LayerTable) -> Table:
    """Every layer with weights, in order, those of shortcuts last, and its share of the cost.

    Raises:
        ConfigError: the network's layers are not in a row.
    """
    whole = outline(table.network)
    rows: list[Row] = [
        {
            "layer": layer.name,
            "kind": layer.text,
            "output": f"{layer.outputs}x{layer.side}x{layer.side}",
            "parameters": layer.parameters,
            "multiply_adds": layer.multiply_adds,
            "share": 100 * layer.multiply_adds / whole.multiply_adds,
        }
        for layer in whole.weighted
    ]
    side = architecture(table.network).side
    notes = (
        f"All: {whole.parameters:,} parameters (a layer's with its BN or bias) and "
        f"{whole.multiply_adds:,} multiply-adds for one {side}x{side} image.",
    )
    return Table(title_of(experiment), LAYER_COLUMNS, tuple(rows), notes)


def read_costs(experiment: Experiment, store: Store) -> dict[str, Row]:
    """Network -> what `run` counted (`parameters`, `multiply_adds`); empty where it has not.

    Raises:
        StoreError: the CSV is not what `run` writes.
    """
    path = store.csv_path(experiment.name)
    try:
        text = read_text(path)
        frame = pd.read_csv(
            io.StringIO(text), converters=_COSTS, usecols=[*_COSTS], na_filter=False
        )
    except (FileNotFoundError, EmptyDataError):
        return {}
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path.name} is unreadable; write it again with: {run_command(experiment)}"
        ) from error
    frame["giga_multiply_adds"] = frame.multiply_adds / 1e9
    lines = frame.to_dict("records")
    return {line["network"]: {str(key): line[key] for key in line} for line in lines}
