"""What a network is made of, layer by layer: what it costs, and what drawings of it show.

Arithmetic only; torch need not be imported. Tests compare every outline with the built network.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

from resnet_repro.base.errors import ConfigError
from resnet_repro.networks.architecture import Architecture, architecture
from resnet_repro.networks.compared_layers import compared_layers
from resnet_repro.networks.layer import Layer
from resnet_repro.spec.network_names import NetworkName, network_title, parse_network

__all__ = ["Outline", "folded", "outline", "smallest_side"]


class Shortcut(NamedTuple):
    """The shortcut of one block.

    Attributes:
        first, last: indices of the block's layers in the outline.
        resized: dimensions change across it (dotted in Fig. 3).
        layers: its projection (options B and C) and its gate; none for the identity and option A.
    """

    first: int
    last: int
    resized: bool
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Outline:
    """A network's layers in order, its shortcuts, and runs of equal blocks that were folded.

    Attributes:
        repeats: (first layer, last layer, how many times) of `folded` blocks.
        row: whether each layer follows the one before it, so that it can be drawn as a column; not
            in GoogLeNet and DenseNet.
    """

    network: str
    title: str
    layers: tuple[Layer, ...]
    shortcuts: tuple[Shortcut, ...] = ()
    repeats: tuple[tuple[int, int, int], ...] = ()
    row: bool = True

    @cached_property
    def weighted(self) -> tuple[Layer, ...]:
        """Every layer with weights, those of shortcuts last; folded blocks once."""
        of_shortcuts = (layer for shortcut in self.shortcuts for layer in shortcut.layers)
        of_path = (layer for layer in self.layers if layer.norm or layer.kind in ("conv", "fc"))
        return (*of_path, *of_shortcuts)

    @cached_property
    def parameters(self) -> int:
        """Trainable parameters: weights, biases, and two a channel for BN."""
        return sum(layer.parameters for layer in self.weighted)

    @cached_property
    def multiply_adds(self) -> int:
        """Multiply-adds of convolutions and fully connected layers for one image."""
        return sum(layer.multiply_adds for layer in self.weighted)


@lru_cache(maxsize=1024)
def outline(network: str, side: int | None = None, classes: int | None = None) -> Outline:
    """The outline of a network, by default for the paper's images (`side` pixels) and classes.

    Raises:
        ConfigError: no such network, or a detector.
    """
    name, built = parse_network(network), architecture(network)
    outputs = built.classes if classes is None else classes
    layers: list[Layer] = []
    shortcuts: list[Shortcut] = []
    if name.backbone:
        raise ConfigError(f"{network}: its layers are not one row; those of {name.backbone} are")
    if name.label:
        layers += compared_layers(name.label, side or built.side, outputs)
    else:
        _stem(built, side or built.side, layers)
        _stages(built, layers, shortcuts)
        norm = built.features if built.norm_first else 0  # the last BN
        layers.append(Layer("avg pool", "", 0, 1, built.features, built.features, 1, norm))
        layers.append(Layer("fc", "fc", 0, 1, built.features, outputs, 1))
    row = not name.label.startswith(("googlenet", "densenet"))
    return Outline(str(name), _title(name), tuple(layers), tuple(shortcuts), row=row)


def _title(name: NetworkName) -> str:
    """As Fig. 3 has it, of the networks of its kinds."""
    of_fig_3 = name.option in (None, "A") and not (name.label or name.bottleneck)
    if name.family == "imagenet" and of_fig_3:
        return f"{name.depth}-layer {'residual' if name.residual else 'plain'}"
    return network_title(str(name))


def smallest_side(network: str) -> int:
    """The side in pixels of the smallest input that leaves every layer a map to compute.

    Raises ConfigError as `outline` does.
    """
    return next(
        side
        for side in itertools.count(1)
        if all(layer.side > 0 for layer in outline(network, side).layers)
    )


def _stem(built: Architecture, side: int, layers: list[Layer]) -> None:
    kernel, channels, stride, pooled = built.stem
    side = _halved(side, stride)
    norm = 0 if built.norm_first else channels
    layers.append(Layer("conv", "conv1", kernel, stride, 3, channels, side, norm))
    if pooled:
        layers.append(Layer("max pool", "", 3, 2, channels, channels, _halved(side, 2)))


def _halved(side: int, stride: int) -> int:
    return -(-side // stride)  # padding makes it round up


def _stages(built: Architecture, layers: list[Layer], shortcuts: list[Shortcut]) -> None:
    """The blocks (Table 1, section 4.2), each with its shortcut if the network has them."""
    for stage, (width, count) in enumerate(zip(built.widths, built.blocks, strict=True), start=1):
        for block in range(count):
            stride = 2 if stage > 1 and block == 0 else 1
            module, before, first = f"layer{stage}.{block}", layers[-1], len(layers)
            for number, (kernel, outputs, step) in enumerate(built.convolutions(width, stride), 1):
                inputs, side = layers[-1].outputs, _halved(layers[-1].side, step)
                at = f"{module}.conv{number}"
                norm = inputs if built.norm_first else outputs
                layers.append(Layer("conv", at, kernel, step, inputs, outputs, side, norm))
            if built.option:
                out, side = layers[-1].outputs, layers[-1].side
                resized = before.outputs != out or stride > 1
                beside = []
                if built.option == "C" or (built.option == "B" and resized):
                    preact = built.norm_first
                    at, norm = f"{module}.downsample{'' if preact else '.0'}", 0 if preact else out
                    beside.append(Layer("conv", at, 1, stride, before.outputs, out, side, norm))
                if built.impeded.endswith("gate"):
                    at = f"{module}.gate"
                    beside.append(Layer("conv", at, 1, stride, before.outputs, out, side))
                shortcuts.append(Shortcut(first, len(layers) - 1, resized, tuple(beside)))


def folded(whole: Outline) -> Outline:
    """The outline with runs of equal blocks drawn once, as for very deep networks.

    A block is what a shortcut spans, and two layers of a plain network's stages.
    """
    spans = _blocks(whole)
    kept: list[Layer] = []
    shortcuts: list[Shortcut] = []
    repeats: list[tuple[int, int, int]] = []
    by_first = {shortcut.first: shortcut for shortcut in whole.shortcuts}
    index = 0
    while index < len(whole.layers):
        size = spans.get(index, 1)
        block = whole.layers[index : index + size]
        times = 1
        while size > 1 and _alike(block, whole.layers[index + times * size :][:size]):
            times += 1
        shortcut = by_first.get(index)
        first = len(kept)
        if shortcut:
            shortcuts.append(shortcut._replace(first=first, last=first + size - 1))
        if times > 1:
            repeats.append((first, first + size - 1, times))
        kept += block
        index += size * times
    return replace(whole, layers=tuple(kept), shortcuts=tuple(shortcuts), repeats=tuple(repeats))


def _blocks(whole: Outline) -> dict[int, int]:
    """First layer of each block -> its number of layers."""
    if whole.shortcuts:
        return {s.first: s.last - s.first + 1 for s in whole.shortcuts}
    names = [layer.name.rpartition(".")[0] for layer in whole.layers]
    starts: dict[int, int] = {}
    for index, name in enumerate(names):
        if name.startswith("layer") and names[index - 1] != name:
            starts[index] = names.count(name)
    return starts


def _alike(block: tuple[Layer, ...], other: tuple[Layer, ...]) -> bool:
    """Whether two blocks differ in the names of their modules only."""
    return len(block) == len(other) and all(
        a._replace(name="") == b._replace(name="") for a, b in zip(block, other, strict=True)
    )
