"""ImageNet (ILSVRC 2012): finding it in its usual layouts, and unpacking it.

It may not be redistributed, so users bring it: folders, Kaggle's folders or the official tar files.
"""

from __future__ import annotations

import logging
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resnet_repro.base.errors import DataError, plain
from resnet_repro.base.files import locked
from resnet_repro.data.dataset import PrepareRequest
from resnet_repro.data.folder_reader import Copy
from resnet_repro.data.layout import has_parts
from resnet_repro.data.photos.ground_truth import DEVKIT
from resnet_repro.data.photos.reader import PhotoReader, moved_in
from resnet_repro.data.scratch import refuse_occupied, remove_left_over, scratch_folder

__all__ = ["ImageNet"]

_log = logging.getLogger(__name__)

_KAGGLE = ("", "CLS-LOC", "Data/CLS-LOC", "ILSVRC/Data/CLS-LOC")  # where train and val may be
_TRAIN, _VAL, _DEVKIT = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", f"{DEVKIT}.tar.gz"
_UNPACKING = ".imagenet-unpacking"


class ImageNet(PhotoReader):
    """ImageNet in the table of data sets."""

    description = (
        "ImageNet (ILSVRC 2012): 1,281,167 training and 50,000 validation photographs in"
        " 1,000 classes"
    )

    def find(self, data_dir: Path) -> Path | None:
        return _find_folder(data_dir / "imagenet")

    def find_packed(self, place: Path) -> Path | None:
        return next(filter(_find_tars, (place / "imagenet", place)), None)

    def locate(self, copy: Path) -> Path:
        return _find_folder(copy) or copy

    @contextmanager
    def unpacked(
        self, packed: list[Path], data_dir: Path, request: PrepareRequest
    ) -> Iterator[Copy]:
        """Check and unpack the official tar files with torchvision; train's may be missing.

        Raises:
            DataError: a file is missing or not the official one.
            OSError: the disk is full.
        """
        data_dir.mkdir(parents=True, exist_ok=True)
        (source,) = packed
        found = _find_tars(source)
        missing = [name for name in (_VAL, _DEVKIT) if name not in found]
        if missing:
            raise DataError(
                f"{source} has {' and '.join(found)} but not {' and '.join(missing)}: ImageNet"
                " comes in three files, of which the development kit (devkit) tells the classes;"
                " put it beside"
            )
        target = data_dir / "imagenet"
        # On the disk where it will be, which a link, or a disk of its own, makes another one.
        place = target if target.is_dir() else data_dir
        with locked(data_dir / f"{_UNPACKING}.lock", 0) as free:
            if not free:
                raise DataError(f"another process is unpacking ImageNet into {data_dir}")
            remove_left_over(place)
            shutil.rmtree(place / _UNPACKING, ignore_errors=True)  # of an earlier version, killed
            if target.resolve() != source.resolve() or has_parts(target):
                refuse_occupied(target, usable=has_parts(target))  # before hours of unpacking
            # In a folder of its own: where files cannot be locked, two may unpack at once.
            with scratch_folder(place, "unpacked") as staging:
                folder = _unpack(source, found, staging)
                yield moved_in(folder, True, data_dir)


def _find_folder(folder: Path) -> Path | None:
    """The folder with train and val: `folder` itself, or one as in Kaggle's archive."""
    known = [folder / place for place in _KAGGLE]
    return next(filter(has_parts, [*known, *sorted(folder.glob(f"*/{_KAGGLE[-1]}"))]), None)


def _find_tars(folder: Path) -> list[str]:
    """The official tar files in `folder` to unpack: all three, or some and no folders."""
    found = [name for name in (_TRAIN, _VAL, _DEVKIT) if (folder / name).is_file()]
    alone = found not in ([], [_DEVKIT]) and _find_folder(folder) is None
    return found if len(found) == 3 or alone else []


def _unpack(source: Path, tars: list[str], staging: Path) -> Path:
    from torchvision.datasets import imagenet as torchvision_imagenet  # slow to import

    whole = staging / "imagenet"
    whole.mkdir()
    for name in tars:
        (staging / name).symlink_to((source / name).resolve())
    for name, part, parse in (
        (_DEVKIT, None, torchvision_imagenet.parse_devkit_archive),
        (_VAL, "val", torchvision_imagenet.parse_val_archive),
        (_TRAIN, "train", torchvision_imagenet.parse_train_archive),
    ):
        if name not in tars:
            continue
        size = (source / name).stat().st_size
        _log.info(f"checking and unpacking {name} ({size / 1e9:.1f} GB)")
        try:
            parse(staging)
        except RuntimeError as error:  # whose advice names the folder with the links
            raise DataError(f"{name} in {source} is not the official archive (MD5)") from error
        except (tarfile.TarError, EOFError) as error:
            raise DataError(f"{name} in {source}: {plain(str(error), 300)}") from error
        if part:
            (staging / part).rename(whole / part)
    return whole
