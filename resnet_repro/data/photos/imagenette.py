"""Imagenette: ten classes of ImageNet in three sizes, with torchvision's addresses and checksums.

The names give the shorter side in pixels; `imagenette2` has the original sizes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from resnet_repro.base.errors import ConfigError, DataError, plain
from resnet_repro.data.archives import digest, fetch, is_archive, unpack
from resnet_repro.data.dataset import Notify
from resnet_repro.data.layout import has_parts
from resnet_repro.data.photos.source import PhotoSource

__all__ = ["SIZES", "Imagenette"]

SIZES = ("160", "320", "full")
FOLDERS = ("imagenette", "imagenette2", "imagenette2-320", "imagenette2-160")  # best first
MAX_BYTES = 2**32  # unpacked; the largest of the three has 1.6 GB


class _Archive(NamedTuple):
    url: str
    md5: str

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


class Imagenette(PhotoSource):
    """Imagenette in the table of data sets."""

    description = "ten classes of ImageNet: 9,469 training and 3,925 validation photographs"
    downloadable = True
    official_counts = (10, 9_469, 3_925)

    def __init__(self) -> None:
        super().__init__("imagenette")

    def find(self, data_dir: Path) -> Path | None:
        """The folder with the largest photographs."""
        found = [path for path in (data_dir / name for name in FOLDERS) if has_parts(path)]
        with_train = (path for path in found if (path / "train").is_dir())
        return next(with_train, found[0] if found else None)

    def find_packed(self, data_dir: Path) -> Path | None:
        archives = (data_dir / f"{name}.tgz" for name in FOLDERS[1:])
        return next((path for path in archives if path.is_file()), None)

    def locate(self, copy: Path) -> tuple[Path, bool]:
        if copy.is_dir() and not has_parts(copy):
            copy = self.find(copy) or self.find_packed(copy) or copy
        return copy, copy.is_file()

    def download(self, data_dir: Path, size: str, progress: Notify) -> tuple[Path, Path | None]:
        folder = data_dir / f"imagenette2{'' if size == 'full' else f'-{size}'}"
        if has_parts(folder):
            progress(f"{folder} is there already")
            return folder, None
        data_dir.mkdir(parents=True, exist_ok=True)
        archive = _archives()[size]
        path = data_dir / archive.name
        otherwise = "bring a copy with `resnet-repro data prepare imagenette --from PATH` instead"
        with tempfile.TemporaryDirectory(prefix=".download-", dir=data_dir) as scratch:
            fetch(archive.url, archive.md5, path, Path(scratch), progress, otherwise)
        return folder, path

    @contextmanager
    def unpacked(
        self, packed: Path, data_dir: Path, progress: Notify
    ) -> Iterator[tuple[Path, bool]]:
        if not is_archive(packed, MAX_BYTES):
            raise DataError(f"{packed} is not a tar file")
        with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=data_dir) as name:
            scratch = Path(name)
            official = digest(packed, "md5") in {known.md5 for known in _archives().values()}
            progress(f"unpacking {packed}")
            unpack(packed, scratch, MAX_BYTES)
            found = self.find(scratch)
            if found is None:
                raise DataError(f"no imagenette2, imagenette2-320 or imagenette2-160 in {packed}")
            yield found, official

    def source(self, root: Path) -> str:
        actual = root.resolve().name
        return actual if actual in FOLDERS[1:] else "folder"


def _archives() -> dict[str, _Archive]:
    from torchvision.datasets import Imagenette  # slow to import, so only when needed

    try:
        known = Imagenette._ARCHIVES
        return {size.removesuffix("px"): _Archive(*known[size]) for size in known}
    except (AttributeError, TypeError) as error:
        reason = plain(str(error), 100)
        raise ConfigError(f"this torchvision does not say where Imagenette is: {reason}") from error
