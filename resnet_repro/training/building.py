"""A run's network, as its recipe describes it."""

from __future__ import annotations

import torch
from torch import nn

from resnet_repro.networks.blocks import BatchNormSettings
from resnet_repro.networks.initialise import initialise
from resnet_repro.networks.network import build_network
from resnet_repro.spec.run import Run
from resnet_repro.training.device import Backend

__all__ = ["build_for", "initial_network"]


def build_for(run: Run, classes: int) -> nn.Module:
    """The run's network, not initialised, on the CPU."""
    norm = BatchNormSettings(run.recipe.bn_epsilon, run.recipe.bn_momentum)
    return build_network(run.network, classes, norm, run.recipe.zero_channels)


def initial_network(run: Run, classes: int, backend: Backend) -> nn.Module:
    """The network as it is before the first iteration, on the backend's device."""
    recipe = run.recipe
    network = build_for(run, classes)
    initialise(network, run.seed, recipe.convolution_init, recipe.classifier_init)
    return network.to(backend.device).to(memory_format=torch.channels_last)
