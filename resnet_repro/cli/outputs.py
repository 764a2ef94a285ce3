"""Standard output and error that work in any environment."""

from __future__ import annotations

import errno
import io
import os
import select
import stat
import sys
from typing import Any, Literal

__all__ = ["prepare_outputs"]

_READER_GONE = {errno.EPIPE, errno.EBADF, errno.ECONNRESET, errno.ESHUTDOWN, errno.ENXIO}
_DESCRIPTORS: dict[Literal["stdout", "stderr"], int] = {"stdout": 1, "stderr": 2}


class _Outlet(io.FileIO):
    """A descriptor that can lose its reader without an error.

    If the terminal was closed, or the reader of a pipe has ended, output is lost but work goes on.
    Other errors, such as a full disk, are raised, except for standard error.
    """

    _told = False  # whether an error was raised, which the end of the process would raise again

    def write(self, data: Any, /) -> int:
        if self._told:
            return memoryview(data).nbytes
        try:
            while (written := super().write(data)) is None:  # it is non-blocking, and full
                select.select([], [self], [])
        except OSError as error:
            if not self._may_fail(error.errno):
                self._told = True
                raise
            return memoryview(data).nbytes
        return written

    def _may_fail(self, number: int | None) -> bool:
        if self.fileno() == _DESCRIPTORS["stderr"] or number in _READER_GONE:
            return True
        return number == errno.EIO and stat.S_ISCHR(os.fstat(self.fileno()).st_mode)


def prepare_outputs() -> None:
    """Prepare stdout and stderr so that printing does not end a command.

    Closed descriptors are opened to the null device (otherwise the next file to be opened would get
    the output), characters that the encoding lacks are replaced, and readers may be gone.
    """
    while (free := os.open(os.devnull, os.O_RDWR)) <= max(_DESCRIPTORS.values()):
        os.set_inheritable(free, True)
    os.close(free)
    for name, descriptor in _DESCRIPTORS.items():
        stream = getattr(sys, name)
        if stream is None or stream.closed:
            opened = open(os.devnull, "w", encoding="utf-8", errors="replace")  # noqa: PTH123, SIM115
            setattr(sys, name, opened)
        elif type(stream) is io.TextIOWrapper and _is_plain(stream, descriptor):
            stream.flush()
            outlet = io.BufferedWriter(_Outlet(descriptor, "w", closefd=False))
            wrapped = io.TextIOWrapper(
                outlet,
                encoding=stream.encoding,
                errors="replace",
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )
            setattr(sys, name, wrapped)
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _is_plain(stream: io.TextIOWrapper, descriptor: int) -> bool:
    """Whether it writes directly to the descriptor (no console of Windows, not replaced yet)."""
    buffer = stream.buffer
    raw = getattr(buffer, "raw", buffer)
    return type(raw) is io.FileIO and raw.fileno() == descriptor
