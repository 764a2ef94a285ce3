"""What a network is, as data, from which it is built, counted, estimated and drawn.

What a name stands for: blocks per stage, widths, stem, order in a block, observed layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal, NamedTuple, get_args

from resnet_repro.base.colours import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY_BLUE,
    VERMILLION,
)
from resnet_repro.spec.network_names import IMPEDED, Family, NetworkName, Option, parse_network

__all__ = ["Architecture", "architecture"]


class Stem(NamedTuple):
    """The first convolution, and whether 3x3 maximum pooling with stride 2 follows it."""

    kernel: int  # its side
    channels: int
    stride: int
    pooled: bool


class Style(NamedTuple):
    """How a network's lines look in every figure."""

    colour: str | None  # of its depth; None: that has no colour of its own
    marker: str  # of its depth, for black and white prints
    dashed: bool  # plain networks


# He et al. 2016 (Fig. 4): after each weight layer BN and ReLU, the last ReLU after the addition;
# BN after the addition as well; both before it; ReLU first; BN and ReLU first.
BlockOrder = Literal["original", "bn-after-add", "relu-before-add", "relu-only", "preact"]


@dataclass(frozen=True)
class Architecture:
    """A network of section 4.2 or of Table 1. Every stage but the first begins with a stride of 2.

    Those of other authors (VGG-16) have no blocks; their stem and widths mean nothing.
    """

    side: int  # pixels of the paper's input; of a detector's, the shorter one
    classes: int  # of the paper's data set
    style: Style
    stem: Stem
    widths: tuple[int, ...]  # of the 3x3 convolutions, by stage
    blocks: tuple[int, ...]  # by stage; empty for those of other authors
    block: Literal["basic", "bottleneck"] = "basic"
    option: Option | None = None  # of the shortcuts; None where there are none
    stride_in_3x3: bool = False  # of a bottleneck, instead of in its first 1x1
    order: BlockOrder = "original"  # of BN, ReLU and addition in a block
    impeded: str = ""  # what is done to the shortcut; empty: nothing

    @property
    def expansion(self) -> int:
        """How many times as wide as its 3x3 convolution a block is at its end."""
        return 4 if self.block == "bottleneck" else 1

    @property
    def norm_first(self) -> bool:
        """Whether BN and ReLU stand before each convolution of a block (pre-activation)."""
        return self.order == "preact"

    @property
    def features(self) -> int:
        """Inputs of the classifier."""
        return self.widths[-1] * self.expansion

    @property
    def halvings(self) -> int:
        """How many times the image's side is halved on the way to the last map."""
        return (self.stem.stride == 2) + self.stem.pooled + len(self.blocks) - 1

    def convolutions(self, width: int, stride: int) -> tuple[tuple[int, int, int], ...]:
        """(kernel, outputs, stride) of those of a block, in order (Fig. 5, Table 1)."""
        if self.block == "basic":
            return (3, width, stride), (3, width, 1)
        first, second = (1, stride) if self.stride_in_3x3 else (stride, 1)
        return (1, width, first), (3, width, second), (1, width * self.expansion, 1)

    @cached_property
    def observed(self) -> tuple[str, ...]:
        """The BN modules after each 3x3 convolution, in order (Fig. 7): `layer1.0.bn2`.

        The convolution itself where no BN of its own follows.
        """
        layers = (2,) if self.block == "bottleneck" else (1, 2)
        last = 3 if self.block == "bottleneck" else 2
        bare = {"preact": (1, 2, 3), "bn-after-add": (last,)}.get(self.order, ())
        kinds = {layer: "conv" if layer in bare else "bn" for layer in layers}
        return (
            *(("conv1" if self.norm_first else "bn1",) if self.stem.kernel == 3 else ()),
            *(
                f"layer{stage}.{block}.{kinds[layer]}{layer}"
                for stage, count in enumerate(self.blocks, start=1)
                for block in range(count)
                for layer in layers
            ),
        )


@lru_cache(maxsize=1024)
def architecture(network: str) -> Architecture:
    """What a network of some name is; of a detector, its backbone.

    Raises:
        ConfigError: there is no such network.
    """
    name = parse_network(network)
    return _cifar(name) if name.family == "cifar" else _imagenet(name)


def _cifar(name: NetworkName) -> Architecture:
    """Section 4.2: three stages of n blocks, 6n+2 layers, or 9n+2 with bottlenecks."""
    usual: BlockOrder = "preact" if name.kind == "preact" else "original"
    return Architecture(
        side=_SIDES["cifar"],
        classes=10,
        style=_style(name),
        stem=Stem(kernel=3, channels=CIFAR_WIDTHS[0], stride=1, pooled=False),
        widths=CIFAR_WIDTHS,
        blocks=((name.depth - 2) // (9 if name.bottleneck else 6),) * 3,
        block="bottleneck" if name.bottleneck else "basic",
        option=name.option,
        order=next((order for order in get_args(BlockOrder) if order == name.variant), usual),
        impeded=name.variant if name.variant in IMPEDED else "",
    )


def _imagenet(name: NetworkName) -> Architecture:
    """Table 1."""
    return Architecture(
        side=227 if name.label == "alexnet" else _SIDES[name.family],
        classes=20 if name.backbone else 1000,
        style=_style(name),
        stem=Stem(kernel=7, channels=64, stride=2, pooled=True),
        widths=IMAGENET_WIDTHS,
        blocks=_TABLE_1.get(name.depth, ()),
        block="bottleneck" if name.bottleneck else "basic",
        option=name.option,
        stride_in_3x3=name.stride_in_3x3,
    )


CIFAR_WIDTHS: tuple[int, ...] = (16, 32, 64)
IMAGENET_WIDTHS: tuple[int, ...] = (64, 128, 256, 512)
_SIDES: dict[Family, int] = {"cifar": 32, "imagenet": 224, "detection": 600}
_TABLE_1 = {  # blocks of a stage by depth
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
_COLOURS = {
    20: ORANGE,
    32: SKY_BLUE,
    44: GREEN,
    56: VERMILLION,
    110: BLACK,
    1202: BLUE,
    18: BLUE,
    34: VERMILLION,
    50: GREEN,
    101: PURPLE,
    152: BLACK,
}
_MARKERS = {20: "o", 32: "s", 44: "^", 56: "D", 110: "v", 1202: "P", 18: "o", 34: "s"}


def _style(name: NetworkName) -> Style:
    colour, marker = _COLOURS.get(name.depth), _MARKERS.get(name.depth, "X")
    return Style(colour, marker, dashed=not name.residual)
