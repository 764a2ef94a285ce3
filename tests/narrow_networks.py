"""Networks with a thousandth of the weights, which are quick to train, to test and to save."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from resnet_repro.networks import architecture, detector_cost, outline, weights

Widths = tuple[int, ...]  # channels of the stages
# Not for option A of ImageNet's networks, whose stem has 64 channels: more than follow here.
NARROW: tuple[Widths, Widths] = ((4, 8, 16), (8, 8, 16, 16))  # of CIFAR's and ImageNet's networks


def set_widths(cifar: Widths, imagenet: Widths) -> None:
    """Change the widths of the networks in this process."""
    architecture.CIFAR_WIDTHS, architecture.IMAGENET_WIDTHS = cifar, imagenet
    derived = (architecture.architecture, outline.outline, detector_cost.forward_cost)
    for known in (*derived, weights._shapes, weights._layers):
        known.cache_clear()


@contextmanager
def narrow_networks() -> Iterator[None]:
    """Narrow ones inside the block."""
    before = architecture.CIFAR_WIDTHS, architecture.IMAGENET_WIDTHS
    set_widths(*NARROW)
    try:
        yield
    finally:
        set_widths(*before)
