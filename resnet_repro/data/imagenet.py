"""ImageNet (ILSVRC 2012): finding it in its usual layouts, and the ground truth of a flat val.

Nobody may pass it on, so users bring it: folders, Kaggle's folders, or the official tar files.
"""

from __future__ import annotations

import csv
import io
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock

from resnet_repro.data.archives import read_members
from resnet_repro.errors import DataError, plain
from resnet_repro.files import read_regular

__all__ = ["find_folder", "find_tars", "ground_truth", "unpack_tars"]

KAGGLE = "ILSVRC/Data/CLS-LOC"
DEVKIT = "ILSVRC2012_devkit_t12"
_SOLUTION = "LOC_val_solution.csv"
_TARS = ("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar", f"{DEVKIT}.tar.gz")
_VAL_FILE = re.compile(r"ILSVRC2012_val_(\d{8})\.jpe?g", re.IGNORECASE | re.ASCII)
_DEVKIT_FILES = ("ILSVRC2012_validation_ground_truth.txt", "meta.mat")
_MAX_TEXT = 2**26  # bytes of a file of the ground truth; the largest has 2 MB
_MAX_DEVKIT = 2**28  # bytes of its archive, unpacked; it has 6 MB
_STAGING = ".imagenet-unpacking"


def find_folder(folder: Path) -> Path | None:
    """The folder with train and val: `folder` itself, or where Kaggle's archive has them."""
    candidates = (folder, folder / KAGGLE)
    return next((path for path in candidates if (path / "train").is_dir()), None)


def find_tars(folder: Path) -> bool:
    """Whether the three official tar files lie in `folder`."""
    return all((folder / name).is_file() for name in _TARS)


def ground_truth(root: Path, names: list[str]) -> list[str]:
    """The classes (wnids) of the files of a flat val, as the devkit or Kaggle tells them.

    Looked for in `root`: ILSVRC2012_devkit_t12/ or its .tar.gz, LOC_val_solution.csv; the latter
    also where Kaggle's archive has it. Raises DataError when there is none, or it is damaged or
    silent about a file.
    """
    places = [root]
    if root.resolve().as_posix().endswith(f"/{KAGGLE}"):
        places.append(root.resolve().parents[2])
    for place in places:
        for read in (_from_devkit, _from_packed_devkit, _from_solution):
            found = read(place)
            if found is not None:
                return [_class_of(name, found) for name in names]
    raise DataError(
        f"{root / 'val'} has images but no class folders, and there is no ground truth: put"
        f" {DEVKIT} (or its .tar.gz) or {_SOLUTION} into {root}, or sort into val/<wnid>/"
    )


def unpack_tars(source: Path, target: Path, progress: Callable[[str], None]) -> None:
    """Check and unpack the official tar files in `source` to the folders target/train and val.

    torchvision does both. Nothing is left half done: `target` gets the folders when they are whole.
    Raises DataError when a file is not the official one, and OSError when the disk is full.
    """
    from torchvision.datasets import imagenet as torchvision_imagenet  # slow to import

    staging = target.parent / _STAGING
    try:
        with filelock.FileLock(staging.with_suffix(".lock"), timeout=0):
            shutil.rmtree(staging, ignore_errors=True)  # of a process that was killed
            staging.mkdir()
            try:
                for name in _TARS:
                    (staging / name).symlink_to((source / name).resolve())
                for name, parse in (
                    (_TARS[2], torchvision_imagenet.parse_devkit_archive),
                    (_TARS[1], torchvision_imagenet.parse_val_archive),
                    (_TARS[0], torchvision_imagenet.parse_train_archive),
                ):
                    size = (source / name).stat().st_size
                    progress(f"checking and unpacking {name} ({size / 1e9:.1f} GB)")
                    parse(staging)
                target.mkdir(parents=True, exist_ok=True)
                for part in ("train", "val"):
                    (staging / part).rename(target / part)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    except filelock.Timeout:
        raise DataError(f"another process is unpacking ImageNet into {target}") from None
    except (RuntimeError, tarfile.TarError, EOFError) as error:
        raise DataError(f"ImageNet's tar files: {plain(str(error), 300)}") from error


Truth = dict[str, str] | list[str]  # file name without suffix -> wnid, or wnids by number


def _class_of(name: str, truth: Truth) -> str:
    file = name.rpartition("/")[2]
    if isinstance(truth, dict):
        wnid = truth.get(file.rpartition(".")[0])
        if wnid is None:
            raise DataError(f"{_SOLUTION} does not say the class of val/{plain(file, 80)}")
        return wnid
    match = _VAL_FILE.fullmatch(file)
    if not match or not 1 <= int(match[1]) <= len(truth):
        raise DataError(
            f"the devkit's ground truth is for ILSVRC2012_val_00000001.JPEG to {len(truth):08d};"
            f" it does not say the class of val/{plain(file, 80)}"
        )
    return truth[int(match[1]) - 1]


def _from_devkit(place: Path) -> Truth | None:
    folder = place / DEVKIT / "data"
    if not folder.is_dir():
        return None
    try:
        return _wnids(*(read_regular(folder / name, _MAX_TEXT) for name in _DEVKIT_FILES))
    except OSError as error:
        raise DataError(f"cannot read the devkit in {folder}: {error.strerror}") from error


def _from_packed_devkit(place: Path) -> Truth | None:
    archive = place / f"{DEVKIT}.tar.gz"
    if not archive.is_file():
        return None
    names = [f"{DEVKIT}/data/{name}" for name in _DEVKIT_FILES]
    try:
        contents = read_members(archive, names, _MAX_DEVKIT)
    except OSError as error:
        raise DataError(f"cannot read {archive}: {error.strerror}") from error
    if missing := [name for name in names if name not in contents]:
        raise DataError(f"{archive} is damaged: it has no {missing[0]}")
    return _wnids(*(contents[name] for name in names))


def _from_solution(place: Path) -> Truth | None:
    path = place / _SOLUTION
    if not path.is_file():
        return None
    try:
        text = read_regular(path, _MAX_TEXT).decode()
        rows = csv.DictReader(io.StringIO(text))
        return {row["ImageId"]: row["PredictionString"].split()[0] for row in rows}
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error, KeyError, IndexError, AttributeError):
        raise DataError(
            f"{path} is not Kaggle's: expected columns ImageId and PredictionString"
        ) from None


def _wnids(lines: bytes, meta: bytes) -> list[str]:
    """The wnid of each validation image by number, from the devkit's two files."""
    from scipy.io import loadmat  # slow to import, so only when needed

    try:
        synsets: Any = loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]
        wnid_of = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets}
        return [wnid_of[int(line)] for line in lines.split()]
    except Exception as error:  # a damaged .mat file can raise nearly anything
        reason = plain(str(error), 100) or type(error).__name__
        raise DataError(f"the ground truth in {DEVKIT} is damaged: {reason}") from error
