"""CIFAR-10 or 100, or as many classes, as a folder of images: train/<class>/*, test/<class>/*."""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from resnet_repro.base.errors import DataError
from resnet_repro.data.cifar.known import KnownCifar
from resnet_repro.data.dataset import Contents, Images, Source, SourceFile
from resnet_repro.data.layout import in_order, of_system

__all__ = ["read_image_folder"]

MAX_IMAGES = 200_000
MAX_FILE_BYTES = 2**20  # of one 32x32 image; the pixels are 3 KB
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
_DEEP_MODES = ("I", "F")  # more than 8 bits a pixel; also "I;16" and the like


def read_image_folder(known: KnownCifar, folder: Path) -> Source:
    """Read PNG or JPEG files of 32x32 pixels, ordered by class, then by file name.

    Classes with the names or numbers of the data set get its labels; equally many other classes are
    numbered in the order of their names or numbers. Classes may have any number of images. Grey and
    palette images become RGB, an alpha channel is dropped (not composed), 16 bits are reduced to
    the upper 8. Without an official order or checksum, such data are always unofficial.

    Raises DataError, naming the file, if one is not such an image.
    """
    classes = _class_folders(known, folder / "train")
    if _class_folders(known, folder / "test").keys() != classes.keys():
        raise DataError(f"train and test in {folder} do not have the same classes")
    arrays, files = [], []
    for part in ("train", "test"):
        part_files: list[list[Path]] = []
        for name in classes.values():
            part_files.append(_image_files(folder / part / name))
        if sum(map(len, part_files)) > MAX_IMAGES:
            raise DataError(f"{folder / part} holds more than {MAX_IMAGES:,} images")
        labels = np.repeat(np.arange(len(classes)), list(map(len, part_files)))
        images = np.empty((len(labels), 3, 32, 32), np.uint8)
        done = 0
        for name, paths in zip(classes.values(), part_files, strict=True):
            file = _read_class(f"{part}/{name}", paths, images[done : done + len(paths)])
            files.append(file)
            done += len(paths)
        arrays += [images, labels.astype(np.uint8)]
    contents = Contents(*arrays)
    note = (
        f"unofficial copy: {len(contents.train_images):,} training and"
        f" {len(contents.test_images):,} test images from single files, which cannot be checked"
        " against the official archive"
    )
    if tuple(classes) != known.classes:
        note += f"; the classes are not those of {known.title}"
    return Source(
        kind="image folder",
        contents=contents,
        classes=tuple(classes),
        files=tuple(files),
        official=False,
        note=note,
    )


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


def _read_class(name: str, paths: list[Path], images: Images) -> SourceFile:
    """Read `paths` into `images` [N, 3, 32, 32]; returns the folder's size and checksum."""
    digest, size = hashlib.sha256(), 0
    for index, path in enumerate(paths):
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DataError(f"{path} is too large for an image of 32x32 pixels")
        data = path.read_bytes()
        images[index] = _decode(path, data)
        digest.update(data)
        size += len(data)
    return SourceFile(name, size, digest.hexdigest())


def _decode(path: Path, data: bytes) -> Images:
    """Decode the image [3, 32, 32] in `data`; `path` is for messages."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=("PNG", "JPEG")) as image:
                if image.size != (32, 32):  # known from the header, before anything is decoded
                    width, height = image.size
                    raise DataError(f"{path} has {width}x{height} pixels instead of 32x32")
                if image.mode.startswith(_DEEP_MODES):
                    raise DataError(f"{path} has more than 8 bits a pixel; convert it to 8 bits")
                return np.asarray(image.convert("RGB"), np.uint8).transpose(2, 0, 1)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(f"{path} has far more than 32x32 pixels") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path} is not a readable PNG or JPEG image") from error
