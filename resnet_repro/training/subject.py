"""A network with what it takes to look at it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from resnet_repro.spec.run import Run
from resnet_repro.training.building import initial_network
from resnet_repro.training.device import Backend
from resnet_repro.training.feed import Feed

__all__ = ["Subject"]


@dataclass(frozen=True)
class Subject:
    """A run's network, at whatever moment, with the run's data; both on the backend's device."""

    run: Run
    network: nn.Module
    feed: Feed
    backend: Backend

    def untrained(self) -> Subject:
        """The same before its first iteration."""
        return replace(self, network=initial_network(self.run, self.feed.classes, self.backend))
