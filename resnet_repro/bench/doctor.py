"""Is this machine ready? Device, precision, data, disk, versions."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from resnet_repro import __version__
from resnet_repro.base import provenance
from resnet_repro.base.errors import ReproError
from resnet_repro.base.machine import available_memory, gpu_name
from resnet_repro.base.plain_text import plural
from resnet_repro.data import datasets
from resnet_repro.data.dataset import prepare_command
from resnet_repro.data.photos.workers import default_workers, parallel_map
from resnet_repro.store.store import Store
from resnet_repro.training.device import auto_precision, choose_backend, hardware_name

__all__ = ["Check", "examine"]

LEAST_DISK = 1 << 30  # bytes; a checkpoint of ResNet-1202 and its predecessor take 0.4 GB


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    verdict: Literal["ok", "note", "problem"]
    text: str


def examine(store: Store, data_dir: Path, device: str) -> Iterator[Check]:
    """Look at everything that a run needs.

    Nothing is left behind but the speeds of both precisions in the user's cache, where they were
    not known yet.
    """
    yield Check("python", "ok", sys.version.split()[0])
    yield from _device(device)
    versions = ", ".join(f"{k} {v}" for k, v in provenance.versions().items())
    yield Check("versions", "ok", f"resnet-repro {__version__}, {versions}")
    for dataset in datasets.describe(data_dir):
        if dataset.prepared and dataset.official:
            yield Check(dataset.name, "ok", f"{dataset.images:,} images")
        elif dataset.prepared:
            yield Check(dataset.name, "note", dataset.note)
        else:
            reader = datasets.READERS.get(dataset.name)
            bring = "--download" if reader and reader.downloadable else "--from PATH"
            how = f"not here; {prepare_command(dataset.name, data_dir, bring)}"
            yield Check(dataset.name, "note", dataset.note or how)
    yield _workers()
    yield _results(store)


def _device(device: str) -> Iterator[Check]:
    try:
        backend = choose_backend(device, "auto")
        what = f"{backend.device} ({hardware_name(backend.device)})"
        threads = plural(torch.get_num_threads(), "thread")
        text = f"{what}, {backend.precision} arithmetic, {threads}"
        yield Check("device", "ok", text)
        yield Check("precision", "ok", str(auto_precision(backend.device)))
        cuda = torch.version.cuda
        if device == "auto" and backend.device.type == "cpu" and cuda and (gpu := gpu_name()):
            text = (
                f"{gpu} is not used: its driver is too old for torch's CUDA {cuda}, or this "
                "container or job was given no GPU"
            )
            yield Check("device", "note", text)
        if backend.device.type == "cpu" and torch.backends.mps.is_available():
            text = "an Apple GPU, which auto does not choose; use it with --device mps"
            yield Check("device", "note", text)
    except ReproError as error:
        yield Check("device", "problem", str(error))


def _workers() -> Check:
    """Whether worker processes start, and how much memory decoded photographs could take."""
    memory = available_memory()
    known = "" if memory is None else f", {memory / 1e9:.1f} GB of memory available"
    try:
        count = default_workers()
        list(parallel_map(abs, [0], min(count, 1)))
    except ReproError as error:
        return Check("workers", "problem", str(error))
    return Check("workers", "ok", f"{count} to decode photographs{known}")


def _results(store: Store) -> Check:
    try:
        store.check_writable(keep=False)
    except ReproError as error:
        return Check("results", "problem", str(error))
    there = next(path for path in (store.root, *store.root.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    verdict: Literal["ok", "problem"] = "ok" if free >= LEAST_DISK else "problem"
    return Check("results", verdict, f"{store.root}: writable, {free / 1e9:.1f} GB free")
