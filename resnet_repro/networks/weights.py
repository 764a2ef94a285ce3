"""Somebody else's weights: found among what a file holds, and checked against a network.

Names are torchvision's (`fc.weight`, `layer1.0.conv1.weight` ...), perhaps behind a prefix that a
wrapper left (`module.`), perhaps inside and beside other things (`{"state_dict": ...}`). Every
tensor is known by its place in the file, `state_dict.module.fc.weight`; a network's are those
behind one prefix. Some CIFAR networks have other names (`linear`, `shortcut`), see `_RENAMED`.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resnet_repro.base.errors import ConfigError, plain
from resnet_repro.networks.compared_layers import INCEPTIONS
from resnet_repro.networks.network import build_network
from resnet_repro.networks.outline import outline
from resnet_repro.networks.weights_file import Weights, some_of
from resnet_repro.spec.network_names import COMPARED
from resnet_repro.spec.recipe_parts import ZeroChannels

__all__ = ["Fitted", "fit", "network_of", "networks_alike", "weights_sha256"]

# [classes, features]: of ResNet, of VGG and AlexNet, of DenseNet.
_CLASSIFIERS = ("fc.weight", "classifier.6.weight", "classifier.weight")
_FIRST = ("conv1.weight", "features.0.weight", "features.conv0.weight", "conv1.conv.weight")
# Names that other CIFAR networks have for torchvision's.
_RENAMED = (
    (re.compile(r"^linear\."), "fc."),
    (re.compile(r"^(layer[1-4]\.\d+)\.shortcut\."), r"\1.downsample."),
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\."), r"\1\2."),  # DenseNet's old files
)
_INSIDE = re.compile(  # of a network
    r"(?:^|\.)(?:(?:layer[1-4]|features|classifier)\.\d+|denselayer\d+)\."
)
_AVERAGED = re.compile(r"(?:^|[._])(?:ema|swa|av(?:era)?g|teacher|momentum|encoder_k)", re.I)
# At the beginning of names of what is no part of a network.
_OF_TRAINING = re.compile(r"optim|sched|lr_sched|scaler|amp|best|epoch", re.I)
_MOST_PREFIXES = 50
_SHOWN = 2  # names of tensors in a message
_DEPTHS = (8, 14, 20, 32, 44, 56, 110)
_KNOWN = (
    *("plain-18", "plain-34", *COMPARED, "plain-50", "plain-101", "plain-152"),
    *(f"resnet-{depth}-{option}" for depth in (18, 34) for option in "abc"),
    *(f"resnet-{depth}{suffix}" for depth in (50, 101, 152) for suffix in ("", "-v1.5")),
    *(f"resnet-{depth}-{option}" for depth in (50, 101, 152) for option in "ac"),
    *(f"resnet-{depth}{option}" for depth in _DEPTHS for option in ("", "-b", "-c")),
    *(f"plain-{depth}" for depth in _DEPTHS),
    *(f"preact-{depth}" for depth in (*_DEPTHS, 164)),
    "resnet-164",
)

# Modules with weights of ResNet, of VGG, AlexNet and DenseNet, of pre-activation, and of GoogLeNet.
_MODULES = (
    *("conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc", "features", "classifier"),
    *("bn_last", "conv2", "conv3", *(f"inception{name}" for name in INCEPTIONS)),
)

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Fitted:
    """The tensors of a file that are a network's, by torchvision's names."""

    weights: Weights
    network: str
    tensors: dict[str, Tensor]
    classes: int | None  # None where there is no known classifier
    notes: tuple[str, ...]  # what was left aside


def fit(network: str, weights: Weights) -> Fitted:
    """Find the network's tensors in a file.

    Where several places hold such (weights and their moving average), the plain ones are taken.

    Raises:
        ConfigError: the weights are of another network (the message says of which, if known), or
            not ordinary, finite numbers.
    """
    candidates = [_candidate(weights, prefix) for prefix in _prefixes(weights.tensors)]
    fitting = [one for one in candidates if one.misfit(network) is None]
    if not fitting:
        raise ConfigError(_misfit(network, weights, candidates))
    best, *others = fitting
    notes = tuple(_notes(weights, best, others))
    fitted = Fitted(weights, network, best.own, best.classes, notes)
    _check_numbers(fitted)
    return fitted


def networks_alike(fitted: Fitted) -> list[str]:
    """The other networks that the tensors fit: those of resnet-20 are plain-20's as well."""
    theirs = _shapes(fitted.network, fitted.classes)
    return _fitting([n for n in _KNOWN if n != fitted.network], theirs, fitted.classes)


