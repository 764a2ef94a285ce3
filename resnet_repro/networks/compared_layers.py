"""The layers of the networks that are only compared with, as data (`compared.py` builds them)."""

from __future__ import annotations

from collections.abc import Iterator

from resnet_repro.networks.layer import Layer

__all__ = ["INCEPTIONS", "compared_layers"]

# Convolutions of VGG by stage, 2x2 max pooling after each: configurations D and E of Simonyan and
# Zisserman 2015 (Table 1).
_VGG = {"vgg-16": (2, 2, 3, 3, 3), "vgg-19": (2, 2, 4, 4, 4)}
_VGG_WIDTHS = (64, 128, 256, 512, 512)
# First channels, and layers of each of four dense blocks: Huang et al. 2017 (Table 1).
_DENSE = {
    "densenet-121": (64, (6, 12, 24, 16)),
    "densenet-169": (64, (6, 12, 32, 32)),
    "densenet-201": (64, (6, 12, 48, 32)),
    "densenet-161": (96, (6, 12, 36, 24)),
}
# By module, outputs of 1x1; 1x1 before 3x3, 3x3; 1x1 before 5x5, 5x5; 1x1 after pooling: Szegedy
# et al. 2015 (Table 1).
INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
# (module, kernel, filters, groups, whether 3x3 pooling follows) of Krizhevsky et al. 2012 (section
# 3.5), and of the one tower of Krizhevsky 2014 as torchvision has it.
_ALEXNET = (
    (
        *((0, 11, 96, 1, True), (4, 5, 256, 2, True), (8, 3, 384, 1, False)),
        *((10, 3, 384, 2, False), (12, 3, 256, 2, True)),
    ),
    (
        *((0, 11, 64, 1, True), (3, 5, 192, 1, True), (6, 3, 384, 1, False)),
        *((8, 3, 256, 1, False), (10, 3, 256, 1, True)),
    ),
)


def compared_layers(label: str, side: int, classes: int) -> Iterator[Layer]:
    """The layers of a network of `COMPARED`, as it computes them of `side` x `side` pixels."""
    if label in _VGG:
        yield from _vgg(_VGG[label], side, classes)
    elif label in _DENSE:
        yield from _densenet(*_DENSE[label], side, classes)
    elif label.startswith("googlenet"):
        yield from _googlenet(side, classes, norm=label == "googlenet-bn")
    else:
        yield from _alexnet(side, classes, one_tower=label == "alexnet-one-tower")


def _classifier(modules: tuple[int, ...], features: int, classes: int) -> Iterator[Layer]:
    for module, outputs in zip(modules, (4096, 4096, classes), strict=True):
        yield Layer("fc", f"classifier.{module}", 0, 1, features, outputs, 1)
        features = outputs


def _vgg(counts: tuple[int, ...], side: int, classes: int) -> Iterator[Layer]:
    channels, index = 3, 0
    for count, width in zip(counts, _VGG_WIDTHS, strict=True):
        for _ in range(count):
            yield Layer("conv", f"features.{index}", 3, 1, channels, width, side)
            channels, index = width, index + 2  # a ReLU follows
        side //= 2
        yield Layer("max pool", "", 2, 2, width, width, side)
        index += 1
    yield from _classifier((0, 3, 6), channels * 7**2, classes)  # other maps are pooled to 7x7


def _alexnet(side: int, classes: int, *, one_tower: bool) -> Iterator[Layer]:
    channels, side = 3, ((side + 4 if one_tower else side) - 11) // 4 + 1
    for module, kernel, width, groups, pooled in _ALEXNET[one_tower]:
        stride = 4 if kernel == 11 else 1
        at = f"features.{module}"
        yield Layer("conv", at, kernel, stride, channels, width, side, groups=groups)
        channels = width
        if pooled:
            side = (side - 3) // 2 + 1
            yield Layer("max pool", "", 3, 2, width, width, side)
    modules = (1, 4, 6) if one_tower else (0, 3, 6)  # dropout comes before or after
    yield from _classifier(modules, channels * 6**2, classes)  # other maps are pooled to 6x6


def _googlenet(side: int, classes: int, *, norm: bool) -> Iterator[Layer]:
    """Of its paper, or torchvision's: with BN, 3x3 for 5x5, and 2x2 in the last pooling."""

    def conv(
        name: str, kernel: int, inputs: int, outputs: int, side: int, stride: int = 1
    ) -> Layer:
        own = outputs if norm else None
        return Layer("conv", f"{name}.conv", kernel, stride, inputs, outputs, side, own)

    def pool(kernel: int, channels: int) -> Layer:
        return Layer("max pool", "", kernel, 2, channels, channels, -(-(side - kernel) // 2) + 1)

    side = -(-side // 2)
    yield conv("conv1", 7, 3, 64, side, 2)
    yield (pooled := pool(3, 64))
    side = pooled.side
    yield conv("conv2", 1, 64, 64, side)
    yield conv("conv3", 3, 64, 192, side)
    channels, stage = 192, "2"
    for name, (one, before3, three, before5, five, after) in INCEPTIONS.items():
        if name[0] != stage:
            yield (pooled := pool(2 if norm and name == "5a" else 3, channels))
            stage, side = name[0], pooled.side
        at = f"inception{name}"
        yield conv(f"{at}.branch1", 1, channels, one, side)
        yield conv(f"{at}.branch2.0", 1, channels, before3, side)
        yield conv(f"{at}.branch2.1", 3, before3, three, side)
        yield conv(f"{at}.branch3.0", 1, channels, before5, side)
        yield conv(f"{at}.branch3.1", 3 if norm else 5, before5, five, side)
        yield conv(f"{at}.branch4.1", 1, channels, after, side)
        channels = one + three + five + after
    yield Layer("avg pool", "", 0, 1, channels, channels, 1)
    yield Layer("fc", "fc", 0, 1, channels, classes, 1)


def _densenet(first: int, counts: tuple[int, ...], side: int, classes: int) -> Iterator[Layer]:
    """BN before each convolution but the first; in a block each sees all maps before it."""
    growth = first // 2
    side = -(-side // 2)
    yield Layer("conv", "features.conv0", 7, 2, 3, first, side, first)
    side = -(-side // 2)
    yield Layer("max pool", "", 3, 2, first, first, side)
    channels = first
    for block, count in enumerate(counts, start=1):
        for layer in range(1, count + 1):
            at = f"features.denseblock{block}.denselayer{layer}"
            yield Layer("conv", f"{at}.conv1", 1, 1, channels, 4 * growth, side, channels)
            yield Layer("conv", f"{at}.conv2", 3, 1, 4 * growth, growth, side, 4 * growth)
            channels += growth
        if block < len(counts):
            half = channels // 2
            at = f"features.transition{block}.conv"
            yield Layer("conv", at, 1, 1, channels, half, side, channels)
            channels, side = half, side // 2
            yield Layer("avg pool", "", 2, 2, channels, channels, side)
    yield Layer("avg pool", "", 0, 1, channels, channels, 1, channels)  # behind the last BN
    yield Layer("fc", "classifier", 0, 1, channels, classes, 1)
