"""Folders in the data folder for what is being downloaded or unpacked."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import filelock

from resnet_repro.base.files import locked_if_possible

__all__ = ["remove_left_over", "scratch_folder"]

Purpose = Literal["download", "unpacked"]
_LEFT_OVER = (".download-*", ".unpacked-*")


@contextlib.contextmanager
def scratch_folder(data_dir: Path, purpose: Purpose) -> Iterator[Path]:
    """A new folder in the data folder, which is removed at the end.

    It is locked from before it is made, so that `remove_left_over` of another process leaves it.
    """
    folder = data_dir / f".{purpose}-{secrets.token_hex(6)}"
    with locked_if_possible(_lock_of(folder), 0):
        try:
            folder.mkdir()
            yield folder
        finally:
            _remove(folder)


def remove_left_over(data_dir: Path) -> None:
    """Remove what processes that were killed have left behind; raises nothing.

    What a living process holds stays; so does all of it where files cannot be locked.
    """
    for pattern in _LEFT_OVER:
        for folder in data_dir.glob(pattern):
            with contextlib.suppress(filelock.Timeout, OSError, NotImplementedError):
                if folder.is_dir() and not folder.is_symlink():
                    with filelock.FileLock(_lock_of(folder), timeout=0):
                        _remove(folder)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        _lock_of(folder).unlink()
