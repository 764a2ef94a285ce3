"""ImageNet (ILSVRC 2012): finding it in its usual layouts, and unpacking it.

Nobody may pass it on, so users bring it: folders, Kaggle's folders, or the official tar files.
"""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path

import filelock

from resnet_repro.base.errors import DataError, plain
from resnet_repro.data.layout import has_parts
from resnet_repro.data.photos.ground_truth import DEVKIT

__all__ = ["find_folder", "find_tars", "unpacked"]

_KAGGLE = ("", "CLS-LOC", "Data/CLS-LOC", "ILSVRC/Data/CLS-LOC")  # from below, and one above
_TRAIN, _VAL, _DEVKIT = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", f"{DEVKIT}.tar.gz"
_STAGING = ".imagenet-unpacking"


def find_folder(folder: Path) -> Path | None:
    """The folder with train and val: `folder` itself, or where Kaggle's archive has them."""
    places = chain((folder / place for place in _KAGGLE), _sorted(folder, f"*/{_KAGGLE[-1]}"))
    return next(filter(has_parts, places), None)


def _sorted(folder: Path, pattern: str) -> Iterator[Path]:
    yield from sorted(folder.glob(pattern))


def find_tars(folder: Path) -> list[str]:
    """The official tar files in `folder` that want unpacking: all three, or some and no folders."""
    found = [name for name in (_TRAIN, _VAL, _DEVKIT) if (folder / name).is_file()]
    alone = found not in ([], [_DEVKIT]) and find_folder(folder) is None
    return found if len(found) == 3 or alone else []


@contextmanager
def unpacked(source: Path, data_dir: Path, progress: Callable[[str], None]) -> Iterator[Path]:
    """Check and unpack the official tar files in `source`, without train's if that is not there.

    torchvision does both. Yields a folder in `data_dir` with train and val, which is removed in
    the end unless it has been moved away. Raises DataError when a file is missing or not the
    official one, and OSError when the disk is full.
    """
    found = find_tars(source)
    missing = [name for name in (_VAL, _DEVKIT) if name not in found]
    if missing:
        raise DataError(
            f"{source} has {' and '.join(found)} but not {' and '.join(missing)}: ImageNet comes in"
            " three files, of which the development kit (devkit) tells the classes; put it beside"
        )
    staging = data_dir / _STAGING
    try:
        with filelock.FileLock(staging.with_suffix(".lock"), timeout=0):
            shutil.rmtree(staging, ignore_errors=True)  # of a process that was killed
            try:
                yield _unpack(source, found, staging, progress)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except filelock.Timeout:
        raise DataError(f"another process is unpacking ImageNet into {data_dir}") from None


def _unpack(source: Path, tars: list[str], staging: Path, progress: Callable[[str], None]) -> Path:
    from torchvision.datasets import imagenet as torchvision_imagenet  # slow to import

    whole = staging / "imagenet"
    whole.mkdir(parents=True)
    for name in tars:
        (staging / name).symlink_to((source / name).resolve())
    try:
        for name, part, parse in (
            (_DEVKIT, None, torchvision_imagenet.parse_devkit_archive),
            (_VAL, "val", torchvision_imagenet.parse_val_archive),
            (_TRAIN, "train", torchvision_imagenet.parse_train_archive),
        ):
            if name in tars:
                size = (source / name).stat().st_size
                progress(f"checking and unpacking {name} ({size / 1e9:.1f} GB)")
                parse(staging)
                if part:
                    (staging / part).rename(whole / part)
    except (RuntimeError, tarfile.TarError, EOFError) as error:
        raise DataError(f"ImageNet's tar files: {plain(str(error), 300)}") from error
    return whole
