"""One layer of a network, and what it costs; arithmetic only."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

__all__ = ["Layer"]


class Layer(NamedTuple):
    """One layer on the main path.

    Attributes:
        kind: convolutions and fully connected layers have weights, the others have none.
        name: of its module, as in the state dict; empty for layers without weights of their own.
        kernel: side of its window; 0 for fully connected layers and global pooling.
        stride: of its window.
        inputs, outputs: channels (features of fully connected layers).
        side: of its output map, in pixels.
        norm: channels of the batch normalisation that goes with it (two parameters each), or None:
            it has a bias.
        groups: of channels, each seen by its own share of the filters only.
    """

    kind: Literal["conv", "max pool", "avg pool", "fc"]
    name: str
    kernel: int
    stride: int
    inputs: int
    outputs: int
    side: int
    norm: int | None = None
    groups: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of its weights, as torch has them; empty if it has none."""
        if self.kind == "conv":
            return self.outputs, self.inputs // self.groups, self.kernel, self.kernel
        return (self.outputs, self.inputs) if self.kind == "fc" else ()

    @property
    def weights(self) -> int:
        """Weights without biases: what is multiplied at each pixel of the output."""
        return math.prod(self.shape) if self.shape else 0

    @property
    def parameters(self) -> int:
        """Weights, and BN's or the bias."""
        bias = self.outputs if self.norm is None and self.weights else 0
        return self.weights + bias + 2 * (self.norm or 0)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds for one image."""
        return self.side**2 * self.weights

    @property
    def text(self) -> str:
        """As Fig. 3 writes it: `3x3 conv, 64, /2`."""
        half = f", /{self.stride}" if self.stride > 1 else ""
        if self.kind == "conv":
            groups = f", {self.groups} groups" if self.groups > 1 else ""
            return f"{self.kernel}x{self.kernel} conv, {self.outputs}{half}{groups}"
        return (
            f"fc {self.outputs}" if self.kind == "fc" else f"{self.kind.removeprefix('max ')}{half}"
        )
