"""Archives of folders, for tests."""

from __future__ import annotations

import tarfile
from pathlib import Path


def pack(folder: Path, archive: Path, mode: str = "w", name: str | None = None) -> Path:
    """Pack a folder, under its own name or another one."""
    with tarfile.open(archive, mode, dereference=True) as tar:  # type: ignore[call-overload]
        tar.add(folder, name or folder.name)
    return archive
