"""Paths as users write them, reading untrusted files, replacing files atomically, locks.

Only regular files of bounded size are read: a pipe without a writer would block a command for ever,
and so would a link to /dev/zero. A written file appears complete or not at all.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import logging
import os
import secrets
import shlex
import stat
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

import filelock

from resnet_repro.base.errors import ConfigError, StoreError, plain

__all__ = [
    "DATA_VARIABLE",
    "DEFAULT_DATA",
    "DEFAULT_RESULTS",
    "RESULTS_VARIABLE",
    "DiskFullError",
    "csv_text",
    "data_option",
    "flush_folder",
    "locked",
    "open_regular",
    "read_regular",
    "read_text",
    "replacing",
    "results_option",
    "user_folder",
    "user_path",
    "writable",
    "write_atomically",
]

DEFAULT_RESULTS = Path("results")  # where neither `--results` nor the variable names another
RESULTS_VARIABLE = "RESNET_REPRO_RESULTS"
DEFAULT_DATA = Path("data")  # likewise of `--data-dir`
DATA_VARIABLE = "RESNET_REPRO_DATA"
LARGEST_TEXT = 200_000_000  # bytes; a curve has a hundred per point, a loss surface 133

_log = logging.getLogger(__name__)


class DiskFullError(StoreError):
    """A disk or a quota has no room left."""


def user_path(text: str | Path) -> Path:
    """A path with a leading `~` or `~USER` replaced by the home folder.

    Raises:
        ConfigError: there is no such user, or no home folder is known.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f"{plain(str(text), 200)}: what ~ stands for is not known here; write the whole path"
        ) from error


def results_option(results: Path) -> str:
    """` --results FOLDER` for a command that is to use the same results folder as this one."""
    return _folder_option("--results", results, RESULTS_VARIABLE, DEFAULT_RESULTS)


def data_option(data_dir: Path) -> str:
    """` --data-dir FOLDER` for a command that is to use the same data folder as this one."""
    return _folder_option("--data-dir", data_dir, DATA_VARIABLE, DEFAULT_DATA)


def _folder_option(option: str, folder: Path, variable: str, default: Path) -> str:
    """The option, unless a command without it takes the same folder."""
    without = os.path.expanduser(os.environ.get(variable) or default)  # noqa: PTH111
    return "" if folder == Path(without) else f" {option} {shlex.quote(str(folder))}"


def user_folder(text: str | Path) -> Path:
    """`user_path` for a folder, which need not exist yet.

    Raises:
        ConfigError: as `user_path`, or the path is not a folder.
    """
    path = user_path(text)
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{plain(str(path), 200)} is a file, where a folder is needed")
    if path.is_symlink() and not path.exists():
        raise ConfigError(f"{plain(str(path), 200)} is a link that leads nowhere")
    return path


def open_regular(path: str | Path, largest: int | None = None) -> BufferedReader:
    """Open a regular file, or a link to one, for reading.

    Args:
        path: the file.
        largest: the largest size allowed, in bytes.

    Raises:
        OSError: the file is missing, too large, or a pipe, socket, device or folder; `strerror`
            gives the reason.
    """
    _check(Path(path).stat(), path, largest)  # first, since opening some devices does things
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115
    try:
        _check(os.fstat(file.fileno()), path, largest)
    except OSError:
        file.close()
        raise
    return file


def read_regular(path: str | Path, largest: int) -> bytes:
    """The contents of a regular file, up to the size that it reports.

    Endless files of /proc report 0 bytes. Raises OSError as `open_regular` does.
    """
    with open_regular(path, largest) as file:
        return file.read(os.fstat(file.fileno()).st_size)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check(status: os.stat_result, path: str | Path, largest: int | None) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file but a pipe, socket or device", str(path))
    if largest is not None and status.st_size > largest:
        raise OSError(errno.EFBIG, f"larger than {largest:,} bytes", str(path))


def read_text(path: Path) -> str:
    """The contents of an untrusted text file.

    Raises:
        OSError: it cannot be read, is not a regular file, or is too large.
        ValueError: it is not UTF-8.
    """
    return read_regular(path, LARGEST_TEXT).decode("utf-8")


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Open a file that replaces `path` when the block ends; its folder has to exist.

    It is written beside `path` and then renamed, so readers and crashes find either the old or the
    new contents. If the block raises, it is removed. `durable` flushes it to the disk first.

    Raises:
        OSError: disk full, no permission, and so on.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:  # x: never through a link that lies there
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    if durable:
        flush_folder(path.parent)


def write_atomically(path: Path, content: bytes | str, *, durable: bool = True) -> None:
    """Replace a file of the results, or leave it unchanged; see `replacing`.

    Raises:
        StoreError: disk full, no permission, and so on.
    """
    # A lone surrogate, from a file name that is not UTF-8, would make the whole text unwritable.
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, durable=durable) as file:
            file.write(data)


@contextlib.contextmanager
def locked(path: Path, patience: float, *, needed: bool = False) -> Iterator[bool]:
    """Hold the lock of a file, made with its folder, while the block runs.

    Gives False if another process still has it after `patience` seconds. Where there can be no
    lock (some file systems have none) it gives True: nobody else can have one.

    Raises:
        StoreError: there can be none where one is `needed`.
    """
    with contextlib.ExitStack() as stack:
        free = True
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # A marker, which filelock makes otherwise, would stay when its process is killed.
            lock = filelock.FileLock(path, timeout=patience, fallback_to_soft=False)
            stack.enter_context(lock)
        except filelock.Timeout:
            free = False
        except OSError as error:
            if needed:
                raise StoreError(f"cannot lock {path}: {error.strerror}") from error
            _log.debug("%s cannot be locked: %s", path, error)
        yield free


@contextlib.contextmanager
def writable(path: Path) -> Iterator[None]:
    """Turn errors of the block, which writes this file or folder, into a StoreError for users."""
    try:
        yield
    except OSError as error:
        text = f"cannot write {path}: {error.strerror or error}"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"{text}; free some and run again") from error
        raise StoreError(text) from error


def flush_folder(folder: Path) -> None:
    """Make a rename survive power loss, where the file system knows how."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def csv_text(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows as CSV text; None is an empty field."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()
