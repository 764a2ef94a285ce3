"""What a network costs, counted by torch while it runs."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from resnet_repro.networks.architecture import architecture
from resnet_repro.networks.network import build_network


class Cost(NamedTuple):
    """Trainable parameters, and multiply-adds of convolutions and classifier for one image."""

    parameters: int
    multiply_adds: int


@cache
def count_cost(network: str) -> Cost:
    """Count one image's forward pass, of the paper's size, on the meta device."""
    side = architecture(network).side
    with torch.device("meta"):
        model = build_network(network).eval()
        image = torch.empty(1, 3, side, side)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    parameters = sum(p.numel() for p in model.parameters())
    return Cost(parameters, counter.get_total_flops() // 2)  # two operations per multiply-add
