"""The tensors of files that `torch.save` has written, whatever else is in them.

Nothing in a file is executed. Where torch refuses to read one with `weights_only=True`, its pickle
is read by `networks.inert`, and the numbers of its tensors here.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import pickle
import sys
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resnet_repro.base.errors import ConfigError, plain
from resnet_repro.base.files import open_regular
from resnet_repro.networks.inert import InertError, Machine, Record, leaves

__all__ = ["Weights", "read_weights", "some_of"]

LARGEST_FILE = 2**33  # bytes; VGG-16's weights with all that its optimiser keeps have 1.7 GB
LONGEST_PICKLE = 64_000_000  # bytes; names and numbers, the tensors are not in it
MOST_TENSORS = 20_000
_SHOWN = 2
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of files from before torch 1.6


@dataclass(frozen=True, eq=False)
class Weights:
    """The tensors of a file, by their places in it."""

    name: str  # of the file, without its folder
    sha256: str  # of the file
    tensors: dict[str, Tensor]
    objects: tuple[str, ...] = ()  # kinds of what was not made, since it could run code


def read_weights(path: Path) -> Weights:
    """Read a file of torch's format (any suffix), or `.safetensors` where that is installed.

    Nothing in the file is executed: torch reads it with `weights_only=True`, and where it refuses
    something beside the tensors, `networks.inert` reads them.

    Raises:
        ConfigError: there is no such file, or it holds something else.
    """
    objects: list[str] = []
    try:
        with open_regular(path, LARGEST_FILE) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if path.suffix == ".safetensors":
            content = _read_safetensors(path)
        else:
            content, objects = _read_torch(path)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    tensors = {place: leaf for place, leaf in leaves(content) if isinstance(leaf, Tensor)}
    tensors.pop("", None)
    if not tensors:
        made = f", but objects ({some_of(objects)})" if objects else ""
        raise ConfigError(
            f"{path.name} holds no weights{made}: expected a state dict, names to tensors"
        )
    return Weights(plain(path.name, 200), digest, tensors, tuple(objects))


def _read_torch(path: Path) -> tuple[Any, list[str]]:
    try:
        if zipfile.is_zipfile(path):
            _check_archive(path)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of pickle protocols
                return torch.load(path, map_location="cpu", weights_only=True), []
        except OSError:
            raise
        except (pickle.UnpicklingError, RuntimeError):  # something that is no tensor
            return _read_inert(path)
    except OSError:
        raise
    except Exception as error:  # torch raises many kinds for one reason: this is no state dict
        why = f" ({error})" if isinstance(error, InertError) else ""
        raise ConfigError(
            f"{path.name} is not a whole file of weights{why}; "
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


def some_of(names: Sequence[str]) -> str:
    """The first two of some names from a file, fit to be printed, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(plain(name, 60) for name in names[:_SHOWN]) + more


def _check_archive(path: Path) -> None:
    """Refuse an archive that would become far larger than it is: torch compresses no tensors.

    Raises:
        InertError: it would, or is not a whole one.
        OSError: it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise InertError("its archive is damaged") from error
    if sum(info.file_size for info in infos) > path.stat().st_size + LONGEST_PICKLE:
        raise InertError("it is compressed")


def _read_inert(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """(tensors by place, kinds of objects that were not made) of a file that torch has written.

    Raises:
        InertError: it is no such file, or not a whole one.
        OSError: it cannot be read.
    """
    machine = Machine()
    if zipfile.is_zipfile(path):
        _check_archive(path)
        tensors = _read_zip(path, machine)
    else:
        tensors = _read_legacy(path, machine)
    return tensors, list(machine.kinds)


def _read_zip(path: Path, machine: Machine) -> dict[str, Tensor]:
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            found = [name for name in sizes if name.rpartition("/")[2] == "data.pkl"]
            if len(found) != 1 or sizes[found[0]] > LONGEST_PICKLE:
                raise InertError("it has not one data.pkl of a bearable size")
            folder = found[0].removesuffix("data.pkl")
            order = f"{folder}byteorder"
            if order in sizes and archive.read(order) != sys.byteorder.encode():
                raise InertError("it has numbers of another byte order")
            content = machine.run(io.BytesIO(archive.read(found[0])))
            return _tensors(content, lambda key: archive.read(f"{folder}data/{key}"))
    except (zipfile.BadZipFile, KeyError, NotImplementedError, EOFError, RuntimeError) as error:
        raise InertError("its archive is damaged") from error


def _read_legacy(path: Path, machine: Machine) -> dict[str, Tensor]:
    """The format from before torch 1.6: five pickles, then the storages one after another."""
    with path.open("rb") as file:
        head = io.BytesIO(file.read(LONGEST_PICKLE))
        if Machine().run(head) != _LEGACY_MAGIC:
            raise InertError("torch has not written it")
        Machine().run(head)  # the format's version
        Machine().run(head)  # sizes of C's types
        content = machine.run(head)
        keys = Machine().run(head)
        places: dict[str, tuple[int, int]] = {}
        file.seek(head.tell())
        for key in keys if isinstance(keys, list) else []:
            storage = machine.storages.get(str(key))
            items = int.from_bytes(file.read(8), sys.byteorder)
            if storage is None:
                raise InertError("it has a storage that no tensor is of")
            size = items * (storage.dtype.itemsize if storage.dtype else 1)
            places[storage.key] = file.tell(), size
            if file.tell() + size > path.stat().st_size:
                raise InertError("it is cut off")
            file.seek(size, io.SEEK_CUR)

        def load(key: str) -> bytes:
            if key not in places:
                raise InertError("it has a tensor of a storage that is not there")
            start, size = places[key]
            file.seek(start)
            return file.read(size)

        return _tensors(content, load)


def _tensors(content: Any, load: Callable[[str], bytes]) -> dict[str, Tensor]:
    """Make the tensors among what was read; `load` gives a storage's bytes by its key."""
    loaded: dict[str, bytearray] = {}
    tensors: dict[str, Tensor] = {}
    for place, value in leaves(content):
        if not isinstance(value, Record):
            continue
        if len(tensors) >= MOST_TENSORS:
            raise InertError(f"it has more than {MOST_TENSORS:,} tensors")
        key = value.storage.key
        if key not in loaded:
            loaded[key] = bytearray(load(key))
        tensors.setdefault(place, _tensor(value, loaded[key]))
    return tensors


def _tensor(record: Record, content: bytearray) -> Tensor:
    if not content:
        return torch.empty(0, dtype=record.dtype)
    try:
        flat = torch.frombuffer(content, dtype=record.dtype)
        return flat.as_strided(record.size, record.stride, record.offset)
    except (RuntimeError, ValueError) as error:
        raise InertError("it has a tensor larger than its storage") from error
