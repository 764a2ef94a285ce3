"""Imagenette: ten classes of ImageNet, in three sizes, with torchvision's addresses and checksums.

All three have the shorter side that their name says, `imagenette2` the original one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from resnet_repro.base.errors import ConfigError, DataError, plain
from resnet_repro.data.archives import is_archive, unpack
from resnet_repro.data.downloads import digest, fetch
from resnet_repro.data.layout import has_parts

__all__ = ["FOLDERS", "SIZES", "Size", "download", "find_archive", "find_folder", "unpacked"]

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
    found = [path for path in (folder / name for name in FOLDERS) if has_parts(path)]
    return next((path for path in found if (path / "train").is_dir()), found[0] if found else None)


def find_archive(folder: Path) -> Path | None:
    """An archive of Imagenette in `folder`; if several, that of the largest photographs."""
    candidates = (folder / f"{name}.tgz" for name in FOLDERS[1:])
    return next((path for path in candidates if path.is_file()), None)


def download(data_dir: Path, size: Size, progress: Callable[[str], None]) -> Path:
    """Download the official archive of a size into `data_dir`, and return where it is.

    Raises DataError when the network fails or what arrives is not the official archive.
    """
    archive = _archives()[size]
    path = data_dir / archive.name
    otherwise = "bring a copy with `resnet-repro data prepare imagenette --from PATH` instead"
    with tempfile.TemporaryDirectory(prefix=".download-", dir=data_dir) as scratch:
        fetch(archive.url, archive.md5, path, Path(scratch), progress, otherwise)
    return path


@contextmanager
def unpacked(
    archive: Path, data_dir: Path, progress: Callable[[str], None]
) -> Iterator[tuple[Path, bool]]:
    """Unpack an archive of Imagenette: (its folder, whether the archive is an official one).

    The folder is in `data_dir`, under a name of its own, and removed in the end unless it has been
    moved away. Raises DataError when it is no such archive.
    """
    if not is_archive(archive, MAX_BYTES):
        raise DataError(f"{archive} is not a tar file")
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=data_dir) as name:
        scratch = Path(name)
        official = digest(archive, "md5") in {known.md5 for known in _archives().values()}
        progress(f"unpacking {archive}")
        unpack(archive, scratch, MAX_BYTES)
        found = find_folder(scratch)
        if found is None:
            raise DataError(f"no imagenette2, imagenette2-320 or imagenette2-160 in {archive}")
        yield found, official


def _archives() -> dict[str, _Archive]:
    from torchvision.datasets import Imagenette  # slow to import, so only when needed

    try:
        known = Imagenette._ARCHIVES
        return {size.removesuffix("px"): _Archive(*known[size]) for size in known}
    except (AttributeError, TypeError) as error:
        reason = plain(str(error), 100)
        raise ConfigError(f"this torchvision does not say where Imagenette is: {reason}") from error
