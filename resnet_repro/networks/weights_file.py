"""The tensors of files that `torch.save` has written, whatever else is in them.

Nothing in a file is executed. `torch.load(weights_only=True)` refuses a whole file for one harmless
object beside the weights: the options of a training, a numpy number, the network's own class. Such
a file is read once more by an unpickler that finds no function or class but stand-ins: it makes
tensors and mappings, and an `Inert` of everything else.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import io
import pickle
import tarfile
import types
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import torch
from torch import Tensor

from resnet_repro.base.errors import ConfigError, plain
from resnet_repro.base.files import open_regular

__all__ = ["Weights", "read_weights", "some_of"]

LARGEST_FILE = 2**33  # bytes; VGG-16's weights with all that its optimiser keeps have 1.7 GB
LONGEST_PICKLE = 64_000_000  # bytes; names and numbers, the tensors are not in it
DEEPEST = 100  # containers in containers
LONGEST_PLACE = 500  # characters of the names of containers and of what is in them
_SHOWN = 2
_MODULE_PARTS = ("_modules", "_parameters", "_buffers")  # where a torch.nn.Module keeps what it has


@dataclass(frozen=True, eq=False)
class Weights:
    """The tensors of a file, by their places in it."""

    name: str  # of the file, without its folder
    sha256: str  # of the file
    tensors: dict[str, Tensor]
    objects: tuple[str, ...] = ()  # kinds of what was not made, since it could run code


def read_weights(path: Path) -> Weights:
    """Read a file of torch's format (any suffix), or `.safetensors` where that is installed.

    Raises:
        ConfigError: there is no such file, or it holds something else.
    """
    objects: dict[str, None] = {}
    try:
        with open_regular(path, LARGEST_FILE) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if path.suffix == ".safetensors":
            content = _read_safetensors(path)
        else:
            content = _read_torch(path, objects)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    tensors = {place: leaf for place, leaf in leaves(content) if isinstance(leaf, Tensor)}
    tensors.pop("", None)
    if not tensors:
        made = f", but objects ({some_of(list(objects))})" if objects else ""
        raise ConfigError(
            f"{path.name} holds no weights{made}: expected a state dict, names to tensors"
        )
    return Weights(plain(path.name, 200), digest, tensors, tuple(objects))


def some_of(names: Sequence[str]) -> str:
    """The first two of some names from a file, fit to be printed, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(plain(name, 60) for name in names[:_SHOWN]) + more


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


class _Unusable(Exception):  # noqa: N818
    """What is wrong with a file, in words."""


