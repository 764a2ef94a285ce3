"""Batch normalisation's statistics: of a batch in micro-batches, and their true average."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from resnet_repro.training.processes import Processes

__all__ = [
    "average_over_processes",
    "batch_counters",
    "micro_batch_momentum",
    "set_momentum",
    "store_true_average",
]


def _layers(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def set_momentum(network: nn.Module, momentum: float) -> None:
    """Set the weight of the next batch in the running statistics of every layer."""
    for layer in _layers(network):
        layer.momentum = momentum


def batch_counters(network: nn.Module) -> list[Tensor]:
    """What counts the batches that each layer has seen, to be advanced together."""
    return [layer.get_buffer("num_batches_tracked") for layer in _layers(network)]


def micro_batch_momentum(momentum: float, number: int, count: int) -> float:
    """The weight of the k-th of K micro-batches (k from 1), so that they count as one batch.

    Wanted is r <- (1 - p) r + p (x_1 + ... + x_K) / K, one update of the running statistics r with
    the mean of the micro-batches' statistics. These come one after another,
    r <- (1 - p_k) r + p_k x_k, which gives x_k the weight p_k (1 - p_{k+1}) ... (1 - p_K). For all
    of these to be p / K, p_K has to be p / K, and from the last one backwards each has to be larger
    than its successor: p_k = (p / K) / (1 - (K - k) p / K).
    """
    if count == 1:
        return momentum
    each = momentum / count
    return each / (1 - (count - number) * each)


def average_over_processes(network: nn.Module, processes: Processes) -> None:
    """Make the running statistics the average of all processes'.

    An update is linear in the statistics, r <- (1 - p) r + p x, so averaging them now and then
    comes to the same as averaging them after every iteration. Nothing in training depends on them.
    """
    if processes.count == 1:
        return
    names = ("running_mean", "running_var")
    tensors = [layer.get_buffer(name) for layer in _layers(network) for name in names]
    if not tensors:  # VGG-16 has no BN, a detector's is frozen
        return
    flat = processes.average_(torch.cat([tensor.flatten() for tensor in tensors]))
    for tensor, part in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))


def store_true_average(
    network: nn.Module,
    inputs: Iterable[Tensor],
    autocast: Callable[[], AbstractContextManager[object]],
) -> None:
    """Replace the running statistics by the true average over batches of inputs.

    The mean of the batches' means and of their unbiased variances, with the weights as they are;
    `network` is in training mode. If `inputs` raises something, everything is as it was.
    """
    layers = _layers(network)
    momenta = [layer.momentum for layer in layers]
    before = {name: value.clone() for name, value in network.named_buffers()}
    try:
        with torch.no_grad():
            for seen, x in enumerate(inputs, start=1):
                set_momentum(network, 1 / seen)  # r + (x_n - r) / n is the average of n
                with autocast():
                    network(x)
        # What dropouts have counted: a stop from here on has the same batches averaged once more.
        before = {name: value for name, value in before.items() if name.endswith(".batches")}
    finally:
        for name, value in before.items():
            network.get_buffer(name).copy_(value)
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
