"""CIFAR-10 or 100, or as many classes, as a folder of images: train/<class>/*, test/<class>/*."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from resnet_repro.base.errors import DataError
from resnet_repro.data.cifar.known import KnownCifar
from resnet_repro.data.dataset import Contents, Dataset, Identity, Images
from resnet_repro.data.layout import in_order, of_system
from resnet_repro.data.photos.decoding import open_photo, read_size

__all__ = ["read_image_folder"]

MAX_IMAGES = 200_000
MAX_FILE_BYTES = 2**20  # of one 32x32 image; the pixels are 3 KB
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})


def read_image_folder(known: KnownCifar, folder: Path) -> Dataset:
    """Read PNG or JPEG files of 32x32 pixels, ordered by class, then by file name.

    Classes with the names or numbers of the data set get its labels; equally many other classes are
    numbered in the order of their names or numbers. Classes may have any number of images. Grey and
    palette images become RGB, an alpha channel is dropped (not composed), 16 bits are reduced to
    the upper 8. Without an official order or checksum, such data are always unofficial.

    Raises DataError, naming the file, if one is not such an image.
    """
    folders = {part: _class_folders(known, folder / part) for part in ("train", "test")}
    classes = tuple(folders["train"])
    if folders["test"].keys() != set(classes):
        raise DataError(f"train and test in {folder} do not have the same classes")
    arrays = []
    for part, names in folders.items():
        paths = [_image_files(folder / part / names[name]) for name in classes]
        counts = [len(some) for some in paths]
        if sum(counts) > MAX_IMAGES:
            raise DataError(f"{folder / part} holds more than {MAX_IMAGES:,} images")
        images = np.empty((sum(counts), 3, 32, 32), np.uint8)
        for index, path in enumerate(path for some in paths for path in some):
            images[index] = _read_image(path)
        arrays += [images, np.repeat(np.arange(len(classes), dtype=np.uint8), counts)]
    contents = Contents(*arrays)
    note = (
        f"unofficial copy: {len(contents.train_images):,} training and"
        f" {len(contents.test_images):,} test images from single files, which cannot be checked"
        " against the official archive"
    )
    if classes != known.classes:
        note += f"; the classes are not those of {known.title}"
    identity = Identity(known.name, False, contents.sha256(), "image folder", note)
    return Dataset.of(identity, classes, contents)


def _class_folders(known: KnownCifar, part: Path) -> dict[str, str]:
    """Class name -> name of its folder in `part`, in label order."""
    if not part.is_dir():
        raise DataError(f"{part} is missing: images belong in train/<class>/ and test/<class>/")
    names = in_order(
        path.name for path in part.iterdir() if path.is_dir() and not of_system(path.name)
    )
    needed = len(known.classes)
    if len(names) != needed:
        raise DataError(f"{part} has {len(names)} class folders; {known.title} needs {needed}")
    if set(names) == set(map(str, range(needed))):
        return dict(zip(known.classes, names, strict=True))
    by_lower_case = {name.lower(): name for name in names}
    if by_lower_case.keys() == set(known.classes):
        return {name: by_lower_case[name] for name in known.classes}
    return {name: name for name in names}


def _image_files(folder: Path) -> list[Path]:
    paths = sorted(path for path in folder.iterdir() if not of_system(path.name))
    for path in paths:
        if path.suffix.lower() not in _SUFFIXES or not path.is_file():
            raise DataError(f"{path} is neither a PNG nor a JPEG file")
    if not paths:
        raise DataError(f"{folder} has no images")
    return paths


def _read_image(path: Path) -> Images:
    """The pixels [3, 32, 32]."""
    if path.stat().st_size > MAX_FILE_BYTES:
        raise DataError(f"{path} is too large for an image of 32x32 pixels")
    width, height = read_size(path, str(path), turned=False)
    if (width, height) != (32, 32):  # known from the header, before anything is decoded
        raise DataError(f"{path} has {width}x{height} pixels instead of 32x32")
    return np.asarray(open_photo(path, str(path), turned=False)).transpose(2, 0, 1)