def _read_torch(path: Path, objects: dict[str, None]) -> Any:
    """What is in a file, with an `Inert` for each object, whose kinds are added to `objects`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols, and of TorchScript
            if tarfile.is_tarfile(path):
                raise _Unusable("it is of torch's first format")
            script = zipfile.is_zipfile(path) and _check_archive(path)
            try:
                return torch.load(path, map_location="cpu", weights_only=True)
            except (pickle.UnpicklingError, RuntimeError):  # something that is no tensor
                source = _as_checkpoint(path) if script else path
                return torch.load(
                    source, map_location="cpu", weights_only=False, pickle_module=_inert(objects)
                )
    except OSError:
        raise
    except Exception as error:  # torch raises many kinds for one reason: this is no state dict
        why = f" ({error})" if isinstance(error, _Unusable) else ""
        raise ConfigError(
            f"{path.name} is not a whole file of weights{why}; "
            "expected what torch.save(network.state_dict(), ...) writes"
        ) from error


def _check_archive(path: Path) -> bool:
    """Whether a zip archive is TorchScript, which is a program.

    One that would become far larger than it is is refused: torch compresses no tensors.
    """
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
    if sum(info.file_size for info in infos) > path.stat().st_size + LONGEST_PICKLE:
        raise _Unusable("it is compressed")
    return any(info.filename.rpartition("/")[2] == "constants.pkl" for info in infos)


def _as_checkpoint(path: Path) -> BinaryIO:
    """A TorchScript archive without its program, which makes it one of `torch.save`."""
    copy = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w") as kept:
        for info in archive.infolist():
            if "/code/" not in info.filename and not info.filename.endswith("/constants.pkl"):
                kept.writestr(info.filename, archive.read(info))
    copy.seek(0)
    return copy


class Inert:
    """Stands for an object that was not made. Keeps what was to go into it, perhaps tensors."""

    kind = "?"
    kinds: ClassVar[dict[str, None]] = {}

    def __new__(cls, *given: Any, **_named: Any) -> Inert:
        made = super().__new__(cls)
        made.__dict__["given"] = list(given)
        cls.kinds.setdefault(cls.kind)
        return made

    def __init__(self, *_given: Any, **_named: Any) -> None:
        self.given: list[Any]

    def __setstate__(self, state: Any) -> None:
        self.given += state if isinstance(state, tuple) else [state]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.given.append({key: value})

    def append(self, item: Any) -> None:
        self.given.append(item)

    def extend(self, items: Any) -> None:
        self.given.append(items)

    add = append

    def __call__(self, *given: Any) -> Inert:
        self.given += given
        return self


class _Mapping(dict[Any, Any]):
    """An OrderedDict or defaultdict, without the function and the attributes that it may have."""

    def __init__(self, *given: Any) -> None:
        super().__init__(given[-1] if given and isinstance(given[-1], list | dict) else {})

    def __setstate__(self, _state: Any) -> None: ...


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    """A tensor that is a view of a storage, as `torch._utils._rebuild_tensor` makes it."""
    numbers = (offset, *size, *stride)
    if any(type(number) is not int or number < 0 for number in numbers):
        raise _Unusable("it has a tensor of impossible sizes")
    last = offset + sum((many - 1) * step for many, step in zip(size, stride, strict=True))
    if 0 not in size and last >= storage.size():
        raise _Unusable("it has a tensor larger than its storage")
    return torch.empty(0, dtype=storage.dtype).set_(storage.untyped(), offset, size, stride)


def _first(tensor: Any, *_: Any) -> Any:
    return tensor


def _typed(function: Any, _type: Any, arguments: Any, _state: Any) -> Any:
    return function(*arguments)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type_v2": _typed,
}
_MAPPINGS = ("collections.OrderedDict", "collections.defaultdict", "builtins.dict")


def _inert(objects: dict[str, None]) -> Any:
    """A module for `torch.load` to unpickle with; kinds of what is not made go into `objects`."""

    class Unpickler(pickle.Unpickler):
        """Gives nothing that exists, and nothing twice: what it gives can be called and changed."""

        def find_class(self, module: str, name: str) -> Any:
            place = f"{module}.{name}"
            if place in _FUNCTIONS:
                return functools.partial(_FUNCTIONS[place])
            base = (_Mapping,) if place in _MAPPINGS else (Inert,)
            return type("Inert", base, {"kind": place, "kinds": objects})

    def load(file: Any, **how: Any) -> Any:
        return Unpickler(file, **how).load()

    return types.SimpleNamespace(__name__="inert", Unpickler=Unpickler, load=load)


def leaves(content: Any) -> Iterator[tuple[str, Any]]:
    """(place, value) of everything in nested containers: `model.conv1.weight`.

    What several places share is named at the first. A network that was pickled whole gives the
    places of its state dict. What lies too deep, or under a name too long, is left out.
    """
    seen: set[int] = set()

    def walk(value: Any, place: str, depth: int) -> Iterator[tuple[str, Any]]:
        if not isinstance(value, dict | list | tuple | Inert):
            yield place, value
            return
        if id(value) in seen or depth > DEEPEST or len(place) > LONGEST_PLACE:
            return
        seen.add(id(value))
        if isinstance(value, Inert):
            for part in value.given:
                if isinstance(part, dict | Inert):
                    yield from walk(part, place, depth + 1)
            return
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            if key in _MODULE_PARTS and isinstance(inner, dict):
                yield from walk(inner, place, depth + 1)
            elif isinstance(key, str | int) and len(str(key)) <= LONGEST_PLACE:
                yield from walk(inner, f"{place}.{key}" if place else str(key), depth + 1)

    return walk(content, "", 0)
