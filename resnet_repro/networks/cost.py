"""What a network costs: parameters and multiply-adds (Table 1, Table 6, Fig. 3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from resnet_repro.networks.factory import build_network
from resnet_repro.spec.network_names import parse_network

__all__ = ["Cost", "count_cost"]


@dataclass(frozen=True)
class Cost:
    """Trainable parameters, and multiply-adds of convolutions and classifier for one image."""

    parameters: int
    multiply_adds: int


def count_cost(network: str) -> Cost:
    """Count one image's forward pass (32x32 CIFAR, 224x224 ImageNet) on the meta device.

    Uses torch's own counter, which counts two operations per multiply-add; no weights are made.
    """
    name = parse_network(network)
    side = 32 if name.family == "cifar" else 224
    with torch.device("meta"):
        model = build_network(network).eval()
        image = torch.empty(1, 3, side, side)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    return Cost(
        parameters=sum(p.numel() for p in model.parameters()),
        multiply_adds=counter.get_total_flops() // 2,
    )
