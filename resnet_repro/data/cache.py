"""The prepared form of CIFAR-10 and 100 on disk: four .npy files and a record of them.

A cache is written into a hidden folder beside it and renamed into place, so it is always complete.
Opening it reads all of it into memory and compares it with the recorded checksums, so training uses
exactly the data of the recorded identity. Labels are uint8 on disk.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import shutil
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, PositiveInt

from resnet_repro.base.errors import DataError
from resnet_repro.base.files import flush_folder, open_regular, read_regular, replacing
from resnet_repro.data.dataset import Contents, Dataset, Identity, Images, prepare_command
from resnet_repro.data.layout import of_system
from resnet_repro.data.scratch import RETIRED, scratch_folder

__all__ = [
    "intact_cache",
    "is_cache",
    "put_back",
    "read_cache",
    "read_record",
    "refuse_other",
    "write_cache",
]

FORMAT = 1
LARGEST_RECORD = 2**24  # bytes; it has up to 5,000
_RECORD = "record.json"
_OWN_SUM = "record_sha256"  # in the record: of everything else in it
_OCCUPIED = {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}  # a rename's target exists
_FILES = frozenset({_RECORD, *(f"{field}.npy" for field in Contents._fields)})


class _Array(BaseModel):
    shape: tuple[PositiveInt, ...]
    sha256: str  # of its bytes


class CacheRecord(BaseModel):
    """The contents of record.json: a description of the arrays beside it."""

    identity: Identity
    classes: tuple[str, ...]
    arrays: dict[str, _Array]  # by field of `Contents`

    @property
    def images(self) -> int:
        """How many images there are, training and test together."""
        return self.arrays["train_labels"].shape[0] + self.arrays["test_labels"].shape[0]


def write_cache(dataset: Dataset, data_dir: Path, *, replace: bool) -> Dataset:
    """Store a data set as the cache `data_dir/NAME`, check it, and return what was read again.

    With `replace` it replaces an earlier cache; otherwise one that another process has written
    meanwhile stays.

    Raises:
        DataError: a folder of that name is not a cache.
        OSError: the disk cannot be written to.
    """
    name = dataset.identity.name
    with scratch_folder(data_dir, name) as staging:
        _write_files(dataset, staging)
        written = read_cache(name, staging)
        _publish(name, staging, data_dir / name, replace=replace)
    return written


def put_back(name: str, data_dir: Path) -> None:
    """Give back its place to a cache that a killed process had moved away, but not yet replaced.

    Links stay away: nothing is lost with one, and it may have been replaced by an earlier version.
    Should that process be alive after all, it moves the cache away once more. Raises nothing.
    """
    with contextlib.suppress(OSError):
        if not (data_dir / name).exists():
            for retired in data_dir.glob(f".{name}-*{RETIRED}"):
                if not retired.is_symlink() and intact_cache(name, retired):
                    retired.rename(data_dir / name)
                    return


def is_cache(folder: Path) -> bool:
    """Whether a folder is a cache, intact or not, by its record."""
    return (folder / _RECORD).is_file()


def read_record(name: str, folder: Path) -> CacheRecord:
    """Read only the record of the cache in `folder`. Raises DataError when it is unusable."""
    try:
        values = json.loads(read_regular(folder / _RECORD, LARGEST_RECORD))
        version = values["format"]
    except FileNotFoundError:
        raise _unusable(name, folder, f"{_RECORD} is missing") from None
    except OSError as error:
        raise _unusable(name, folder, f"{_RECORD} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _unusable(name, folder, f"{_RECORD} is corrupt") from None
    if version != FORMAT:
        age = "a newer" if isinstance(version, int) and version > FORMAT else "another"
        raise _unusable(name, folder, f"written by {age} version of resnet-repro")
    # Earlier versions wrote no checksum of the record itself.
    if values.get(_OWN_SUM, _sum_of_record(values)) != _sum_of_record(values):
        raise _unusable(name, folder, f"{_RECORD} differs from its checksum")
    try:
        record = CacheRecord.model_validate(values)
    except ValueError:
        raise _unusable(name, folder, f"{_RECORD} is corrupt") from None
    if record.arrays.keys() != set(Contents._fields):
        raise _unusable(name, folder, f"{_RECORD} is corrupt")
    if record.identity.name != name:
        raise _unusable(name, folder, f"it holds {record.identity.name}")
    return record


def read_cache(name: str, folder: Path) -> Dataset:
    """Read the cache in `folder` into memory and compare every byte with its checksums.

    For CIFAR-10 that takes 0.15 s of processor time, 0.4 s without instructions for SHA-256.
    Raises DataError, naming the first file that is missing or differs from the record.
    """
    record = read_record(name, folder)
    arrays = [
        _read_array(name, folder / f"{field}.npy", record.arrays[field].shape)
        for field in Contents._fields
    ]
    contents = Contents(*arrays)
    if contents.sha256() != record.identity.sha256:
        for field, array in contents._asdict().items():
            if _checksum(array) != record.arrays[field].sha256:
                raise _unusable(name, folder, f"{field}.npy differs from its checksum")
        raise _unusable(name, folder, "contents differ from the recorded identity")
    return Dataset.of(record.identity, record.classes, contents)


def intact_cache(name: str, folder: Path) -> Dataset | None:
    """The cache in `folder`; None if it is missing or damaged."""
    try:
        return read_cache(name, folder)
    except DataError:
        return None


def _write_files(dataset: Dataset, folder: Path) -> None:
    arrays = {}
    for field, array in dataset.contents._asdict().items():
        with replacing(folder / f"{field}.npy") as file:
            np.save(file, np.ascontiguousarray(array), allow_pickle=False)
        arrays[field] = {"shape": list(array.shape), "sha256": _checksum(array)}
    record: dict[str, Any] = {
        "format": FORMAT,
        "identity": dataset.identity.to_dict(),
        "classes": list(dataset.classes),
        "arrays": arrays,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    record[_OWN_SUM] = _sum_of_record(record)
    with replacing(folder / _RECORD) as file:
        file.write(json.dumps(record, indent=1).encode())


def _publish(name: str, staging: Path, folder: Path, *, replace: bool) -> None:
    """Rename `staging` to `folder`, after moving an earlier cache away if needed."""
    retired = folder.with_name(f"{staging.name}{RETIRED}")
    for _ in range(100):  # other processes may take the name meanwhile, but not every time
        try:
            staging.rename(folder)
        except OSError as error:
            if error.errno not in _OCCUPIED:
                if retired.is_dir() and not folder.exists():
                    retired.rename(folder)  # better the old one than none
                raise
        else:
            flush_folder(folder.parent)
            _remove(retired)
            return
        _remove(retired)  # another process took the name meanwhile
        refuse_other(name, folder)
        if not replace and intact_cache(name, folder):
            return
        with contextlib.suppress(FileNotFoundError):
            _move(folder, retired)
    raise DataError(f"{folder} keeps changing: another process is preparing {name} over and over")


def _move(folder: Path, retired: Path) -> None:
    try:
        folder.rename(retired)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.move(folder, retired)  # of a container's image: no folder of it can be renamed


def _remove(retired: Path) -> None:
    """Remove what was moved away: a cache, or a link to one that stays where it is."""
    if retired.is_symlink():
        retired.unlink(missing_ok=True)
    else:
        shutil.rmtree(retired, ignore_errors=True)


def refuse_other(name: str, folder: Path) -> None:
    """Raise DataError if at `folder` is anything but a cache, intact or not."""
    try:
        names = {path.name for path in folder.iterdir() if not of_system(path.name)}
        other = not names <= _FILES
    except FileNotFoundError:
        other = folder.is_symlink()  # to nothing
    except NotADirectoryError:
        other = True
    if other:
        raise DataError(f"{folder} is in the way: it is not a prepared {name}; move it elsewhere")


def _read_array(name: str, path: Path, shape: tuple[int, ...]) -> Images:
    """The uint8 array of this shape in the file at `path`, which may hold nothing else."""
    problem = f"{path.name} is not the array that was recorded"
    try:
        with open_regular(path) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            array: Images = np.load(file, allow_pickle=False)
            if array.shape == shape and array.dtype == np.uint8 and not file.read(1):
                return array
    except FileNotFoundError:
        problem = f"{path.name} is missing"
    except OSError as error:
        problem = f"{path.name} cannot be read: {error.strerror}"
    except Exception:  # noqa: S110 - numpy parses the header: a damaged one can raise nearly anything
        pass
    raise _unusable(name, path.parent, problem)


def _unusable(name: str, folder: Path, reason: str) -> DataError:
    again = prepare_command(name, folder.parent, "--from PATH")
    return DataError(
        f"the prepared {name} in {folder} is unusable: {reason}\n"
        f"prepare it again with {again}, or --download"
    )


def _checksum(array: np.ndarray[Any, Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).reshape(-1).data).hexdigest()


def _sum_of_record(values: dict[str, Any]) -> str:
    rest = {key: value for key, value in values.items() if key != _OWN_SUM}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
