"""Names of networks.

`plain-20`, `resnet-110`        CIFAR family, 6n+2 layers, option A unless said otherwise
`resnet-56-b`                   CIFAR family with shortcut option B
`resnet-164`, `resnet-1001`     CIFAR family, 9n+2 layers of bottlenecks, option B unless said
`preact-110`, `preact-164`      the same with pre-activation (He et al. 2016, "Identity Mappings")
`resnet-56-relu-before-add`     CIFAR family, other orders and shortcuts of that paper: `KINDS`
`resnet-50-cifar`               CIFAR family at a depth that Table 1 uses as well (50, 152)
`plain-34`, `resnet-34-a`       ImageNet family (Table 1)
`resnet-50`, `resnet-50-a`      ImageNet family, bottleneck; option B unless said otherwise
`resnet-50-v1.5`                the same with the stride in the 3x3 instead of the first 1x1
`vgg-16`, `densenet-121` ...    ImageNet family, compared with and evaluated here: `COMPARED`; of
                                these only VGG-16 is trained, as Table 7's other backbone
`faster-rcnn-resnet-101`        Faster R-CNN on one of these (Table 7): plain, ResNet or VGG-16
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, NamedTuple

from resnet_repro.base.errors import ConfigError, nearest

__all__ = [
    "COMPARED",
    "IMPEDED",
    "KINDS",
    "THE_PAPERS",
    "Family",
    "NetworkName",
    "Option",
    "network_title",
    "parse_classifier",
    "parse_network",
]

Family = Literal["cifar", "imagenet", "detection"]
Option = Literal["A", "B", "C"]

IMAGENET_DEPTHS = (18, 34, 50, 101, 152)
_BASIC_DEPTHS = (18, 34)
_DEEPEST = 10_000
_OPTIONS: dict[str | None, Option] = {"a": "A", "b": "B", "c": "C"}
CIFAR_BOTTLENECKS = (164, 1001)  # He et al. 2016: 9n+2 layers
# Shortcuts that are impeded (He et al. 2016, Table 1).
IMPEDED = ("half-shortcut", "half-both", "exclusive-gate", "shortcut-gate", "dropout-shortcut")


class Kind(NamedTuple):
    """What networks whose names begin with the same word have in common."""

    title: str  # how papers write that word
    residual: bool  # whether they have shortcuts
    of_2016: bool = False  # whether they are of He et al. 2016 and not of the paper
    variants: tuple[str, ...] = ()  # of He et al. 2016: other shortcuts and orders of activation


KINDS = {
    "plain": Kind("plain", residual=False),
    "resnet": Kind("ResNet", residual=True, variants=("bn-after-add", "relu-before-add", *IMPEDED)),
    "preact": Kind("pre-act ResNet", residual=True, of_2016=True, variants=("relu-only",)),
}
# Networks that ours are compared with: weighted layers and usual names.
COMPARED = {
    "alexnet": (8, "AlexNet"),  # in two groups, as in its paper
    "alexnet-one-tower": (8, "AlexNet, one tower"),  # torchvision's, of a later paper
    "vgg-16": (16, "VGG-16"),
    "vgg-19": (19, "VGG-19"),
    "googlenet": (22, "GoogLeNet"),  # as in its paper: 5x5 branches, no BN
    "googlenet-bn": (22, "GoogLeNet with BN"),  # torchvision's: BN, and 3x3 where 5x5 belongs
    "densenet-121": (121, "DenseNet-121"),
    "densenet-169": (169, "DenseNet-169"),
    "densenet-201": (201, "DenseNet-201"),
    "densenet-161": (161, "DenseNet-161"),
}
TRAINED = ("vgg-16",)  # of these
_DETECTOR = "faster-rcnn-"  # before its backbone's name
THE_PAPERS = (
    *(f"{kind}-{depth}" for depth in (20, 32, 44, 56, 110) for kind in ("plain", "resnet")),
    *("resnet-1202", "plain-18", "plain-34", "resnet-18-a"),
    *("resnet-34-a", "resnet-34-b", "resnet-34-c", "resnet-50", "resnet-101", "resnet-152"),
    *COMPARED,
    *(f"{_DETECTOR}{backbone}" for backbone in ("resnet-18-a", "resnet-101", "vgg-16")),
)
_PATTERN = re.compile(
    rf"(?P<kind>{'|'.join(KINDS)})-(?P<depth>[1-9]\d{{0,4}})(?P<cifar>-cifar)?"
    r"(?:-(?P<option>[abc]))?(?P<v15>-v1\.5)?(?:-(?P<variant>[a-z-]{3,30}))?",
    re.ASCII,
)


@dataclass(frozen=True)
class NetworkName:
    """A network, as described by its name."""

    kind: str  # of `KINDS`; of networks of `COMPARED`: "compared"
    depth: int
    family: Family
    option: Option | None = None  # None where there are no shortcuts
    stride_in_3x3: bool = False
    variant: str = ""  # of its kind's
    label: str = ""  # the whole name of a network of `COMPARED`
    backbone: str = ""  # of a detector; the other fields but `family` are those of this network

    @property
    def residual(self) -> bool:
        """Whether it has shortcuts."""
        return self.option is not None

    @property
    def compared(self) -> bool:
        """Whether it is one of `COMPARED`, of other authors."""
        return bool(self.label)

    @property
    def of_2016(self) -> bool:
        """Whether it is of He et al. 2016 and not of the paper."""
        if self.compared:
            return False
        return KINDS[self.kind].of_2016 or bool(self.variant) or self.depth in CIFAR_BOTTLENECKS

    @property
    def trainable(self) -> bool:
        """Whether it can be trained here; others are only evaluated."""
        return not self.compared or self.label in TRAINED

    @property
    def bottleneck(self) -> bool:
        """Whether the blocks are 1x1, 3x3, 1x1 (Table 1, 50 layers and more; 164 and 1001)."""
        if self.family == "cifar":
            return self.residual and self.depth in CIFAR_BOTTLENECKS
        return not self.compared and self.depth not in _BASIC_DEPTHS

    def __str__(self) -> str:
        if self.backbone:
            return _DETECTOR + self.backbone
        if self.label:
            return self.label
        text = f"{self.kind}-{self.depth}"
        if self.family == "cifar" and self.depth in IMAGENET_DEPTHS:
            text += "-cifar"
        if self.option and self.option != _default_option(self.family, self.depth):
            text += f"-{self.option.lower()}"
        text += "-v1.5" if self.stride_in_3x3 else ""
        return text + (f"-{self.variant}" if self.variant else "")


def _default_option(family: Family, depth: int) -> Option | None:
    """The shortcut option of names without one; None if they need one (18 and 34 layers)."""
    if family == "cifar":
        return "B" if depth in CIFAR_BOTTLENECKS else "A"
    return None if depth in _BASIC_DEPTHS else "B"


@lru_cache(maxsize=1024)
def parse_network(text: str) -> NetworkName:
    """Parse a network's name.

    Raises:
        ConfigError: the name is not one of this project's, or the depth is not one of the family's.
    """
    written = text.strip().lower()
    if written.startswith(_DETECTOR):
        return _detector(written.removeprefix(_DETECTOR))
    if written in COMPARED:
        return NetworkName("compared", COMPARED[written][0], "imagenet", label=written)
    match = _PATTERN.fullmatch(written)
    if not match:
        raise ConfigError(
            f"unknown network {text[:60]!r}: {nearest(text[:60].lower(), list(THE_PAPERS))}"
        )
    depth = int(match["depth"])
    kind = KINDS[match["kind"]]
    family: Family = "imagenet" if depth in IMAGENET_DEPTHS and not match["cifar"] else "cifar"
    bottleneck = kind.residual and depth in CIFAR_BOTTLENECKS
    if family == "cifar" and not bottleneck and (depth < 8 or (depth - 2) % 6 or depth > _DEEPEST):
        raise _no_such_depth(text, depth)
    option: Option | None = None
    if kind.residual:
        option = _OPTIONS.get(match["option"]) or _default_option(family, depth)
        if option is None:
            ways = ", ".join(f"{match['kind']}-{depth}-{option}" for option in "abc")
            raise ConfigError(f"network {text!r} needs its shortcut option: {ways}")
    elif match["option"]:
        raise ConfigError(f"network {text!r}: a plain network has no shortcuts, so no option")
    variant = match["variant"] or ""
    name = NetworkName(match["kind"], depth, family, option, bool(match["v15"]), variant)
    _check_endings(name, text)
    return name


def parse_classifier(text: str) -> NetworkName:
    """Parse the name of a network that classifies.

    Raises:
        ConfigError: as `parse_network`, or it is a detector.
    """
    name = parse_network(text)
    if name.backbone:
        raise ConfigError(f"{name} is a detector, not a classification network")
    return name


def _no_such_depth(text: str, depth: int) -> ConfigError:
    below = min(depth, _DEEPEST) - (min(depth, _DEEPEST) - 2) % 6
    near = [d for d in (below, below + 6) if 8 <= d <= _DEEPEST] or [8]
    return ConfigError(
        f"unknown network {text!r}: CIFAR networks have 6n+2 layers "
        f"(nearest: {', '.join(map(str, near))}), ImageNet networks 18, 34, 50, 101 or 152"
    )


def _check_endings(name: NetworkName, text: str) -> None:
    """Raise ConfigError for a v1.5 or a variant that the network does not have."""
    if name.stride_in_3x3 and not (name.bottleneck and name.family == "imagenet"):
        raise ConfigError(f"network {text!r}: only 50, 101 and 152 layers have a v1.5")
    variants = KINDS[name.kind].variants
    if name.variant and name.variant not in variants:
        known = ", ".join(variants) or "none"
        raise ConfigError(f"unknown network {text!r}: variants of {name.kind} networks are {known}")
    if name.family == "imagenet" and name.of_2016:
        raise ConfigError(f"network {text!r}: pre-activation and variants are CIFAR networks here")
    if name.variant in IMPEDED and name.bottleneck:
        raise ConfigError(f"network {text!r}: other shortcuts are for blocks of two layers")


def _detector(backbone: str) -> NetworkName:
    """Faster R-CNN on a network of the ImageNet family."""
    name = parse_network(backbone)
    if name.family != "imagenet" or not name.trainable:
        raise ConfigError(
            f"network {_DETECTOR}{name}: Faster R-CNN goes with plain networks and ResNets of 18, "
            "34, 50, 101 or 152 layers, and with vgg-16"
        )
    return replace(name, family="detection", backbone=str(name))


def network_title(network: str) -> str:
    """A network as the paper writes it: `ResNet-110`, `plain-20`, `ResNet-34 B`.

    A detector is called Faster R-CNN with its backbone.
    """
    name = parse_network(network)
    if name.backbone:
        return f"Faster R-CNN with {network_title(name.backbone)}"
    if name.compared:
        return COMPARED[name.label][1]
    if not name.residual:
        return network
    number, _, rest = str(name).removeprefix(f"{name.kind}-").partition("-")
    option, _, more = rest.partition("-")
    rest = f"{option.upper()} {more}".strip() if len(option) == 1 else rest
    return f"{KINDS[name.kind].title}-{number} {rest}".strip()
