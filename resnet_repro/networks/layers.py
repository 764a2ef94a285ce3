"""What layers a network of some name has, by arithmetic: torch need not be imported for it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from resnet_repro.spec.network_names import NetworkName, parse_network

__all__ = ["Convolution", "convolutions", "features", "parameters", "response_layers"]

CIFAR_WIDTHS = (16, 32, 64)
IMAGENET_FIRST = 64  # channels of the first, 7x7 convolution
IMAGENET_WIDTHS = (64, 128, 256, 512)
EXPANSION = 4  # of a bottleneck's last 1x1 convolution
BLOCKS = {  # a stage, of the ImageNet networks (Table 1)
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


class Convolution(NamedTuple):
    """One convolution, which batch normalisation follows; it has no bias."""

    kernel: int  # its side
    inputs: int  # channels
    outputs: int
    halvings: int  # of the image's side on the way to its output; each rounds up


@lru_cache(maxsize=256)
def convolutions(network: str) -> tuple[Convolution, ...]:
    """Every convolution of a network that is trained here, in order (section 4.2, Table 1).

    Raises:
        ConfigError: no such network.
        ValueError: one that is only evaluated.
    """
    name = parse_network(network)
    if not name.trainable:
        raise ValueError(f"{network} is never trained")
    return tuple(_of_cifar(name) if name.family == "cifar" else _of_imagenet(name))


def _of_cifar(name: NetworkName) -> Iterator[Convolution]:
    channels = CIFAR_WIDTHS[0]
    yield Convolution(3, 3, channels, 0)
    for stage, width in enumerate(CIFAR_WIDTHS):
        for _ in range((name.depth - 2) // 6):
            yield Convolution(3, channels, width, stage)
            yield Convolution(3, width, width, stage)
            yield from _projection(name, channels, width, stage, resized=channels != width)
            channels = width


def _of_imagenet(name: NetworkName) -> Iterator[Convolution]:
    channels = IMAGENET_FIRST
    yield Convolution(7, 3, channels, 1)
    before = 2  # the pooling after the first convolution halves as well
    for stage, (width, count) in enumerate(zip(IMAGENET_WIDTHS, BLOCKS[name.depth], strict=True)):
        after, out = 2 + stage, width * (EXPANSION if name.bottleneck else 1)
        for _ in range(count):
            if name.bottleneck:
                yield Convolution(1, channels, width, before if name.stride_in_3x3 else after)
                yield Convolution(3, width, width, after)
                yield Convolution(1, width, out, after)
            else:
                yield Convolution(3, channels, width, after)
                yield Convolution(3, width, out, after)
            resized = channels != out or before != after
            yield from _projection(name, channels, out, after, resized=resized)
            channels, before = out, after


def _projection(
    name: NetworkName, channels: int, out: int, halvings: int, *, resized: bool
) -> Iterator[Convolution]:
    """A shortcut's: option C has one everywhere, B where dimensions change, A nowhere."""
    if name.option == "C" or (name.option == "B" and resized):
        yield Convolution(1, channels, out, halvings)


def features(network: str) -> int:
    """Inputs of the classifier."""
    name = parse_network(network)
    if name.family == "cifar":
        return CIFAR_WIDTHS[-1]
    return IMAGENET_WIDTHS[-1] * (EXPANSION if name.bottleneck else 1)


@lru_cache(maxsize=256)
def parameters(network: str, classes: int) -> int:
    """Trainable parameters of a network: convolutions, two a channel for BN, and the classifier.

    Raises:
        ConfigError, ValueError: as for `convolutions`.
    """
    layers = sum(c.kernel**2 * c.inputs * c.outputs + 2 * c.outputs for c in convolutions(network))
    return layers + (features(network) + 1) * classes


@lru_cache(maxsize=256)
def response_layers(network: str) -> tuple[str, ...]:
    """The BN modules after each 3x3 convolution of a network, in order (Fig. 7).

    Raises:
        ConfigError: no such network.
    """
    name = parse_network(network)
    of_cifar = name.family == "cifar"
    stages = [(name.depth - 2) // 6] * len(CIFAR_WIDTHS) if of_cifar else BLOCKS[name.depth]
    return (
        *(("bn1",) if of_cifar else ()),  # the first layer of the others is 7x7
        *(
            f"layer{stage}.{block}.bn{layer}"
            for stage, blocks in enumerate(stages, start=1)
            for block in range(blocks)
            for layer in ((2,) if name.bottleneck else (1, 2))
        ),
    )