def network_of(
    fitted: Fitted, zero_channels: ZeroChannels = "end", classes: Sequence[int] | None = None
) -> nn.Module:
    """The network that holds the weights found, in evaluation mode, on the CPU.

    Given `classes`, it has these of its outputs alone, in this order, and its softmax is over them.
    The weights do not tell where option A's zero channels are.
    """
    tensors, outputs = dict(fitted.tensors), fitted.classes
    if classes is not None:
        weight = next(name for name in _CLASSIFIERS if name in tensors)
        for name in (weight, weight.replace("weight", "bias")):
            tensors[name] = tensors[name][list(classes)]
        outputs = len(classes)
    with torch.device("meta"):
        model = build_network(fitted.network, outputs, zero_channels=zero_channels)
    model.to_empty(device="cpu")  # every weight comes from the file
    counters = {k: torch.tensor(0) for k in model.state_dict() if _is_counter(k)}
    model.load_state_dict({**counters, **tensors})
    return model.eval()


def _check_numbers(fitted: Fitted) -> None:
    """Raise ConfigError unless all tensors are ordinary, finite numbers."""
    name = fitted.weights.name
    with torch.device("meta"):
        ours = build_network(fitted.network, fitted.classes).state_dict()
    for place, tensor in fitted.tensors.items():
        whole_number = _is_counter(place) or ours[place].dtype == tensor.dtype
        if not (tensor.is_floating_point() or whole_number):
            kind = str(tensor.dtype).removeprefix("torch.")
            raise ConfigError(f"{name}: {place} is {kind}, expected floating-point weights")
        try:
            finite = torch.empty(tensor.shape).copy_(tensor).isfinite().all()
        except RuntimeError as error:  # cannot be copied: sparse, quantized
            raise ConfigError(f"{name} holds no ordinary tensors") from error
        if not finite:
            raise ConfigError(f"{name} holds weights that are not finite numbers")


def _prefixes(places: Iterable[str]) -> list[str]:
    """What may stand before all names of a network: plain weights before averaged ones."""
    found: dict[str, None] = {}
    for place in places:
        for end in (*_CLASSIFIERS, *_FIRST):
            prefix = place.removesuffix(end)
            if prefix != place and prefix[-1:] in ("", ".") and not _INSIDE.search(prefix):
                found.setdefault(prefix)
    ordered = sorted(found, key=lambda p: (bool(_AVERAGED.search(p)), p.count(".")))
    return ordered[:_MOST_PREFIXES] or [""]


@dataclass(frozen=True, eq=False)
class _Candidate:
    """The tensors behind a prefix, which may be the network's."""

    prefix: str
    own: dict[str, Tensor]  # of modules that networks here have
    beside: list[str]  # places of the rest of the file's tensors
    classes: int | None

    @property
    def shapes(self) -> Shapes:
        """Of what decides whether it fits."""
        return {k: tuple(v.shape) for k, v in self.own.items() if not _is_counter(k)}

    def misfit(self, network: str) -> str | None:
        """What is missing, unexpected and of another shape, with examples; None if it fits."""
        ours = _shapes(network, self.classes)
        return None if ours == self.shapes else _difference(ours, self.shapes)


def _candidate(weights: Weights, prefix: str) -> _Candidate:
    own: dict[str, Tensor] = {}
    beside = []
    for place, tensor in weights.tensors.items():
        name = _our_name(place.removeprefix(prefix))
        if place.startswith(prefix) and name not in own and name.partition(".")[0] in _MODULES:
            own[name] = tensor
        else:
            beside.append(place)
    shapes = (own[name].shape for name in _CLASSIFIERS if name in own)
    classes = next((shape[0] for shape in shapes if len(shape) == 2), None)
    return _Candidate(prefix, own, beside, classes)


def _our_name(name: str) -> str:
    for theirs, ours in _RENAMED:
        name = theirs.sub(ours, name)
    return name


