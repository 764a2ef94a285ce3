"""Hidden folders in the data folder for what is being downloaded, unpacked or written.

And a data set's place there: whether it is free, and a link to a folder elsewhere.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from resnet_repro.base.errors import DataError, StoreError
from resnet_repro.base.files import locked
from resnet_repro.spec.dataset_names import DATASETS

__all__ = ["RETIRED", "link_to", "refuse_occupied", "remove_left_over", "scratch_folder"]

RETIRED = "-old"  # at the end of the name of a cache that the folder without it is to replace
_CACHED = [name for name, known in DATASETS.items() if "cifar" in known.families]
_SCRATCH = re.compile(rf"\.(download|unpacked|{'|'.join(_CACHED)})-\w+({RETIRED})?")


@contextlib.contextmanager
def scratch_folder(data_dir: Path, purpose: str) -> Iterator[Path]:
    """A new folder in the data folder, which is removed at the end if it is still there.

    It is locked from before it is made, so that `remove_left_over` of another process leaves it.
    `purpose` is one of those in `_SCRATCH`.
    """
    folder = data_dir / f".{purpose}-{secrets.token_hex(6)}"
    with locked(_lock_of(folder), 0):
        try:
            folder.mkdir()
            yield folder
        finally:
            _remove(folder)


def remove_left_over(data_dir: Path) -> None:
    """Remove what processes that were killed have left behind; raises nothing.

    What a living process holds stays; so does all of it where files cannot be locked, and a cache
    that was moved away but not replaced, which may be the only one (see `cache.put_back`).
    """
    for folder in data_dir.glob(".*-*"):
        with contextlib.suppress(StoreError, OSError):
            match = _SCRATCH.fullmatch(folder.name)
            if match and folder.is_dir() and not folder.is_symlink():
                with locked(_lock_of(folder), 0, needed=True) as free:
                    if free and (not match[2] or (data_dir / match[1]).exists()):
                        _remove(folder)


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name.removesuffix(RETIRED)}.lock")


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        _lock_of(folder).unlink()


def refuse_occupied(target: Path, *, usable: bool) -> None:
    """Raise DataError if `target` exists and is not an empty folder; it may be a `usable` copy."""
    if target.is_symlink() or (
        target.exists() and not (target.is_dir() and not any(target.iterdir()))
    ):
        instead = ", or prepare without --from" if usable else ""
        raise DataError(f"{target} is in the way: move it elsewhere{instead}")


def link_to(link: Path, folder: Path) -> None:
    """Make `link` a link to `folder`; an earlier link is replaced."""
    if not (link.exists() and link.resolve() == folder.resolve()):
        if link.is_dir() and not link.is_symlink():
            link.rmdir()  # it is empty
        new = link.with_name(f".{link.name}-{secrets.token_hex(6)}")
        new.symlink_to(folder.resolve(), target_is_directory=True)
        new.replace(link)
