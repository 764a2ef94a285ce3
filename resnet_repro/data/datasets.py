"""The table of data sets, and opening, preparing, checking and listing them by name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from resnet_repro.base.errors import ConfigError
from resnet_repro.data.boxes.boxes import BoxDataset
from resnet_repro.data.boxes.coco import Coco
from resnet_repro.data.boxes.scenes import SCENES
from resnet_repro.data.boxes.voc import year_folders
from resnet_repro.data.boxes.voc_sources import DEVKIT, OwnVoc, Voc
from resnet_repro.data.cifar.known import CIFAR_10, CIFAR_100
from resnet_repro.data.cifar.reader import CifarReader
from resnet_repro.data.dataset import Dataset, DatasetStatus, PrepareRequest
from resnet_repro.data.folder_reader import FolderReader
from resnet_repro.data.generated import GeneratedReader
from resnet_repro.data.layout import is_folder
from resnet_repro.data.photos.imagenet import ImageNet
from resnet_repro.data.photos.imagenette import FOLDERS, Imagenette
from resnet_repro.data.photos.photos import PhotoDataset
from resnet_repro.data.photos.reader import PhotoReader
from resnet_repro.data.scratch import remove_left_over
from resnet_repro.data.synthetic import SYNTHETIC
from resnet_repro.spec.dataset_names import parse_dataset

__all__ = [
    "READERS",
    "describe",
    "known_test_images",
    "load",
    "prepare",
    "verify",
]

AnyDataset = Dataset | PhotoDataset | BoxDataset
# Opens, prepares, checks and describes one of them.
Reader = CifarReader | GeneratedReader | FolderReader[Any, Any]

_log = logging.getLogger(__name__)
_NO_FOLDERS: Mapping[str, Path] = {}

READERS: dict[str, Reader] = {
    "cifar10": CifarReader(CIFAR_10),
    "cifar100": CifarReader(CIFAR_100),
    "imagenet": ImageNet("imagenet"),
    "imagenette": Imagenette("imagenette"),
    "synthetic": SYNTHETIC,
    # Those of `BOXES` have boxes instead of a class for each image.
    "scenes": SCENES,
    "voc07": Voc("voc07", ("VOC2007 trainval",), ("VOC2007 test",)),
    "voc07+12": Voc("voc07+12", ("VOC2007 trainval", "VOC2012 trainval"), ("VOC2007 test",)),
    "voc07++12": Voc("voc07++12", ("VOC2007 trainval", "VOC2007 test", "VOC2012 trainval"), ()),
    "voc12": Voc("voc12", ("VOC2012 train",), ("VOC2012 val",)),
    "coco": Coco("coco", 2014),
    "coco2017": Coco("coco2017", 2017),
}
# Folders of other data sets.
_NOT_FOLDERS = frozenset({*READERS, DEVKIT, *FOLDERS})


def load(
    name: str,
    data_dir: Path,
    folders: Mapping[str, Path] = _NO_FOLDERS,
    *,
    should_stop: Callable[[], bool] = lambda: False,
) -> AnyDataset:
    """Open the prepared data set `name`, or prepare it if `data_dir` holds a copy of it.

    `folder:NAME` and `voc:NAME` are the folder `folders[NAME]` where one is given, else NAME in
    `data_dir`.

    Raises:
        ConfigError: the name is unknown.
        DataError: there is nothing to load.
        Stopped: `should_stop`, asked while a folder is looked through for the first time, said so.
    """
    return _reader(name, folders).load(data_dir, should_stop)


def prepare(
    name: str,
    data_dir: Path,
    source: Path | None = None,
    *,
    download: bool = False,
    size: str | None = None,
    folders: Mapping[str, Path] = _NO_FOLDERS,
) -> AnyDataset:
    """Put a copy of the data set, in any form, into `data_dir`, and check it.

    The copy is at `source`, on the network (`download`), or in `data_dir`. CIFAR-10 and 100 get a
    verified cache; without `source` and `download`, an intact one stays. Photographs stay in their
    files: their folder is linked to and scanned. What killed preparations left behind is removed.

    Args:
        name: of the data set.
        data_dir: the data folder.
        source: the user's copy.
        download: fetch the official copy.
        size: of the Imagenette to download: 160, the default, 320 or full.
        folders: NAME -> folder of `folder:NAME` or `voc:NAME`.

    Raises:
        ConfigError: the name is unknown, or the options contradict each other.
        DataError: there is no usable copy.
    """
    reader = _reader(name, folders)
    if source is not None and download and not isinstance(reader, GeneratedReader):
        raise ConfigError("either bring a copy or download one, not both")
    if size is not None and not (download and isinstance(reader, Imagenette)):
        raise ConfigError("--size is of the Imagenette to fetch: only imagenette --download has it")
    remove_left_over(data_dir)
    return reader.prepare(data_dir, PrepareRequest(source, download, size or "160"))


def verify(
    name: str,
    data_dir: Path,
    folders: Mapping[str, Path] = _NO_FOLDERS,
) -> AnyDataset:
    """Open the prepared data set and compare every byte with its checksums; decode photographs.

    Raises ConfigError if the name is unknown, DataError if the data are missing or damaged.
    """
    return _reader(name, folders).verify(data_dir)


def describe(data_dir: Path) -> list[DatasetStatus]:
    """The status of every data set in `data_dir`, without opening it; raises nothing."""
    photos = _found_folders(data_dir, "folder", lambda path: is_folder(path / "val"))
    boxes = _found_folders(data_dir, "voc", year_folders)
    names = [*READERS, *boxes]
    at = names.index("synthetic")
    names[at:at] = photos
    return [_reader(name, _NO_FOLDERS).describe(data_dir) for name in names]


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


def _reader(name: str, folders: Mapping[str, Path]) -> Reader:
    kind, _, short = parse_dataset(name).partition(":")
    if kind == "folder":
        return PhotoReader(name, folders.get(short))
    if kind == "voc":
        return OwnVoc(name, folders.get(short))
    return READERS[name]


def _found_folders(data_dir: Path, kind: str, holds: Callable[[Path], object]) -> list[str]:
    """Names of data sets, `folder:NAME` or `voc:NAME`, whose folders are in `data_dir`.

    Raises nothing.
    """
    try:
        return sorted(
            f"{kind}:{path.name}"
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
