"""Weight initialisation of He et al. 2015 ("Delving Deep into Rectifiers"), as section 3.4 asks."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from resnet_repro.networks.orders import CountedDropout, Gate

__all__ = ["initialise"]


def initialise(
    network: nn.Module,
    seed: int,
    convolution: Literal["he-fan-in", "he-fan-out"] = "he-fan-in",
    classifier: Literal["he-fan-in", "uniform"] = "he-fan-in",
    gate_bias: float = -6.0,
) -> None:
    """Draw all weights of `network` (on the CPU) from `seed`, the same on every machine.

    Convolutions: normal with variance 2 / fan, and zero bias where they have one (VGG-16), but for
    gates, whose bias is `gate_bias`. BN: scale one, shift zero. Classifier: normal with variance
    2 / fan-in and zero bias, or PyTorch's uniform in +-1/sqrt(fan-in) for both. Dropout: the key of
    each layer's draws.
    """
    generator = torch.Generator().manual_seed(seed)
    fan: Literal["fan_in", "fan_out"] = "fan_in" if convolution == "he-fan-in" else "fan_out"
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(
                module.weight, mode=fan, nonlinearity="relu", generator=generator
            )
            if module.bias is not None:
                nn.init.constant_(module.bias, gate_bias if isinstance(module, Gate) else 0.0)
        elif isinstance(module, CountedDropout):
            module.draw_key(generator)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            if classifier == "uniform":
                bound = module.in_features**-0.5
                nn.init.uniform_(module.weight, -bound, bound, generator=generator)
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)
            else:
                nn.init.kaiming_normal_(
                    module.weight, mode="fan_in", nonlinearity="relu", generator=generator
                )
                nn.init.zeros_(module.bias)
