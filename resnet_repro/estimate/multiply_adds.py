"""Multiply-adds of one image by arithmetic, for estimates: torch need not be imported for them."""

from __future__ import annotations

from resnet_repro.names import NetworkName, parse_network

__all__ = ["multiply_adds", "usual_side"]

IMAGENET_CLASSES, CIFAR_CLASSES = 1000, 10
EXPANSION = 4  # of a bottleneck's last 1x1 convolution
BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}


def usual_side(network: str) -> int:
    """The side of the paper's input for a network: 32 pixels in the CIFAR family, else 224."""
    return 32 if parse_network(network).family == "cifar" else 224


def multiply_adds(network: str, side: int | None = None) -> int:
    """Multiply-adds of convolutions and classifier for one square image, `usual_side` by default.

    Raises:
        ConfigError: no such network.
        ValueError: a network that is only evaluated, whose cost nothing here needs.
    """
    name = parse_network(network)
    if not name.trainable:
        raise ValueError(f"{network} is never trained, so there is nothing to estimate")
    side = side or usual_side(network)
    return _cifar(name, side) if name.family == "cifar" else _imagenet(name, side)


def _half(side: int) -> int:
    """What stride 2 leaves of a side: the padding rounds up."""
    return (side + 1) // 2


def _cifar(name: NetworkName, side: int) -> int:
    channels = 16
    total = side * side * 9 * 3 * channels
    for stage, width in enumerate((16, 32, 64)):
        side = _half(side) if stage else side
        for block in range((name.depth - 2) // 6):
            resized = stage > 0 and block == 0
            total += side * side * 9 * (channels * width + width * width)
            total += _shortcut(name, resized, side, channels, width)
            channels = width
    return total + channels * CIFAR_CLASSES


def _imagenet(name: NetworkName, side: int) -> int:
    channels, side = 64, _half(side)
    total = side * side * 49 * 3 * channels
    side = _half(side)
    for stage, count in enumerate(BLOCKS[name.depth]):
        width = 64 * 2**stage
        for block in range(count):
            before = side
            side = _half(side) if stage and block == 0 else side
            out = width * (EXPANSION if name.bottleneck else 1)
            if name.bottleneck:
                first = before if name.stride_in_3x3 else side
                total += first * first * channels * width
                total += side * side * (9 * width * width + width * out)
            else:
                total += side * side * 9 * (channels * width + width * width)
            total += _shortcut(name, out != channels or side != before, side, channels, out)
            channels = out
    return total + channels * IMAGENET_CLASSES


def _shortcut(name: NetworkName, resized: bool, side: int, channels: int, out: int) -> int:
    """A projection's cost: option C has one everywhere, B where dimensions change, A nowhere."""
    projected = name.option == "C" or (name.option == "B" and resized)
    return side * side * channels * out if projected else 0
