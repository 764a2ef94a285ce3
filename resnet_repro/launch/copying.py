"""Carrying the files of a run between results folders of machines that share no file system."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from resnet_repro.base.files import write_atomically
from resnet_repro.store.run_folder import RunFolder

__all__ = ["Changes", "changed_files", "put_files"]

# A file's identity: what is written anew is another file, for files are only replaced whole.
Changes = dict[str, tuple[int, int, int]]


def changed_files(folder: RunFolder, seen: Changes) -> dict[str, bytes]:
    """The files of a run that are not as `seen`, which is updated: contents by relative name.

    Of the checkpoints only the newest, as "checkpoint". The summary is read first: what it speaks
    of is in the other files then.
    """
    files: dict[str, bytes] = {}
    checkpoints = folder.checkpoints()[:1]
    left_out = {folder.lock, folder.fresh_checkpoint, folder.checkpoint, folder.previous_checkpoint}
    found = [path for path in sorted(folder.path.rglob("*")) if path.is_file()]
    rest = [
        path for path in found if path not in left_out and path.suffix not in (".part", ".damaged")
    ]
    rest.sort(key=lambda path: path != folder.summary)
    for path in (*rest, *checkpoints):
        name = "checkpoint" if path in checkpoints else path.relative_to(folder.path).as_posix()
        with contextlib.suppress(OSError):  # replaced meanwhile: the next look finds it
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                signature = (status.st_ino, status.st_mtime_ns, status.st_size)
                if seen.get(name) == signature:
                    continue
                files[name] = file.read()
            seen[name] = signature
    return files


def put_files(folder: RunFolder, files: Mapping[str, bytes]) -> None:
    """Write a run's files, the summary last, so that `done` means that all is there.

    Raises:
        StoreError: they cannot be written.
    """
    folder.make()
    for name in sorted(files, key=lambda name: name == folder.summary.name):
        path = folder.path / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            continue
        if path == folder.checkpoint:
            folder.write_checkpoint(files[name])
        else:
            write_atomically(path, files[name])
