"""Standard deviations of layer responses (Fig. 7, "Analysis of layer responses")."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from functools import partial

import torch
from torch import Tensor, nn

from resnet_repro.base.stop import until_stopped
from resnet_repro.networks.network import Network
from resnet_repro.spec.measurements import ResponseRow
from resnet_repro.training.subject import Subject

__all__ = ["measure_responses", "response_layers", "responses_of"]


def response_layers(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """(name, module) whose output is each 3x3 layer's response, in order; projections are left out.

    BN after the convolution, or the convolution itself where no BN of its own follows.
    """
    assert isinstance(network, Network)
    return [(name, network.get_submodule(name)) for name in network.architecture.observed]


def measure_responses(
    network: nn.Module,
    batches: Iterable[Tensor],
    autocast: Callable[[], AbstractContextManager[object]],
) -> list[ResponseRow]:
    """The standard deviation of every 3x3 layer's response.

    The response is the output of BN, before ReLU or addition. Where no BN of its own follows the
    convolution (in pre-activation networks, and before an addition that BN follows) it is the
    convolution's output, before the addition. He et al. 2016 show no responses: that is our reading
    of Fig. 7 for them. Such deviations are not on BN's scale; they compare layers of one network.
    The deviation is over all images, channels and positions, in evaluation mode, accumulated in
    float64.

    Args:
        network: a trained network, on the batches' device; its mode is restored.
        batches: float32 [B, 3, H, W] each, the mean subtracted.
    """
    layers = response_layers(network)
    sums = {name: torch.zeros(2, dtype=torch.float64) for name, _ in layers}
    counts = dict.fromkeys(sums, 0)

    def add(name: str, _module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        values = output.float()
        # Per channel in fp32, then across channels in float64: exact enough, and works on mps.
        total = values.sum(dim=(0, 2, 3)).cpu().double().sum()
        squares = values.square().sum(dim=(0, 2, 3)).cpu().double().sum()
        sums[name] += torch.stack((total, squares))
        counts[name] += values.numel()

    handles = [module.register_forward_hook(partial(add, name)) for name, module in layers]
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            for batch in batches:
                with autocast():
                    network(batch)
    finally:
        for handle in handles:
            handle.remove()
        network.train(was_training)
    rows = []
    for index, (name, _) in enumerate(layers, start=1):
        average, square = (sums[name] / counts[name]).tolist()
        std = math.sqrt(max(0.0, square - average * average))
        rows.append(ResponseRow(index, name, std))
    return rows


def responses_of(subject: Subject, should_stop: Callable[[], bool]) -> list[ResponseRow]:
    """The responses of a trained network to its run's test images.

    Raises:
        Stopped: `should_stop`, asked before every batch, said so.
    """
    batches = until_stopped(subject.labelled.part("test"), should_stop)
    inputs = (batch.inputs for batch in batches)
    return measure_responses(subject.network, inputs, subject.backend.autocast)
