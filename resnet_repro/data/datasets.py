"""The table of data sets, and opening, preparing, checking and listing them by name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from resnet_repro.base.errors import ConfigError
from resnet_repro.data.boxes.boxes import BoxDataset
from resnet_repro.data.boxes.coco import Coco
from resnet_repro.data.boxes.folder import BoxReader
from resnet_repro.data.boxes.scenes import SCENES
from resnet_repro.data.boxes.voc import year_folders
from resnet_repro.data.boxes.voc_sources import DEVKIT, OwnVoc, Voc
from resnet_repro.data.cifar.known import CIFAR_10, CIFAR_100
from resnet_repro.data.cifar.reader import CifarReader
from resnet_repro.data.dataset import Dataset, DatasetStatus, Notify, PrepareRequest
from resnet_repro.data.folders import FolderReader
from resnet_repro.data.generated import GeneratedReader
from resnet_repro.data.photos.imagenet import ImageNet
from resnet_repro.data.photos.imagenette import FOLDERS, Imagenette
from resnet_repro.data.photos.photos import PhotoDataset
from resnet_repro.data.photos.preparing import PhotoReader
from resnet_repro.data.photos.source import PhotoSource
from resnet_repro.data.synthetic import SYNTHETIC
from resnet_repro.spec.dataset_names import parse_dataset

__all__ = [
    "BOX_READERS",
    "READERS",
    "describe",
    "known_test_images",
    "load",
    "load_boxes",
    "prepare",
    "verify",
]

_log = logging.getLogger(__name__)
_NO_FOLDERS: Mapping[str, Path] = {}


Loaded = TypeVar("Loaded", covariant=True)


class Reader(Protocol[Loaded]):
    """Opens, prepares, checks and describes one data set."""

    def load(self, data_dir: Path) -> Loaded:
        """Open it. Raises DataError if there is nothing to open."""

    def prepare(self, data_dir: Path, request: PrepareRequest) -> Loaded:
        """Put it into `data_dir`. Raises ConfigError and DataError as `prepare` does."""

    def verify(self, data_dir: Path, progress: Notify) -> Loaded:
        """Open it and check every byte. Raises DataError if it is missing or damaged."""

    def describe(self, data_dir: Path) -> DatasetStatus:
        """Its status, without opening it; raises nothing."""


READERS: dict[str, Reader[Dataset | PhotoDataset]] = {
    "cifar10": CifarReader(CIFAR_10),
    "cifar100": CifarReader(CIFAR_100),
    "imagenet": PhotoReader(ImageNet()),
    "imagenette": PhotoReader(Imagenette()),
    "synthetic": SYNTHETIC,
}
BOX_READERS: dict[str, Reader[BoxDataset]] = {
    "scenes": SCENES,
    "voc07": BoxReader(Voc("voc07", ("VOC2007 trainval",), ("VOC2007 test",))),
    "voc07+12": BoxReader(
        Voc("voc07+12", ("VOC2007 trainval", "VOC2012 trainval"), ("VOC2007 test",))
    ),
    "voc07++12": BoxReader(
        Voc("voc07++12", ("VOC2007 trainval", "VOC2007 test", "VOC2012 trainval"), ())
    ),
    "voc12": BoxReader(Voc("voc12", ("VOC2012 train",), ("VOC2012 val",))),
    "coco": BoxReader(Coco("coco", 2014, (82_783, 40_504))),
    "coco2017": BoxReader(Coco("coco2017", 2017, (118_287, 5_000))),
}
# Folders of other data sets.
_NOT_FOLDERS = frozenset({"cifar10", "cifar100", "imagenet", DEVKIT, *FOLDERS})


def load(
    name: str, data_dir: Path, folders: Mapping[str, Path] = _NO_FOLDERS
) -> Dataset | PhotoDataset:
    """Open the prepared data set `name`, or prepare it if `data_dir` holds a copy of it.

    `folder:NAME` is the folder `folders[NAME]` if that exists, otherwise NAME in `data_dir`.

    Raises:
        ConfigError: the name is unknown, or of a data set with boxes instead of classes.
        DataError: there is nothing to load.
    """
    reader = _class_reader(name, folders)
    if reader is None:
        raise ConfigError(f"{name} has images with boxes, for detection: see `load_boxes`")
    return reader.load(data_dir)


def load_boxes(name: str, data_dir: Path, folders: Mapping[str, Path] = _NO_FOLDERS) -> BoxDataset:
    """`load` for a data set of images with boxes."""
    reader = _box_reader(name, folders)
    if reader is None:
        raise ConfigError(f"{name} has no boxes: {', '.join(BOX_READERS)} and voc:PATH have them")
    return reader.load(data_dir)


def prepare(
    name: str,
    data_dir: Path,
    source: Path | None = None,
    *,
    download: bool = False,
    size: str = "160",
    folders: Mapping[str, Path] = _NO_FOLDERS,
    progress: Notify = _log.info,
) -> Dataset | PhotoDataset | BoxDataset:
    """Put a copy of the data set, in any form, into `data_dir`, and check it.

    The copy is at `source`, on the network (`download`), or in `data_dir`. CIFAR-10 and 100 get a
    verified cache; without `source` and `download`, an intact one stays. Photographs stay in their
    files: their folder is linked to and scanned.

    Args:
        name: of the data set.
        data_dir: the data folder.
        source: the user's copy.
        download: fetch the official copy.
        size: of the Imagenette to download.
        folders: NAME -> folder of `folder:NAME`.
        progress: gets messages.

    Raises:
        ConfigError: the name is unknown, or the options contradict each other.
        DataError: there is no usable copy.
    """
    reader = _reader(name, folders)
    if source is not None and download and not isinstance(reader, GeneratedReader):
        raise ConfigError("either bring a copy or download one, not both")
    return reader.prepare(data_dir, PrepareRequest(source, download, size, progress))


def verify(
    name: str,
    data_dir: Path,
    folders: Mapping[str, Path] = _NO_FOLDERS,
    *,
    progress: Notify = _log.info,
) -> Dataset | PhotoDataset | BoxDataset:
    """Open the prepared data set and compare every byte with its checksums; decode photographs.

    Raises ConfigError if the name is unknown, DataError if the data are missing or damaged.
    """
    return _reader(name, folders).verify(data_dir, progress)


def describe(data_dir: Path) -> list[DatasetStatus]:
    """The status of every data set in `data_dir`, without opening it; raises nothing."""
    *known, synthetic = READERS.values()
    photos, boxes = (
        [_reader(f"{kind}:{name}", _NO_FOLDERS) for name in _found_folders(data_dir, kind, holds)]
        for kind, holds in (("folder", lambda path: (path / "val").is_dir()), ("voc", year_folders))
    )
    readers = (*known, *photos, synthetic, *BOX_READERS.values(), *boxes)
    return [reader.describe(data_dir) for reader in readers]


def known_test_images(
    names: Iterable[str], data_dir: Path, folders: Mapping[str, Path] = _NO_FOLDERS
) -> dict[str, int]:
    """The numbers of test images of those folders of the user's that were scanned before."""
    found = {}
    for name in names:
        reader = _reader(name, folders)
        images = reader.test_images(data_dir) if isinstance(reader, FolderReader) else None
        if images is not None:
            found[name] = images
    return found


