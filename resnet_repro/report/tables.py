"""The paper's tables beside ours, as data; `rendering` turns them into text."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from resnet_repro.base.errors import StoreError
from resnet_repro.base.files import read_text
from resnet_repro.paper.facts import CifarResult, load_facts
from resnet_repro.paper.others import reported_range
from resnet_repro.report.commands import run_command
from resnet_repro.report.groups import Group
from resnet_repro.report.notes import table_notes, troubles
from resnet_repro.report.results import Cell, collect, groups_in, network_title, networks_of
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.network_names import parse_network
from resnet_repro.spec.shows import CostTable, ErrorTable
from resnet_repro.store.store import Store
from resnet_repro.store.stored_run import StoredRun

__all__ = [
    "Column",
    "Row",
    "Table",
    "Value",
    "cost_table",
    "error_table",
    "mean_and_std",
    "number_groups",
    "read_costs",
    "title_of",
]

Value = str | int | float | None
Row = Mapping[str, Value]


@dataclass(frozen=True)
class Column:
    """A column. Where space is short, columns with the highest `spare` go first, 0 never goes."""

    key: str
    header: str
    number: bool = True
    form: str = ""  # format of a number, as in "{:.2f}" without the braces
    spare: int = 0
    shown: Literal["everywhere", "print", "csv"] = "everywhere"


@dataclass(frozen=True)
class Table:
    """A table: what it is of, its rows (a value per column key), and what a reader must know."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


ERROR_COLUMNS = (
    Column("network", "network", number=False, shown="csv"),
    Column("method", "method", number=False),
    Column("layers", "layers", spare=5),
    Column("parameters", "parameters", form=",", spare=4),
    Column("paper_parameters", "in paper", spare=6),
    Column("paper", "paper", shown="print"),
    Column("paper_error", "paper error", form=".2f", shown="csv"),
    Column("paper_best", "paper best", form=".2f", shown="csv"),
    Column("ours", "ours", shown="print"),
    Column("test_error", "test error", form=".2f", shown="csv"),
    Column("test_error_std", "std", form=".2f", shown="csv"),
    Column("seeds", "seeds", shown="print"),
    Column("finished", "seeds", shown="csv"),
    Column("difference", "difference", form="+.2f", spare=1),
    Column("best_seed", "best of seeds", form=".2f", spare=3),
    Column("train_error", "train error", form=".2f", spare=2),
    Column("train_error_std", "train std", form=".2f", shown="csv"),
    Column("best_on_test", "best on test", form=".2f", shown="csv"),
    Column("failed", "failed", shown="csv"),
    Column("unfinished", "unfinished", shown="csv"),
    Column("preset", "preset", number=False, shown="print"),
    Column("preset_name", "preset", number=False, shown="csv"),
    Column("dataset", "dataset", number=False, shown="csv"),
    Column("official", "official", number=False, shown="csv"),
    Column("precision", "precision", number=False, shown="csv"),
    Column("protocol", "protocol", number=False, shown="csv"),
)

OTHERS_COLUMNS = (
    Column("others", "others", shown="print", spare=1),
    Column("others_lowest", "others lowest", form=".2f", shown="csv"),
    Column("others_highest", "others highest", form=".2f", shown="csv"),
    Column("others_count", "others count", shown="csv"),
)

COST_COLUMNS = (
    Column("network", "network", number=False),
    Column("parameters", "parameters", form=","),
    Column("paper_parameters", "paper parameters", spare=2),
    Column("giga_multiply_adds", "multiply-adds (1e9)", form=".3f", shown="print"),
    Column("multiply_adds", "multiply-adds", shown="csv"),
    Column("paper_giga_flops", "paper (1e9)", form=".1f", shown="print"),
    Column("paper_flops", "paper", shown="csv"),
    Column("agrees", "agrees", number=False),
)


def error_table(
    experiment: Experiment,
    runs: Sequence[StoredRun],
    others: bool = False,
    numbers: Mapping[Group, int] | None = None,
) -> Table:
    """Final test errors beside the paper's (Table 6), a row per network and group of runs.

    `others` adds the range that public reproductions report. Without results, the paper's rows
    stand alone with the command that fills the table. `numbers` are the groups' numbers where they
    are counted and explained elsewhere; the notes are about this table alone then.
    """
    networks = networks_of(experiment)
    cells = collect(networks, runs)
    counted, numbers = bool(numbers), number_groups(groups_in(cells), numbers)
    rows: list[Row] = []
    if isinstance(experiment.table, ErrorTable) and experiment.table.literature:
        literature = [row for row in load_facts().table6 if row.network is None]
        rows += [_paper_row(row.method, row) for row in literature]
    for network in networks:
        row = _paper_row(network_title(network), load_facts().cifar_result(network), network)
        if others:
            row = {**row, **_others(network)}
        ours = [
            _our_row(row, cell, numbers[cell.group]) for cell in cells if cell.network == network
        ]
        rows += ours or [row]
    columns: tuple[Column, ...] = ERROR_COLUMNS
    if others:
        after = 1 + [column.key for column in columns].index("paper_best")
        columns = columns[:after] + OTHERS_COLUMNS + columns[after:]
    notes = troubles(cells, numbers) if counted else table_notes(experiment, cells, numbers, others)
    return Table(title_of(experiment), columns, tuple(rows), tuple(notes))


