"""Imagenette: ten classes of ImageNet in three sizes, with torchvision's addresses and checksums.

The names give the shorter side in pixels; `imagenette2` has the original sizes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resnet_repro.base.errors import DataError
from resnet_repro.data.archives import Archive, digest, fetch, unpack
from resnet_repro.data.dataset import PrepareRequest
from resnet_repro.data.layout import has_parts
from resnet_repro.data.photos.reader import PhotoReader

__all__ = ["SIZES", "Imagenette"]

SIZES = ("160", "320", "full")
FOLDERS = ("imagenette", "imagenette2", "imagenette2-320", "imagenette2-160")  # best first
MAX_BYTES = 2**32  # unpacked; the largest of the three has 1.6 GB


class Imagenette(PhotoReader):
    """Imagenette in the table of data sets."""

    description = "ten classes of ImageNet: 9,469 training and 3,925 validation photographs"
    downloadable = True
    official_counts = (9_469, 3_925)

    def find(self, data_dir: Path) -> Path | None:
        """The folder with the largest photographs."""
        found = [path for path in (data_dir / name for name in FOLDERS) if has_parts(path)]
        with_train = (path for path in found if (path / "train").is_dir())
        return next(with_train, found[0] if found else None)

    def find_packed(self, place: Path) -> Path | None:
        if place.is_file():
            return place
        if has_parts(place) or self.find(place):
            return None
        archives = (place / f"{name}.tgz" for name in FOLDERS[1:])
        return next((path for path in archives if path.is_file()), None)

    def locate(self, copy: Path) -> Path:
        return copy if has_parts(copy) else self.find(copy) or copy

    def download(self, data_dir: Path, request: PrepareRequest) -> Path | None:
        size, progress = request.size, request.progress
        folder = data_dir / f"imagenette2{'' if size == 'full' else f'-{size}'}"
        if has_parts(folder):
            progress(f"{folder} is there already")
            return None
        return fetch(_archives()[size], data_dir, self.name, progress)

    @contextmanager
    def unpack(
        self, packed: Path, data_dir: Path, request: PrepareRequest
    ) -> Iterator[tuple[Path, bool]]:
        with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=data_dir) as name:
            scratch = Path(name)
            request.progress(f"unpacking {packed}")
            unpack(packed, scratch, MAX_BYTES)
            found = self.find(scratch)
            if found is None:
                raise DataError(f"no imagenette2, imagenette2-320 or imagenette2-160 in {packed}")
            known = {archive.md5 for archive in _archives().values()}
            yield found, request.download or digest(packed, "md5") in known

    def source(self, root: Path) -> str:
        actual = root.resolve().name
        return actual if actual in FOLDERS[1:] else "folder"


def _archives() -> dict[str, Archive]:
    from torchvision.datasets import Imagenette  # slow to import, so only when needed

    return {
        size.removesuffix("px"): Archive(*known) for size, known in Imagenette._ARCHIVES.items()
    }
