"""Tables of costs, which need no training: Table 1, and a network layer by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from resnet_repro.networks.architecture import architecture
from resnet_repro.networks.layer import Layer
from resnet_repro.networks.outline import outline
from resnet_repro.paper.facts import PrintedLayer, load_facts
from resnet_repro.report.rendering import Column, Row, Table
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.tables_figures import CostTable, LayerTable

__all__ = ["agreement", "cost_rows", "cost_table", "layer_table"]

COST_COLUMNS = (
    Column("network", "network", number=False),
    Column("parameters", "parameters", form=","),
    Column("paper_parameters", "paper parameters", spare=2),
    Column("multiply_adds", "multiply-adds (1e9)", form=".3f", scale=1e9),
    Column("paper_flops", "paper (1e9)", form=".1f", scale=1e9),
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
    Column("printed_parameters", "printed K", form=",g", scale=1e3),
    Column("multiply_adds", "multiply-adds", form=","),
    Column("printed_multiply_adds", "printed M", form=",g", scale=1e6),
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


def cost_table(experiment: Experiment, table: CostTable) -> Table:
    """Parameters and multiply-adds beside the paper's (Table 1, Fig. 3, Table 6)."""
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
    return Table(experiment.heading, COST_COLUMNS, cost_rows(table), notes)


def cost_rows(table: CostTable) -> list[Row]:
    """What is counted of each network, and what the paper prints."""
    rows: list[Row] = []
    for network in table.networks:
        whole, facts = outline(network), load_facts()
        result, printed = facts.cifar_result(network), facts.flops_of(network)
        rows.append(
            {
                "network": network,
                "parameters": whole.parameters,
                "paper_parameters": result.parameters if result else None,
                "multiply_adds": whole.multiply_adds,
                "paper_flops": printed,
                "agrees": agreement(network, whole.parameters, whole.multiply_adds),
            }
        )
    return rows


def agreement(network: str, parameters: int, multiply_adds: int) -> str:
    """`yes` when counts become what the paper prints of a network, else `no`.

    Its parameters (Table 6) by rounding, its FLOPs (Table 1, Fig. 3) by rounding or by leaving out
    further digits, as the paper must have done with ResNet-50's 3.858e9, printed 3.8e9. Empty where
    the paper prints neither.
    """
    result, flops = load_facts().cifar_result(network), load_facts().flops_of(network)
    checks = []
    if flops is not None:
        tenths = multiply_adds / 1e8
        checks.append(round(flops / 1e8) in (round(tenths), math.floor(tenths)))
    if result and result.parameters:  # "0.27M"
        digits = len(result.parameters.partition(".")[2]) - 1
        checks.append(f"{parameters / 1e6:.{digits}f}M" == result.parameters)
    return "" if not checks else "yes" if all(checks) else "no"


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
    notes = [
        f"All: {whole.parameters:,} parameters (a layer's with its BN or bias) and "
        f"{whole.multiply_adds:,} multiply-adds for one {side}x{side} image."
    ]
    return Table(experiment.heading, LAYER_COLUMNS, rows, notes)


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
    return Table(experiment.heading, PRINTED_COLUMNS, rows, PRINTED_NOTES)


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
        "multiply_adds": cost,
        "printed_multiply_adds": printed.multiply_adds,
        "slip": slip,
    }
