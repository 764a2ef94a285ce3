"""What a network is made of, layer by layer: for drawings (Fig. 2, 3, 5) and tables of cost.

Arithmetic only; torch need not be imported. Tests hold every outline against the module tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from resnet_repro.networks.layers import (
    BLOCKS,
    CIFAR_WIDTHS,
    EXPANSION,
    IMAGENET_FIRST,
    IMAGENET_WIDTHS,
)
from resnet_repro.networks.multiply_adds import CLASSES, usual_side
from resnet_repro.spec.network_names import NetworkName, parse_network

__all__ = ["Layer", "Outline", "Shortcut", "folded", "outline_of"]

# Convolutions of VGG by output channels, "M" is 2x2 max pooling: configurations D and E of
# Simyonan and Zisserman 2015 (Table 1).
_VGG = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_VGG_WIDTHS = (64, 128, 256, 512, 512)
_VGG_HIDDEN = 4096


@dataclass(frozen=True)
class Layer:
    """One layer on the main path.

    Attributes:
        kind: convolutions and fully connected layers have weights, the others have none.
        name: of its module, as in the state dict; empty for layers without weights of their own.
        kernel: side of its window; 0 for fully connected layers and global pooling.
        stride: of its window.
        inputs, outputs: channels (features of fully connected layers).
        side: of its output map, in pixels.
        norm: whether batch normalisation follows (two parameters a channel), else it has a bias.
    """

    kind: Literal["conv", "max pool", "avg pool", "fc"]
    name: str
    kernel: int
    stride: int
    inputs: int
    outputs: int
    side: int
    norm: bool = True

    @property
    def parameters(self) -> int:
        """Weights, and BN's or the bias."""
        if self.kind == "conv":
            weights = self.kernel**2 * self.inputs * self.outputs
            return weights + self.outputs * (2 if self.norm else 1)
        return (self.inputs + 1) * self.outputs if self.kind == "fc" else 0

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds for one image."""
        if self.kind == "conv":
            return self.side**2 * self.kernel**2 * self.inputs * self.outputs
        return self.inputs * self.outputs if self.kind == "fc" else 0

    @property
    def text(self) -> str:
        """As Fig. 3 writes it: `3x3 conv, 64, /2`."""
        half = f", /{self.stride}" if self.stride > 1 else ""
        if self.kind == "conv":
            return f"{self.kernel}x{self.kernel} conv, {self.outputs}{half}"
        return (
            f"fc {self.outputs}" if self.kind == "fc" else f"{self.kind.removeprefix('max ')}{half}"
        )


@dataclass(frozen=True)
class Shortcut:
    """The shortcut of one block.

    Attributes:
        first, last: indices of the block's layers in the outline.
        resized: dimensions change across it (dotted in Fig. 3).
        projection: its 1x1 convolution (options B and C), None for the identity and option A.
    """

    first: int
    last: int
    resized: bool
    projection: Layer | None


@dataclass(frozen=True)
class Outline:
    """A network's layers in order, its shortcuts, and runs of equal blocks that were folded.

    Attributes:
        repeats: (first layer, last layer, how many times) of `folded` blocks.
    """

    network: str
    title: str
    layers: tuple[Layer, ...]
    shortcuts: tuple[Shortcut, ...] = ()
    repeats: tuple[tuple[int, int, int], ...] = ()
    parameters: int = 0
    multiply_adds: int = 0


@lru_cache(maxsize=256)
def outline_of(network: str) -> Outline:
    """The outline of a network for the paper's input (32x32 or 224x224).

    Raises:
        ConfigError: no such network.
    """
    name = parse_network(network)
    layers: list[Layer] = []
    shortcuts: list[Shortcut] = []
    if name.kind == "vgg":
        layers += _vgg(name.depth)
        title = f"VGG-{name.depth}"
    else:
        _stem(name, layers)
        _stages(name, layers, shortcuts)
        layers.append(Layer("avg pool", "", 0, 1, layers[-1].outputs, layers[-1].outputs, 1))
        layers.append(Layer("fc", "fc", 0, 1, layers[-1].outputs, CLASSES[name.family], 1))
        title = f"{name.depth}-layer {'residual' if name.residual else 'plain'}"
    weighted = layers + [s.projection for s in shortcuts if s.projection]
    return Outline(
        network=str(name),
        title=title,
        layers=tuple(layers),
        shortcuts=tuple(shortcuts),
        parameters=sum(layer.parameters for layer in weighted),
        multiply_adds=sum(layer.multiply_adds for layer in weighted),
    )


def _vgg(depth: int) -> Iterator[Layer]:
    side, channels, index = usual_side("vgg-16"), 3, 0
    for count, width in zip(_VGG[depth], _VGG_WIDTHS, strict=True):
        for _ in range(count):
            yield Layer("conv", f"features.{index}", 3, 1, channels, width, side, norm=False)
            channels, index = width, index + 2  # a ReLU follows
        side //= 2
        yield Layer("max pool", "", 2, 2, width, width, side)
        index += 1
    features = channels * side**2
    for number, outputs in enumerate((_VGG_HIDDEN, _VGG_HIDDEN, CLASSES["imagenet"])):
        yield Layer("fc", f"classifier.{3 * number}", 0, 1, features, outputs, 1)
        features = outputs


def _stem(name: NetworkName, layers: list[Layer]) -> None:
    side = usual_side(str(name))
    if name.family == "cifar":
        layers.append(Layer("conv", "conv1", 3, 1, 3, CIFAR_WIDTHS[0], side))
        return
    layers.append(Layer("conv", "conv1", 7, 2, 3, IMAGENET_FIRST, side // 2))
    layers.append(Layer("max pool", "", 3, 2, IMAGENET_FIRST, IMAGENET_FIRST, side // 4))


def _stages(name: NetworkName, layers: list[Layer], shortcuts: list[Shortcut]) -> None:
    """The blocks (Table 1, section 4.2), each with its shortcut if the network has them."""
    cifar = name.family == "cifar"
    widths = CIFAR_WIDTHS if cifar else IMAGENET_WIDTHS
    counts = [(name.depth - 2) // 6] * len(widths) if cifar else BLOCKS[name.depth]
    for stage, (width, count) in enumerate(zip(widths, counts, strict=True), start=1):
        for block in range(count):
            stride = 2 if stage > 1 and block == 0 else 1
            channels, side = layers[-1].outputs, layers[-1].side // stride
            out = width * (EXPANSION if name.bottleneck else 1)
            shapes = [(3, width, stride), (3, width, 1)]
            if name.bottleneck:
                late = name.stride_in_3x3
                shapes = [
                    (1, width, 1 if late else stride),
                    (3, width, stride if late else 1),
                    (1, out, 1),
                ]
            first, inputs = len(layers), channels
            at, before = f"layer{stage}.{block}", layers[-1].side
            for number, (kernel, outputs, step) in enumerate(shapes, start=1):
                before //= step
                layers.append(
                    Layer("conv", f"{at}.conv{number}", kernel, step, inputs, outputs, before)
                )
                inputs = outputs
            if name.residual:
                resized = channels != out or stride > 1
                project = name.option == "C" or (name.option == "B" and resized)
                projection = Layer("conv", f"{at}.downsample.0", 1, stride, channels, out, side)
                shortcuts.append(
                    Shortcut(first, len(layers) - 1, resized, projection if project else None)
                )


def folded(outline: Outline) -> Outline:
    """The outline with runs of equal blocks drawn once, as for very deep networks.

    A block is what a shortcut spans, and two layers of a plain network's stages.
    """
    spans = _blocks(outline)
    kept: list[Layer] = []
    shortcuts: list[Shortcut] = []
    repeats: list[tuple[int, int, int]] = []
    by_first = {shortcut.first: shortcut for shortcut in outline.shortcuts}
    index = 0
    while index < len(outline.layers):
        size = spans.get(index, 1)
        block = outline.layers[index : index + size]
        times = 1
        while size > 1 and _alike(block, outline.layers[index + times * size :][:size]):
            times += 1
        shortcut = by_first.get(index)
        first = len(kept)
        if shortcut:
            shortcuts.append(replace(shortcut, first=first, last=first + size - 1))
        if times > 1:
            repeats.append((first, first + size - 1, times))
        kept += block
        index += size * times
    return replace(outline, layers=tuple(kept), shortcuts=tuple(shortcuts), repeats=tuple(repeats))


def _blocks(outline: Outline) -> dict[int, int]:
    """First layer of each block -> its number of layers."""
    if outline.shortcuts:
        return {s.first: s.last - s.first + 1 for s in outline.shortcuts}
    names = [layer.name.rpartition(".")[0] for layer in outline.layers]
    starts: dict[int, int] = {}
    for index, name in enumerate(names):
        if name.startswith("layer") and names[index - 1] != name:
            starts[index] = names.count(name)
    return starts


def _alike(block: tuple[Layer, ...], other: tuple[Layer, ...]) -> bool:
    """Whether two blocks differ in the names of their modules only."""
    return len(block) == len(other) and all(
        replace(a, name="") == replace(b, name="") for a, b in zip(block, other, strict=True)
    )
