"""Forward signals and backward gradients, layer by layer (section 4.1).

The paper reports that thanks to BN nothing vanishes in its plain networks, in either direction.
What it takes to see that for oneself: how much each 3x3 layer's output varies, and how large the
gradient is that comes back to this output (the back-propagated signal) and to the layer's weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_repro.measure.responses import response_layers

__all__ = ["LayerGradient", "measure_gradients"]


class LayerGradient(NamedTuple):
    """One 3x3 layer at one moment of a training."""

    layer: int  # from 1
    module: str  # the BN module after the convolution, as in Fig. 7
    forward_std: float  # of the response after BN, before ReLU or addition
    gradient_norm: float  # L2 norm of the loss's gradient in the convolution's weights
    weight_norm: float  # L2 norm of these weights
    signal_norm: float  # L2 norm of the loss's gradient in the response, over the whole batch


def measure_gradients(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    autocast: Callable[[], AbstractContextManager[object]],
) -> list[LayerGradient]:
    """What one batch sends forward and back through every 3x3 layer, in training mode.

    It passes through a copy of the network: weights, their gradients, BN's
    running statistics and random numbers of the training stay as they are.

    Args:
        network: on the inputs' device, in either mode.
        inputs: float32 [N, 3, H, W], the mean subtracted; labels: [N].
        autocast: makes the context of a forward pass (its precision).
    """
    twin = copy.deepcopy(network).train()
    twin.requires_grad_(True)
    twin.zero_grad(set_to_none=True)
    layers = response_layers(twin)
    stds: dict[str, Tensor] = {}
    signals: dict[str, Tensor] = {}

    def keep_signal(name: str) -> Callable[[Tensor], None]:
        def hook(gradient: Tensor) -> None:
            signals[name] = torch.linalg.vector_norm(gradient.detach().float())

        return hook

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            stds[name] = output.detach().float().std(correction=0)
            output.register_hook(keep_signal(name))

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in layers]
    try:
        with torch.enable_grad():
            with autocast():
                logits = twin(inputs)
            F.cross_entropy(logits.float(), labels).backward()
    finally:
        for handle in handles:
            handle.remove()
    modules = dict(twin.named_modules())
    rows = []
    for index, (name, _) in enumerate(layers, start=1):
        convolution = modules[name.replace("bn", "conv")]
        assert isinstance(convolution, nn.Conv2d)
        weight, gradient = convolution.weight.detach(), convolution.weight.grad
        assert gradient is not None, "every layer lies between the images and the loss"
        rows.append(
            LayerGradient(
                index,
                name,
                stds[name].item(),
                torch.linalg.vector_norm(gradient.float()).item(),
                torch.linalg.vector_norm(weight.float()).item(),
                signals[name].item(),
            )
        )
    return rows
