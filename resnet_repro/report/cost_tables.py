"""Tables of costs, which need no training: Table 1, and a network layer by layer."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence

import pandas as pd
from pandas.errors import EmptyDataError

from resnet_repro.base.errors import StoreError
from resnet_repro.base.files import read_text
from resnet_repro.networks.architecture import architecture
from resnet_repro.networks.layer import Layer
from resnet_repro.networks.outline import outline
from resnet_repro.paper.facts import PrintedLayer, load_facts
from resnet_repro.report.commands import run_command
from resnet_repro.report.rendering import Column, Row, Table, Value
from resnet_repro.report.table_parts import title_of
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.shows import CostTable, LayerTable
from resnet_repro.store.store import Store

__all__ = ["cost_table", "layer_table"]

_YES_OR_NO = {"true": "yes", "yes": "yes", "1": "yes", "false": "no", "no": "no", "0": "no"}
# The columns to read from the CSV of `run`, also of earlier versions.
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
PRINTED_COLUMNS = (
    Column("layer", "layer", number=False),
    Column("parameters", "parameters", form=","),
    Column("kilo_parameters", "printed K", form=",g", shown="print"),
    Column("printed_parameters", shown="csv"),
    Column("multiply_adds", "multiply-adds", form=","),
    Column("mega_multiply_adds", "printed M", form=",g", shown="print"),
    Column("printed_multiply_adds", shown="csv"),
    Column("slip", "slip", number=False),
)
MOST_OFF = 0.05  # by which printed parameters may be off, before the row is marked
PRINTED_NOTES = (
    "Printed: Table 1 of GoogLeNet's paper (Szegedy et al. 2015); the heads that serve training "
    "only are not in it.",
    "The 7x7 convolution's printed numbers are those of 7 + 7 weights for each channel and filter "
    "instead of 7 x 7. 4c has a tenth more parameters than printed, 5a 5% fewer multiply-adds.",
    "All other multiply-adds are the printed ones, rounded or cut off. The other parameters are "
    "within 5%; 112K, 159K, 380K and 1000K are ours, rounded or cut off, if K is 1,024.",
)


def cost_table(experiment: Experiment, table: CostTable, store: Store) -> Table:
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
    if "vgg-16" in table.networks:
        notes.append(
            "The 15.3e9 that the paper gives VGG-16 are its convolutions alone (15.347e9). AlexNet "
            "and GoogLeNet are those of their papers (two groups, 227x227; without the heads that "
            "serve training only). torchvision's AlexNet has one tower, its GoogLeNet has BN, and "
            "3x3 convolutions where 5x5 belong."
        )
    if len(measured) < len(rows):
        notes.append(f"To fill this table (seconds, trains nothing): {run_command(experiment)}")
    return Table(title_of(experiment), COST_COLUMNS, tuple(rows), tuple(notes))


def layer_table(experiment: Experiment, table: LayerTable) -> Table:
    """Every layer with weights in order (those of shortcuts last) and its share of the cost.

    Raises:
        ConfigError: the network is a detector.
    """
    if table.printed:
        return _printed_table(experiment, table.network)
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


def _printed_table(experiment: Experiment, network: str) -> Table:
    """GoogLeNet in the rows of its paper's table, beside what that prints."""
    weighted, facts = outline(network).weighted, load_facts().googlenet
    rows = []
    for printed in facts:
        layers = [x for x in weighted if x.name.partition(".")[0] in printed.modules]
        rows.append(_printed_row(printed, _sums(layers)))
    printed = PrintedLayer(
        layer="all",
        parameters=sum(row.parameters for row in facts),
        multiply_adds=sum(row.multiply_adds for row in facts),
    )
    rows.append({**_printed_row(printed, _sums(weighted)), "slip": ""})
    return Table(title_of(experiment), PRINTED_COLUMNS, tuple(rows), PRINTED_NOTES)


def _sums(layers: Sequence[Layer]) -> tuple[int, int]:
    """Parameters and multiply-adds."""
    return sum(each.parameters for each in layers), sum(each.multiply_adds for each in layers)


def _printed_row(printed: PrintedLayer, ours: tuple[int, int]) -> Row:
    parameters, cost = ours
    off = {
        "parameters": abs(parameters / printed.parameters - 1) > MOST_OFF,
        # Printed numbers are rounded or cut off.
        "multiply-adds": printed.multiply_adds not in (round(cost, -6), cost - cost % 10**6),
    }
    slip = "both" if all(off.values()) else next((what for what in off if off[what]), "")
    return {
        "layer": printed.layer,
        "parameters": parameters,
        "printed_parameters": printed.parameters,
        "kilo_parameters": printed.parameters / 1e3,
        "multiply_adds": cost,
        "printed_multiply_adds": printed.multiply_adds,
        "mega_multiply_adds": printed.multiply_adds / 1e6,
        "slip": slip,
    }


def read_costs(experiment: Experiment, store: Store) -> dict[str, Row]:
    """Network -> the counts by `run` (`parameters`, `multiply_adds`); empty without its CSV.

    Raises:
        StoreError: the CSV is invalid.
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
