"""Table 1 as data: every network's parameters and multiply-adds beside the paper's; no torch."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from resnet_repro.base.files import csv_text
from resnet_repro.networks.outline import outline
from resnet_repro.paper.facts import load_facts

__all__ = ["cost_csv"]

COLUMNS = ("network", "parameters", "multiply_adds", "paper_flops", "agrees")
_SUFFIXES = {"M": 1e6, "K": 1e3, "": 1.0}


def cost_csv(networks: Sequence[str]) -> str:
    """CSV with `COLUMNS`, one line per network.

    `agrees` is yes when ours becomes what the paper prints: its parameters (Table 6) by rounding,
    its FLOPs (Table 1, Fig. 3) by rounding or by leaving out further digits, as the paper must have
    done with ResNet-50's 3.858e9, printed 3.8e9. Empty where the paper prints neither.
    """
    facts = load_facts()
    rows = []
    for network in networks:
        cost = outline(network)
        flops = facts.flops_of(network)
        row = facts.cifar_result(network)
        checks = []
        if flops is not None:
            tenths, printed_tenths = cost.multiply_adds / 1e8, round(flops / 1e8)
            checks.append(printed_tenths in (round(tenths), math.floor(tenths)))
        if row and row.parameters:
            checks.append(_agrees(cost.parameters, row.parameters))
        verdict = "" if not checks else "yes" if all(checks) else "no"
        printed = "" if flops is None else f"{flops / 1e9:.1f}e9"
        rows.append((network, cost.parameters, cost.multiply_adds, printed, verdict))
    return csv_text(COLUMNS, rows)


def _agrees(parameters: int, printed: str) -> bool:
    """Whether a count, rounded, is a number such as `0.27M`."""
    match = re.fullmatch(r"(\d+)(?:\.(\d+))?([MK]?)", printed)
    if not match:
        raise ValueError(f"not a parameter count: {printed!r}")
    unit = 10.0 ** -len(match[2] or "") * _SUFFIXES[match[3]]
    value = float(printed.rstrip("MK")) * _SUFFIXES[match[3]]
    return round(parameters / unit) == round(value / unit)
