"""A run's network, as its recipe describes it, and what is needed to measure it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from resnet_repro.base.errors import ConfigError
from resnet_repro.networks.architecture import architecture
from resnet_repro.networks.blocks import BatchNorm
from resnet_repro.networks.fused import check_compiler
from resnet_repro.networks.initialise import initialise
from resnet_repro.networks.network import build_network
from resnet_repro.spec.run import Run
from resnet_repro.training.box_feed import BoxFeed
from resnet_repro.training.checkpoint import CheckpointError
from resnet_repro.training.cifar_feed import CifarFeed
from resnet_repro.training.device import Backend
from resnet_repro.training.feed import Feed
from resnet_repro.training.memory import is_lack_of_memory
from resnet_repro.training.order import generator
from resnet_repro.training.photo_feed import PhotoFeed

__all__ = ["Subject", "check_compiled", "initial_network", "trained_network"]


def _build(run: Run, classes: int) -> nn.Module:
    """The run's network, not initialised, on the CPU."""
    recipe = run.recipe
    norm = partial(BatchNorm, eps=recipe.bn_epsilon, momentum=recipe.bn_momentum)
    if recipe.detection is None:
        return build_network(run.network, classes, norm, recipe.zero_channels)
    from resnet_repro.networks.detector import build_detector  # torchvision takes a second

    return build_detector(run.network, classes, recipe.detection, norm, recipe.zero_channels)


def initial_network(run: Run, classes: int, backend: Backend) -> nn.Module:
    """The network as it is before the first iteration, on the backend's device."""
    network = _build(run, classes)
    recipe = run.recipe
    initialise(network, run.seed, recipe.convolution_init, recipe.classifier_init, recipe.gate_bias)
    if recipe.detection is not None:
        from resnet_repro.networks.detector import initialise_new_layers

        drawn = generator("new layers", run.seed)
        initialise_new_layers(network, recipe.detection.new_layers_std, drawn)
    return network.to(backend.device).to(memory_format=torch.channels_last)


def trained_network(
    run: Run, weights: Mapping[str, Tensor], classes: int, backend: Backend
) -> nn.Module:
    """The network with the weights of a checkpoint, on the backend's device.

    Raises:
        CheckpointError: they are not of this run's network.
    """
    network = _build(run, classes)
    try:
        network.load_state_dict(weights)
    except (LookupError, TypeError, RuntimeError, AttributeError) as error:
        if is_lack_of_memory(error):
            raise
        raise CheckpointError(f"does not fit this run ({type(error).__name__})") from error
    return network.to(backend.device).to(memory_format=torch.channels_last)


def check_compiled(run: Run, device: torch.device) -> None:
    """Check that a run can be trained with `--compile` on a device.

    Raises:
        ConfigError: it has no batch normalisation to fuse, or the compiler does not work there.
    """
    if run.recipe.detection or not architecture(run.network).blocks:
        raise ConfigError(f"--compile is for plain and residual networks, not {run.network}")
    check_compiler(device)


@dataclass(frozen=True)
class Subject:
    """A run's network, at whatever moment, with the run's data; both on the backend's device."""

    run: Run
    network: nn.Module
    feed: Feed
    backend: Backend

    @property
    def labelled(self) -> CifarFeed | PhotoFeed:
        """The data of a classification network: images with a class each."""
        assert not isinstance(self.feed, BoxFeed), "a detector's images have boxes"
        return self.feed

    def untrained(self) -> Subject:
        """The same before its first iteration."""
        return replace(self, network=initial_network(self.run, self.feed.classes, self.backend))
