"""Imagenette: ten classes of ImageNet, in three sizes, with torchvision's addresses and checksums.

All three have the shorter side that their name says, `imagenette2` the original one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from resnet_repro.data.archives import is_archive, unpack
from resnet_repro.data.downloads import digest, fetch
from resnet_repro.errors import ConfigError, DataError, plain

__all__ = ["FOLDERS", "SIZES", "Size", "download", "find_archive", "find_folder", "place_archive"]

Size = Literal["160", "320", "full"]
SIZES: tuple[Size, ...] = ("160", "320", "full")
FOLDERS = ("imagenette", "imagenette2", "imagenette2-320", "imagenette2-160")  # best first
MAX_BYTES = 2**32  # unpacked; the largest of the three has 1.6 GB


class _Archive(NamedTuple):
    url: str
    md5: str

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


def find_folder(folder: Path) -> Path | None:
    """Where in `folder` an Imagenette lies, the one with the largest photographs if several do."""
    candidates = (folder / name for name in FOLDERS)
    return next((path for path in candidates if (path / "train").is_dir()), None)


def find_archive(folder: Path) -> Path | None:
    """An archive of Imagenette in `folder`; if several, that of the largest photographs."""
    candidates = (folder / f"{name}.tgz" for name in FOLDERS[1:])
    return next((path for path in candidates if path.is_file()), None)


def download(data_dir: Path, size: Size, progress: Callable[[str], None]) -> Path:
    """Download the official archive of a size into `data_dir` and unpack it there.

    Returns the unpacked folder. Raises DataError when the network fails, what arrives is not the
    official archive, or something is in the way.
    """
    archive = _archives()[size]
    path = data_dir / archive.name
    otherwise = "bring a copy with `resnet-repro data prepare imagenette --from PATH` instead"
    data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=data_dir) as scratch:
        fetch(archive.url, archive.md5, path, Path(scratch), progress, otherwise)
    return place_archive(path, data_dir, progress)[0]


def place_archive(
    archive: Path, data_dir: Path, progress: Callable[[str], None]
) -> tuple[Path, bool]:
    """Unpack an archive of Imagenette into `data_dir`: (folder, whether it is an official one).

    Raises DataError when it is no such archive or the folder is there already.
    """
    if not is_archive(archive, MAX_BYTES):
        raise DataError(f"{archive} is not a tar file")
    official = digest(archive, "md5") in {known.md5 for known in _archives().values()}
    progress(f"unpacking {archive}")
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=data_dir) as name:
        scratch = Path(name)
        unpack(archive, scratch, MAX_BYTES)
        found = find_folder(scratch)
        if found is None:
            raise DataError(f"no imagenette2, imagenette2-320 or imagenette2-160 in {archive}")
        target = data_dir / found.name
        if target.exists() or target.is_symlink():
            raise DataError(f"{target} is in the way: move it elsewhere, or prepare without --from")
        found.rename(target)
    return target, official


def _archives() -> dict[str, _Archive]:
    from torchvision.datasets import Imagenette  # slow to import, so only when needed

    try:
        known = Imagenette._ARCHIVES
        return {size.removesuffix("px"): _Archive(*known[size]) for size in known}
    except (AttributeError, TypeError) as error:
        reason = plain(str(error), 100)
        raise ConfigError(f"this torchvision does not say where Imagenette is: {reason}") from error
