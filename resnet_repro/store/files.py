"""Writing and reading files that a crash, a copy or an editor may have torn."""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import math
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resnet_repro.base.errors import StoreError
from resnet_repro.base.files import read_regular

__all__ = [
    "DiskFullError",
    "csv_text",
    "exact",
    "finite",
    "flush_folder",
    "read_text",
    "six_digits",
    "unwritable",
    "write_atomically",
]

LARGEST_TEXT = 50_000_000  # bytes; a curve has a hundred per point


class DiskFullError(StoreError):
    """A disk or a quota has no room left."""


def write_atomically(path: Path, content: bytes | str, *, durable: bool = True) -> None:
    """Replace a file by new contents or leave it alone.

    Raises:
        StoreError: disk full, no permission, and so on.
    """
    # A lone surrogate, from a file name that is not UTF-8, would make the whole text unwritable.
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:  # x: never through a link that lies there
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
        if durable:
            flush_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
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


def read_text(path: Path) -> str:
    """The contents of a text file that somebody else may have put there.

    Raises:
        OSError: it cannot be read, is no regular file or far too large.
        ValueError: it is not UTF-8.
    """
    return read_regular(path, LARGEST_TEXT).decode("utf-8")


def finite(text: str) -> float:
    """A number; ValueError if it is infinite or none."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("not a number")
    return number


def exact(value: Any) -> Any:
    """A float as the shortest text that reads back as the same one; anything else as it is."""
    return repr(value) if isinstance(value, float) else value


def six_digits(value: Any) -> Any:
    """A float with six significant digits; anything else as it is."""
    return f"{value:.6g}" if isinstance(value, float) else value