def number_groups(
    found: Sequence[Group], elsewhere: Mapping[Group, int] | None
) -> dict[Group, int]:
    """The groups' numbers: those counted `elsewhere`, or from 1 in the table's own order."""
    counted = elsewhere or {}
    return {group: counted.get(group, i) for i, group in enumerate(found, start=1)}


def title_of(experiment: Experiment) -> str:
    """`Table 6: what it shows`."""
    return (
        f"{experiment.reference}: {experiment.title}" if experiment.reference else experiment.title
    )


def _paper_row(method: str, row: CifarResult | None, network: str | None = None) -> Row:
    """What the paper says of a network; most of it empty where it says nothing."""
    layers = parse_network(network).depth if network else row.layers if row else None
    values: dict[str, Value] = {"network": network, "method": method, "layers": layers}
    if network is None and layers is not None:
        values["method"] = f"{method}-{layers}"
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


def _our_row(paper: Row, cell: Cell, number: int) -> Row:
    """The paper's row with one cell's results beside it."""
    test, train = cell.errors("final_test_error"), cell.errors("final_train_error")
    reference = paper.get("paper_error")
    difference = None
    if cell.group.faithful and test.mean is not None and isinstance(reference, float):
        difference = test.mean - reference
    every = (*cell.done, *cell.failed, *cell.unfinished)
    group = cell.group
    return {
        **paper,
        "parameters": next((run.summary.parameters for run in every if run.summary), None),
        "ours": mean_and_std(test.mean, test.std),
        "test_error": test.mean,
        "test_error_std": test.std,
        "seeds": f"{len(cell.done)} of {len(every)}" if every != cell.done else str(len(every)),
        "finished": len(cell.done),
        "difference": difference,
        "best_seed": test.best if test.count > 1 else None,
        "train_error": train.mean,
        "train_error_std": train.std,
        "best_on_test": cell.errors("best_test_error").mean,
        "failed": len(cell.failed),
        "unfinished": len(cell.unfinished),
        "preset": f"{group.preset} [{number}]",
        "preset_name": group.preset,
        "dataset": group.dataset,
        "official": "yes" if group.official else "no",
        "precision": group.resolved,
        "protocol": group.caption,
    }


def mean_and_std(mean: float | None, std: float | None) -> str | None:
    """`8.61 ± 0.10`; None without a mean."""
    if mean is None:
        return None
    return f"{mean:.2f}" if std is None else f"{mean:.2f} ± {std:.2f}"


def cost_table(experiment: Experiment, store: Store) -> Table:
    """Parameters and multiply-adds beside the paper's (Table 1, Fig. 3, Table 6).

    Reads the experiment's CSV, which `run` writes; without it the paper's numbers stand alone.

    Raises:
        StoreError: the CSV is not what `run` writes.
    """
    assert isinstance(experiment.table, CostTable), "only for experiments that tabulate cost"
    measured = read_costs(experiment, store)
    rows: list[Row] = []
    for network in experiment.table.networks:
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


def read_costs(experiment: Experiment, store: Store) -> dict[str, Row]:
    """Network -> what `run` counted (`parameters`, `multiply_adds`); empty where it has not.

    Raises:
        StoreError: the CSV is not what `run` writes.
    """
    path = store.csv_path(experiment.name)
    try:
        lines = csv.DictReader(io.StringIO(read_text(path), newline=""))
        return {line["network"]: _cost_row(line) for line in lines}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise StoreError(
            f"{path.name} is unreadable; write it again with: {run_command(experiment)}"
        ) from error


def _cost_row(line: Mapping[str, str]) -> Row:
    words = {"true": "yes", "yes": "yes", "1": "yes", "false": "no", "no": "no", "0": "no"}
    multiply_adds = int(float(line["multiply_adds"]))
    return {
        "parameters": int(line["parameters"]),
        "multiply_adds": multiply_adds,
        "giga_multiply_adds": multiply_adds / 1e9,
        "agrees": words.get(line["agrees"].strip().lower()),
    }
