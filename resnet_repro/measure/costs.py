"""Table 1 as data: every network's parameters and multiply-adds beside the paper's."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from resnet_repro.base.files import csv_text
from resnet_repro.networks.architecture import architecture
from resnet_repro.networks.network import build_network
from resnet_repro.paper.facts import load_facts

__all__ = ["COLUMNS", "Cost", "cost_csv", "count_cost"]

COLUMNS = ("network", "parameters", "multiply_adds", "paper_flops", "agrees")
_SUFFIXES = {"M": 1e6, "K": 1e3, "": 1.0}


@dataclass(frozen=True)
class Cost:
    """Trainable parameters, and multiply-adds of convolutions and classifier for one image."""

    parameters: int
    multiply_adds: int


def count_cost(network: str) -> Cost:
    """Count one image's forward pass, of the paper's size, on the meta device.

    Uses torch's own counter, which counts two operations per multiply-add; no weights are made.
    """
    side = architecture(network).side
    with torch.device("meta"):
        model = build_network(network).eval()
        image = torch.empty(1, 3, side, side)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    return Cost(
        parameters=sum(p.numel() for p in model.parameters()),
        multiply_adds=counter.get_total_flops() // 2,
    )


def cost_csv(networks: Sequence[str]) -> str:
    """CSV with `COLUMNS`, one line per network.

    `agrees` is yes when ours becomes what the paper prints: its parameters (Table 6) by rounding,
    its FLOPs (Table 1, Fig. 3) by rounding or by leaving out further digits, as the paper must have
    done with ResNet-50's 3.858e9, printed 3.8e9. Empty where the paper prints neither.
    """
    facts = load_facts()
    rows = []
    for network in networks:
        cost = count_cost(network)
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
