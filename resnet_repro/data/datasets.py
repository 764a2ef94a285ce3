"""The data sets by name: load, prepare, verify and describe them."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from resnet_repro.base.errors import ConfigError, DataError
from resnet_repro.data import synthetic
from resnet_repro.data.cache import read_cache, read_record, write_cache
from resnet_repro.data.cifar import cifar10
from resnet_repro.data.dataset import Dataset
from resnet_repro.data.photos.catalogue import (
    FOLDER,
    describe_photographs,
    found_folders,
    load_photographs,
    prepare_photographs,
    verify_photographs,
)
from resnet_repro.data.photos.imagenette import Size
from resnet_repro.data.photos.photos import PhotoDataset
from resnet_repro.data.status import DatasetStatus, cannot_prepare
from resnet_repro.spec.dataset_names import parse_dataset

__all__ = ["DATASETS", "DatasetStatus", "describe", "load", "prepare", "verify"]

_log = logging.getLogger(__name__)

DATASETS = {
    "cifar10": "CIFAR-10: 50,000 training and 10,000 test images of 32x32 pixels in ten classes",
    "imagenet": "ImageNet (ILSVRC 2012): 1,281,167 training and 50,000 validation photographs in"
    " 1,000 classes",
    "imagenette": "ten classes of ImageNet: 9,469 training and 3,925 validation photographs",
    "synthetic": "generated shapes in ten classes, 32x32 pixels; needs no download",
}
_PHOTOGRAPHS = ("imagenet", "imagenette")
_NO_FOLDERS: Mapping[str, Path] = {}


def load(
    name: str, data_dir: Path, folders: Mapping[str, Path] = _NO_FOLDERS
) -> Dataset | PhotoDataset:
    """Open the prepared data set `name`, or prepare it if `data_dir` holds a copy of it.

    `folder:NAME` is the folder `folders[NAME]` if that says so, else NAME in `data_dir`. Raises
    ConfigError when the name is unknown and DataError when there is nothing to load.
    """
    parse_dataset(name)
    if _of_photographs(name):
        return load_photographs(name, data_dir, folders)
    if name == "synthetic":
        return synthetic.generate()
    folder = data_dir / name
    if folder.exists():
        return read_cache(name, folder)
    source = cifar10.find_source(data_dir)
    if source is None:
        raise _missing(data_dir)
    _log.info("preparing %s from %s, once", name, source)
    return _prepare_cifar10(data_dir, source, _log.debug, replace=False)


def prepare(
    name: str,
    data_dir: Path,
    source: Path | None = None,
    *,
    download: bool = False,
    size: Size = "160",
    folders: Mapping[str, Path] = _NO_FOLDERS,
    progress: Callable[[str], None] = _log.info,
) -> Dataset | PhotoDataset:
    """Turn a copy of the data set, whatever its form, into the verified cache `data_dir/name`.

    The copy is at `source`, on the network (`download`), or in `data_dir`. With none named, a cache
    that verifies is kept; `progress` hears what is going on. Photographs stay as they are: a folder
    is linked to and looked through. `size` is that of the Imagenette to download. Raises
    ConfigError when the name is unknown or the options make no sense, DataError when there is no
    usable copy.
    """
    parse_dataset(name)
    if name == "synthetic":
        if source is not None or download:
            raise ConfigError("synthetic is generated; there is nothing to bring or download")
        return synthetic.verify_synthetic()
    if source is not None and download:
        raise ConfigError("either bring a copy or download one, not both")
    if _of_photographs(name):
        return prepare_photographs(
            name,
            data_dir,
            source,
            download=download,
            size=size,
            folders=folders,
            progress=progress,
        )
    if source is None:
        kept = _verified(name, data_dir / name)
        if kept is not None and (kept.identity.official or not download):
            progress(f"{name} is prepared already in {data_dir / name}")
            return kept
        if not download:
            source = cifar10.find_source(data_dir)
            if source is None:
                raise _missing(data_dir)
    return _prepare_cifar10(data_dir, source, progress, replace=True)


def verify(
    name: str,
    data_dir: Path,
    folders: Mapping[str, Path] = _NO_FOLDERS,
    *,
    progress: Callable[[str], None] = _log.info,
) -> Dataset | PhotoDataset:
    """Open the prepared data set and compare every byte with its checksums.

    Of photographs, every one is decoded.

    Raises ConfigError when the name is unknown, DataError when it is missing or damaged.
    """
    parse_dataset(name)
    if name == "synthetic":
        return synthetic.verify_synthetic()
    if _of_photographs(name):
        return verify_photographs(name, data_dir, folders, progress)
    folder = data_dir / name
    if not folder.exists():
        raise _missing(data_dir)
    return read_cache(name, folder)


def describe(data_dir: Path) -> list[DatasetStatus]:
    """What there is in `data_dir`, read from the caches' records alone; raises nothing."""
    photographs = {name: DATASETS[name] for name in _PHOTOGRAPHS}
    for name in found_folders(data_dir):
        photographs[f"{FOLDER}{name}"] = "photographs of your own"
    return [
        _describe_cifar10(data_dir),
        *(describe_photographs(name, text, data_dir, {}) for name, text in photographs.items()),
        _describe_synthetic(),
    ]


def _describe_cifar10(data_dir: Path) -> DatasetStatus:
    name, description = "cifar10", DATASETS["cifar10"]
    folder = data_dir / name
    note = ""
    try:
        if folder.exists():
            record = read_record(name, folder)
            identity = record.identity
            return DatasetStatus(
                name,
                description,
                prepared=True,
                official=identity.official,
                images=record.images,
                source=identity.source,
                note=identity.note,
            )
        source = cifar10.find_source(data_dir)
        if source is not None:
            note = f"will be prepared from {source} when first used"
    except DataError as error:
        note = str(error).splitlines()[0]
    except OSError as error:
        note = str(error)
    return DatasetStatus.absent(name, description, note)


def _describe_synthetic() -> DatasetStatus:
    return DatasetStatus(
        "synthetic",
        DATASETS["synthetic"],
        prepared=True,
        official=True,
        images=synthetic.TRAIN_IMAGES + synthetic.TEST_IMAGES,
        source="generated from seed 0",
        note="",
    )


def _prepare_cifar10(
    data_dir: Path, source: Path | None, progress: Callable[[str], None], *, replace: bool
) -> Dataset:
    """Make the cache from the copy at `source`, or from a download if that is None."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".prepare-", dir=data_dir) as name:
            scratch = Path(name)
            if source is None:
                found = cifar10.read_download(data_dir, scratch, progress)
            else:
                found = cifar10.read_source(source, scratch, progress)
        progress(f"writing {data_dir / 'cifar10'}")
        return write_cache("cifar10", data_dir, found, replace=replace)
    except OSError as error:
        copy = source if replace else data_dir  # in which `load` found it
        raise cannot_prepare("cifar10", data_dir, copy, error) from error


def _verified(name: str, folder: Path) -> Dataset | None:
    try:
        return read_cache(name, folder) if folder.exists() else None
    except DataError:
        return None


def _of_photographs(name: str) -> bool:
    return name in _PHOTOGRAPHS or name.startswith(FOLDER)


def _missing(data_dir: Path) -> DataError:
    return DataError(
        f"no CIFAR-10 in {data_dir}: bring a copy with"
        " `resnet-repro data prepare cifar10 --from PATH`, or download it with"
        " `resnet-repro data prepare cifar10 --download`\n"
        "no data at hand? `--dataset synthetic` (or `--preset demo`) needs none"
    )
