"""Reading files that anybody may have put there: regular ones only, and none without end.

A pipe with no writer would keep a command waiting for ever, and so would a link to /dev/zero.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

__all__ = ["open_regular", "read_regular"]


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