def _notes(weights: Weights, best: _Candidate, others: Sequence[_Candidate]) -> Iterator[str]:
    """What of the file was left aside, for somebody who reads the errors."""
    different = [other for other in others if not _same(best, other)]
    if different:
        some = some_of([other.prefix.rstrip(".") or "the top" for other in different])
        yield (
            f"tested is what stands under {_shown(best.prefix)}; the file has such weights under "
            f"{some} as well: to test those, save them in a file of their own"
        )
    nowhere = set(best.beside).intersection(*(other.beside for other in others))
    rest = [p for p in best.beside if p in nowhere and not _OF_TRAINING.match(p)]
    rest = [p for p in rest if not p.endswith("n_averaged")]  # a counter, of averaged weights
    if rest:
        yield f"left aside in the file: {len(rest)} other tensors ({some_of(rest)})"
    if weights.objects:
        yield f"not read in the file, as it could run code: {some_of(weights.objects)}"


def _same(one: _Candidate, other: _Candidate) -> bool:
    return all(torch.equal(one.own[name], other.own[name]) for name in one.shapes)


def _shown(prefix: str) -> str:
    return plain(prefix.rstrip("."), 60) or "no prefix"


def _is_counter(name: str) -> bool:
    """Whether it is BN's count of batches, which old files lack and testing does not use."""
    return name.endswith("num_batches_tracked")


@functools.cache
def _shapes(network: str, classes: int | None) -> Shapes:
    with torch.device("meta"):
        model = build_network(network, classes)
    return {k: tuple(v.shape) for k, v in model.state_dict().items() if not _is_counter(k)}


def _difference(ours: Shapes, theirs: Shapes) -> str:
    groups = {
        "missing": [name for name in ours if name not in theirs],
        "unexpected": [name for name in theirs if name not in ours],
        "of another shape": [n for n in ours if n in theirs and ours[n] != theirs[n]],
    }
    return ", ".join(
        f"{len(names)} {what} ({', '.join(plain(n, 60) for n in names[:_SHOWN])}"
        f"{', ...' if len(names) > _SHOWN else ''})"
        for what, names in groups.items()
        if names
    )


def _misfit(network: str, weights: Weights, candidates: Sequence[_Candidate]) -> str:
    """Why no candidate fits: of the one that comes nearest to the network."""
    ours = set(_shapes(network, None))
    nearest = max(candidates, key=lambda one: len(ours & set(one.shapes)))
    under = f" under {_shown(nearest.prefix)}" if nearest.prefix else ""
    return (
        f"{weights.name} does not fit {network}: tensors{under} "
        f"{nearest.misfit(network)}; {_better(network, nearest.shapes, nearest.classes)}"
    )


def _better(asked: str, theirs: Shapes, classes: int | None) -> str:
    """Which networks the weights fit, or which comes nearest."""
    if fitting := _fitting(_KNOWN, theirs, classes):
        return f"it fits --network {' or '.join(fitting)}"
    layers = _of_layers(theirs)
    known = {network: _layers(network, classes) for network in (asked, *_KNOWN)}
    nearest = min(known, key=lambda network: len(layers ^ known[network]))
    if not layers or len(layers & known[nearest]) < len(layers) / 2:
        return "none of the networks compared has such tensors"
    if nearest == asked:
        return "no other of the networks compared is nearer"
    return f"the nearest network is {nearest}, which it does not fit either"


def _fitting(networks: Iterable[str], theirs: Shapes, classes: int | None) -> list[str]:
    """Those of some networks whose tensors have these names and shapes.

    They are compared by their layers' weights first, so that few have to be built.
    """
    layers = _of_layers(theirs)
    alike = [network for network in networks if _layers(network, classes) == layers]
    return [network for network in alike if _shapes(network, classes) == theirs]


def _of_layers(shapes: Shapes) -> set[tuple[str, tuple[int, ...]]]:
    """The weights of layers among tensors: neither those of BN nor biases."""
    return {(name, shape) for name, shape in shapes.items() if len(shape) > 1}


@functools.cache
def _layers(network: str, classes: int | None) -> set[tuple[str, tuple[int, ...]]]:
    """(Name, shape) of the weights of a network's convolutions and fully connected layers."""
    layers = outline(network, None, classes).weighted
    return {(f"{layer.name}.weight", layer.shape) for layer in layers if layer.name}


def weights_sha256(*states: Mapping[str, Tensor]) -> str:
    """SHA-256 of the values of some states' tensors, in their order; of any shapes and devices."""
    digest = hashlib.sha256()
    for state in states:
        for value in state.values():
            digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
