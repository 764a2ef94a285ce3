"""ImageNet networks with a thousandth of the weights, which are quick to train and to save."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from resnet_repro.networks import architecture, detector_cost, outline

NARROW = (8, 8, 16, 16)  # channels of the stages


def set_widths(widths: tuple[int, ...]) -> None:
    """Change the widths of the ImageNet networks in this process."""
    architecture.IMAGENET_WIDTHS = widths
    costs = (outline.multiply_adds, detector_cost.forward_cost)
    for known in (architecture.architecture, outline.outline, *costs):
        known.cache_clear()


@contextmanager
def narrow_networks() -> Iterator[None]:
    """Narrow ones inside the block."""
    before = architecture.IMAGENET_WIDTHS
    set_widths(NARROW)
    try:
        yield
    finally:
        set_widths(before)
