"""The classes of photographs that are not in class folders."""

from __future__ import annotations

import csv
import io
import re
import struct
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from resnet_repro.base.errors import DataError, plain
from resnet_repro.base.files import read_regular
from resnet_repro.data.archives import unpack_archive

__all__ = ["ANNOTATIONS", "DEVKIT", "SOLUTION", "classes_of"]

DEVKIT = "ILSVRC2012_devkit_t12"  # the official development kit
SOLUTION = "LOC_val_solution.csv"  # Kaggle's
ANNOTATIONS = "val_annotations.txt"  # Tiny ImageNet's
_LABELS = ("ILSVRC2012_validation_ground_truth.txt", "meta.mat")  # in the development kit
_MAX_TEXT = 2**26  # bytes of one of these files; the largest has 2 MB
_COMPRESSED = 15  # type of an element of a MATLAB file, version 5
_MAX_DEVKIT = 2**28  # bytes of its archive, unpacked; it has 6 MB
# n01440764_10026 as in ImageNet's archives, or with the class at the end as in Hugging Face's
_NAMED = re.compile(r"(?:.*_)?(n\d{8})(?:_\d+)?", re.ASCII)

Truth = dict[str, str]  # file name without suffix, in lower case -> class


class Told(NamedTuple):
    """What is known of the photographs of a part without class folders."""

    classes: list[str]  # of each photograph
    known: set[str]  # all classes
    read: list[Path]  # the files that tell them; none if the photographs' names do


def classes_of(root: Path, part: str, files: list[str]) -> Told | None:
    """The classes of a part's files; None if there is no ground truth.

    Classes come from the files' names, or for val from Tiny ImageNet's val/val_annotations.txt, the
    development kit (or its .tar.gz) or Kaggle's LOC_val_solution.csv, in `root` or a folder above.

    Raises:
        DataError: such a file is damaged, or does not contain one of `files`.
    """
    stems = [file.rpartition("/")[2].rpartition(".")[0] for file in files]
    named = [match[1] for match in map(_NAMED.fullmatch, stems) if match]
    if len(named) == len(files):
        return Told(named, set(named), [])
    if part != "val":
        return None
    places = dict.fromkeys([root, root.parent, *root.resolve().parents[:3]])
    for place in places:
        for read, name in _READERS.items():
            path = place / name
            truth = read(path)
            if truth is None:
                continue
            for stem, file in zip(stems, files, strict=True):
                if stem.lower() not in truth:
                    raise DataError(f"{name} does not say the class of {plain(file, 80)}")
            files_read = [path / "data" / label for label in _LABELS] if path.is_dir() else [path]
            return Told([truth[stem.lower()] for stem in stems], set(truth.values()), files_read)
    return None


def _from_annotations(path: Path) -> Truth | None:
    if not path.is_file():
        return None
    try:
        lines = _bounded(path).decode("utf-8-sig").splitlines()
        rows = [line.split("\t") for line in lines if line.strip()]
        return {row[0].rpartition(".")[0].lower(): row[1].strip() for row in rows}
    except (UnicodeDecodeError, IndexError):
        raise DataError(f"{path} is damaged: expected a file's name, a tab and a class") from None


def _from_devkit(path: Path) -> Truth | None:
    folder = path / "data"
    return _numbered(*(_bounded(folder / name) for name in _LABELS)) if folder.is_dir() else None


def _from_packed_devkit(path: Path) -> Truth | None:
    if not path.is_file():
        return None
    try:
        with TemporaryDirectory() as scratch:
            unpack_archive(path, Path(scratch), _MAX_DEVKIT)
            kit = Path(scratch) / DEVKIT
            if missing := [name for name in _LABELS if not (kit / "data" / name).is_file()]:
                raise DataError(f"{path} is damaged: it has no {DEVKIT}/data/{missing[0]}")
            return _from_devkit(kit)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def _from_solution(path: Path) -> Truth | None:
    if not path.is_file():
        return None
    try:
        rows = csv.DictReader(io.StringIO(_bounded(path).decode("utf-8-sig")))
        return {row["ImageId"].lower(): row["PredictionString"].split()[0] for row in rows}
    except (UnicodeDecodeError, csv.Error, KeyError, IndexError, AttributeError):
        raise DataError(
            f"{path} is not Kaggle's: expected columns ImageId and PredictionString"
        ) from None


_READERS = {
    _from_annotations: f"val/{ANNOTATIONS}",
    _from_devkit: DEVKIT,
    _from_packed_devkit: f"{DEVKIT}.tar.gz",
    _from_solution: SOLUTION,
}


def _bounded(path: Path) -> bytes:
    try:
        return read_regular(path, _MAX_TEXT)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def _numbered(lines: bytes, meta: bytes) -> Truth:
    """The wnid of each validation image, from the development kit's two files."""
    from scipy.io import loadmat  # slow to import, so only when needed

    try:
        _check_unpacked_size(meta)
        synsets: Any = loadmat(io.BytesIO(meta), squeeze_me=True)["synsets"]
        wnid_of = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets}
        return {
            f"ilsvrc2012_val_{number:08d}": wnid_of[int(line)]
            for number, line in enumerate(lines.split(), start=1)
        }
    except Exception as error:  # a damaged .mat file can raise nearly anything
        reason = plain(str(error), 100) or type(error).__name__
        raise DataError(f"the ground truth in {DEVKIT} is damaged: {reason}") from error


def _check_unpacked_size(meta: bytes) -> None:
    """Raise ValueError when a MATLAB file's compressed elements are larger than makes sense."""
    order = "<" if meta[126:128] == b"IM" else ">"
    position, left = 128, _MAX_TEXT  # behind the header
    while position + 8 <= len(meta):
        kind, size = struct.unpack_from(f"{order}II", meta, position)
        position += 8
        if kind == _COMPRESSED:
            packed = meta[position : position + size]
            left -= len(zlib.decompressobj().decompress(packed, left + 1))
        if left < 0:
            raise ValueError(f"it unpacks to more than {_MAX_TEXT:,} bytes")
        position += size