def _reader(
    name: str, folders: Mapping[str, Path]
) -> Reader[Dataset | PhotoDataset] | Reader[BoxDataset]:
    reader = _class_reader(name, folders) or _box_reader(name, folders)
    assert reader is not None  # `parse_dataset` knows it
    return reader


def _class_reader(name: str, folders: Mapping[str, Path]) -> Reader[Dataset | PhotoDataset] | None:
    """The reader of a data set whose images have a class each; None if they have boxes."""
    short = parse_dataset(name).removeprefix("folder:")
    if name.startswith("folder:"):
        return PhotoReader(PhotoSource(name, folders.get(short)))
    return READERS.get(name)


def _box_reader(name: str, folders: Mapping[str, Path]) -> Reader[BoxDataset] | None:
    """The reader of a data set whose images have boxes; None if they have a class each."""
    if parse_dataset(name).startswith("voc:"):
        return BoxReader(OwnVoc(name, folders.get(name.removeprefix("voc:"))))
    return BOX_READERS.get(name)


def _found_folders(data_dir: Path, kind: str, holds: Callable[[Path], object]) -> list[str]:
    """Names NAME of folders in `data_dir` that `folder:NAME` or `voc:NAME` would find.

    Raises nothing.
    """
    try:
        return sorted(
            path.name
            for path in data_dir.iterdir()
            if path.name not in _NOT_FOLDERS and _is_name(f"{kind}:{path.name}") and holds(path)
        )
    except OSError:
        return []


def _is_name(text: str) -> bool:
    """Whether `text` is a valid name of a data set, unlike those of hidden folders."""
    try:
        parse_dataset(text)
    except ConfigError:
        return False
    return True
