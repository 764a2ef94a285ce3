"""Reading files that anybody may have put there, and replacing files whole.

Only regular files are read, and none without end: a pipe with no writer would keep a command
waiting for ever, and so would a link to /dev/zero. What is written appears complete or not at all.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from resnet_repro.base.errors import StoreError

__all__ = [
    "DiskFullError",
    "csv_text",
    "flush_folder",
    "open_regular",
    "read_regular",
    "read_text",
    "replacing",
    "unwritable",
    "write_atomically",
]

LARGEST_TEXT = 50_000_000  # bytes; a curve has a hundred per point


class DiskFullError(StoreError):
    """A disk or a quota has no room left."""


def open_regular(path: str | Path, largest: int | None = None) -> BufferedReader:
    """Open a regular file, or a link to one, for reading.

    Args:
        path: the file.
        largest: bytes that it may have.

    Raises:
        OSError: there is none, or it is a pipe, a socket, a device or a folder, or it is larger;
            `strerror` says so in words.
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
    """What is in a regular file, as many bytes as it says it has.

    Raises OSError as `open_regular` does. The files of /proc that never end say that they have 0.
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
    """The contents of a text file that somebody else may have put there.

    Raises:
        OSError: it cannot be read, is no regular file or far too large.
        ValueError: it is not UTF-8.
    """
    return read_regular(path, LARGEST_TEXT).decode("utf-8")


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A file to write to, which takes the place of `path` at the end of the block.

    It is written beside `path` and renamed, so that a reader or a crash finds the old contents or
    the new. Nothing is left of it where the block raises. `durable` flushes it to the disk first.
    The folder has to be there.

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
    """Replace a file of the results by new contents or leave it alone; see `replacing`.

    Raises:
        StoreError: disk full, no permission, and so on.
    """
    # A lone surrogate, from a file name that is not UTF-8, would make the whole text unwritable.
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, durable=durable) as file:
            file.write(data)
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> StoreError:
    """The error for the user when a file or folder cannot be written."""
    text = f"cannot write {path}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(f"{text}; free some and run again")
    return StoreError(text)


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
    writer.writerows([["" if v is None else v for v in row] for row in rows])
    return out.getvalue()
