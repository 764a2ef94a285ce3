"""Somebody else's weights: read without executing anything, and checked against a network.

Files come as torchvision's do (`fc.weight`, `layer1.0.conv1.weight` ...), perhaps with a prefix
that a wrapper left (`module.`), perhaps beside other things (`{"state_dict": ..., "epoch": 90}`).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from resnet_repro.errors import ConfigError, plain
from resnet_repro.files import open_regular
from resnet_repro.networks.factory import build_network

__all__ = ["Weights", "count_classes", "keep_classes", "network_with", "read_weights"]

_NESTED = ("state_dict", "model_state_dict", "model", "network")
_PREFIXES = ("module.", "_orig_mod.", "model.", "network.")
_CLASSIFIERS = ("fc.weight", "classifier.6.weight")  # [classes, features], of ResNet and of VGG
LARGEST_FILE = 2**33  # bytes; VGG-16's weights with all that its optimiser keeps have 1.7 GB
_SHOWN = 2  # names of tensors in a message
_KNOWN = (
    *("plain-18", "plain-34", "vgg-16", "plain-50", "plain-101", "plain-152"),
    *(f"resnet-{depth}-{option}" for depth in (18, 34) for option in "abc"),
    *(f"resnet-{depth}{suffix}" for depth in (50, 101, 152) for suffix in ("", "-v1.5")),
    *(f"resnet-{depth}-{option}" for depth in (50, 101, 152) for option in "ac"),
)

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, eq=False)
class Weights:
    """The tensors of a file, by torchvision's names."""

    name: str  # of the file, without its folder
    sha256: str  # of the file
    tensors: dict[str, Tensor]


def read_weights(path: Path) -> Weights:
    """Read a state dict: torch's format (any suffix), or `.safetensors` where that is installed.

    Nothing in the file is executed: torch reads it with `weights_only=True`.

    Raises:
        ConfigError: there is no such file, or it holds something else.
    """
    try:
        with open_regular(path, LARGEST_FILE) as file:
            _check_packing(path.name, file)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    for name in _NESTED:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    tensors = content if isinstance(content, dict) else {}
    tensors = {k: v for k, v in tensors.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if not tensors:
        raise ConfigError(f"{path.name} holds no weights: expected a state dict, names to tensors")
    return Weights(plain(path.name, 200), digest, _without_prefixes(tensors))


def _check_packing(name: str, file: BinaryIO) -> None:
    """Refuse a torch archive that unpacks to more than a file may have: torch.save packs nothing.

    Raises ConfigError.
    """
    with contextlib.suppress(zipfile.BadZipFile, ValueError, NotImplementedError):
        size = sum(member.file_size for member in zipfile.ZipFile(file).infolist())
        if size > LARGEST_FILE:
            raise ConfigError(f"{name} is refused: it would unpack to {size:,} bytes")
    file.seek(0)


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        reason = f"it asks for {plain(asked[1], 60)}" if asked else "it is no plain file of tensors"
        raise ConfigError(
            f"{path.name} is refused: {reason}, and reading it could run code hidden in it; "
            "bring what torch.save(network.state_dict(), ...) writes"
        ) from error
    except Exception as error:  # torch raises many kinds for one reason: this is no state dict
        raise ConfigError(
            f"{path.name} is not a whole file of weights ({type(error).__name__}); "
            "expected what torch.save(network.state_dict(), ...) writes"
        ) from error


def _read_safetensors(path: Path) -> Any:
    try:
        library = importlib.import_module("safetensors.torch")
    except ImportError as error:
        raise ConfigError(
            f"{path.name}: reading it needs the safetensors package: pip install safetensors"
        ) from error
    try:
        return library.load_file(path)
    except OSError:
        raise
    except Exception as error:  # the library's own kind, which is not there to be named
        raise ConfigError(f"{path.name} is not a whole safetensors file") from error


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names without what DataParallel, torch.compile and the like put before all of them."""
    while prefix := next(
        (p for p in _PREFIXES if all(name.startswith(p) for name in tensors)), None
    ):
        tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def count_classes(weights: Weights) -> int | None:
    """How many classes the weights tell apart; None where they have no known classifier."""
    for name in _CLASSIFIERS:
        if name in weights.tensors and weights.tensors[name].dim() == 2:
            return len(weights.tensors[name])
    return None


def network_with(network: str, weights: Weights) -> nn.Module:
    """The network of that name holding the weights, in evaluation mode, on the CPU.

    Raises:
        ConfigError: the weights are of another network (the message says of which, if known).
    """
    classes = count_classes(weights)
    theirs = {name: tuple(value.shape) for name, value in weights.tensors.items()}
    if not _fits(_shapes(network, classes), theirs):
        raise ConfigError(
            f"{weights.name} does not fit {network}: "
            f"tensors {_difference(_shapes(network, classes), theirs)}; {_better(theirs, classes)}"
        )
    with torch.device("meta"):
        model = build_network(network, classes)
    model.to_empty(device="cpu")  # every weight comes from the file
    counters = {k: torch.tensor(0) for k in model.state_dict() if _is_counter(k)}
    try:
        model.load_state_dict({**counters, **weights.tensors})
    except RuntimeError as error:  # a kind of tensor that cannot be copied: sparse, quantized
        raise ConfigError(f"{weights.name} holds no ordinary tensors") from error
    if not all(p.isfinite().all() for p in model.state_dict().values()):
        raise ConfigError(f"{weights.name} holds weights that are not finite numbers")
    return model.eval()


def keep_classes(network: nn.Module, classes: Sequence[int]) -> None:
    """Cut the classifier down to some of its classes, in the order given, in place.

    The softmax is then over these classes alone.
    """
    for name in _CLASSIFIERS:
        path = name.removesuffix(".weight")
        try:
            old = network.get_submodule(path)
        except AttributeError:
            continue
        assert isinstance(old, nn.Linear)
        new = nn.Linear(old.in_features, len(classes))
        with torch.no_grad():
            new.weight.copy_(old.weight[list(classes)])
            new.bias.copy_(old.bias[list(classes)])
        network.set_submodule(path, new.to(old.weight.device))


def _is_counter(name: str) -> bool:
    """Whether it is BN's count of batches, which old files lack and testing does not use."""
    return name.endswith("num_batches_tracked")


def _shapes(network: str, classes: int | None) -> Shapes:
    with torch.device("meta"):
        model = build_network(network, classes)
    return {k: tuple(v.shape) for k, v in model.state_dict().items() if not _is_counter(k)}


def _fits(ours: Shapes, theirs: Shapes) -> bool:
    return ours == {name: shape for name, shape in theirs.items() if not _is_counter(name)}


def _difference(ours: Shapes, theirs: Shapes) -> str:
    """What is missing, unexpected and of another shape, each with an example or two."""
    theirs = {name: shape for name, shape in theirs.items() if not _is_counter(name)}
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


def _better(theirs: Shapes, classes: int | None) -> str:
    """Which networks the weights fit, or which comes nearest."""
    known = {network: _shapes(network, classes) for network in _KNOWN}
    fitting = [network for network, shapes in known.items() if _fits(shapes, theirs)]
    if fitting:
        return f"it fits --network {' or '.join(fitting)}"
    pairs = set(theirs.items())
    nearest = min(known, key=lambda network: len(pairs ^ set(known[network].items())))
    if len(pairs & set(known[nearest].items())) < len(pairs) / 2:
        return "no network here has such tensors"
    return f"the nearest network is {nearest}, which it does not fit either"
