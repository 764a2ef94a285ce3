"""Multiply-adds of one image by arithmetic, for estimates: torch need not be imported for them."""

from __future__ import annotations

from functools import lru_cache

from resnet_repro.networks.layers import convolutions, features
from resnet_repro.spec.network_names import parse_network

__all__ = ["multiply_adds", "usual_side"]

CLASSES = {"cifar": 10, "imagenet": 1000}


def usual_side(network: str) -> int:
    """The side of the paper's input for a network: 32 pixels in the CIFAR family, else 224."""
    return 32 if parse_network(network).family == "cifar" else 224


@lru_cache(maxsize=1024)
def multiply_adds(network: str, side: int | None = None) -> int:
    """Multiply-adds of convolutions and classifier for one square image, `usual_side` by default.

    Raises:
        ConfigError: no such network.
        ValueError: a network that is only evaluated, whose cost nothing here needs.
    """
    side = side or usual_side(network)
    layers = sum(
        # Halving rounds up, so that halving n times is dividing by 2**n and rounding up once.
        (-(-side >> c.halvings)) ** 2 * c.kernel**2 * c.inputs * c.outputs
        for c in convolutions(network)
    )
    return layers + features(network) * CLASSES[parse_network(network).family]
