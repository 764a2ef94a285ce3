"""Imagenette: ten classes of ImageNet in three sizes.

The names give the shorter side in pixels; `imagenette2` has the original sizes.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from resnet_repro.base.errors import DataError
from resnet_repro.data.archives import Archive, fetch, md5_of, unpack_archive
from resnet_repro.data.dataset import PrepareRequest
from resnet_repro.data.folder_reader import Copy
from resnet_repro.data.layout import has_parts
from resnet_repro.data.photos.reader import PhotoReader, moved_in
from resnet_repro.data.scratch import refuse_occupied, scratch_folder

__all__ = ["SIZES", "Imagenette"]

_log = logging.getLogger(__name__)

_FROM = "https://s3.amazonaws.com/fast-ai-imageclas"
_ARCHIVES = {  # by size, with the checksums that torchvision lists as well
    "160": Archive(f"{_FROM}/imagenette2-160.tgz", "e793b78cc4c9e9a4ccc0c1155377a412"),
    "320": Archive(f"{_FROM}/imagenette2-320.tgz", "3df6f0d01a2c9592104656642f5e78a3"),
    "full": Archive(f"{_FROM}/imagenette2.tgz", "fe2fc210e6bb7c5664d602c3cd71e612"),
}
SIZES = tuple(_ARCHIVES)
FOLDERS = ("imagenette", "imagenette2", "imagenette2-320", "imagenette2-160")  # best first
MAX_BYTES = 2**32  # unpacked; the largest of the three has 1.6 GB


class Imagenette(PhotoReader):
    """Imagenette in the table of data sets."""

    description = "ten classes of ImageNet: 9,469 training and 3,925 validation photographs"
    downloadable = True

    def find(self, data_dir: Path) -> Path | None:
        """The folder with the largest photographs."""
        found = [path for path in (data_dir / name for name in FOLDERS) if has_parts(path)]
        with_train = (path for path in found if (path / "train").is_dir())
        return next(with_train, found[0] if found else None)

    def _used_before(self, name: str, data_dir: Path) -> Path | None:
        """The folder that `find` prefers to one of this name; None if there is none."""
        used = self.find(data_dir)
        if used is None or FOLDERS.index(used.name) >= FOLDERS.index(name):
            return None
        return used if (used / "train").is_dir() else None

    def find_packed(self, place: Path) -> Path | None:
        if place.is_file():
            return place
        if has_parts(place) or self.find(place):
            return None
        archives = (place / f"{name}.tgz" for name in FOLDERS[1:])
        return next((path for path in archives if path.is_file()), None)

    def locate(self, copy: Path) -> Path:
        return copy if has_parts(copy) else self.find(copy) or copy

    def packed(self, data_dir: Path, request: PrepareRequest) -> list[Path]:
        """An archive; of a download the official one, none if its folder is there already.

        Raises DataError if a folder that may have smaller photographs would be used all the same.
        """
        if not request.download:
            return super().packed(data_dir, request)
        size = request.size
        folder = data_dir / f"imagenette2{'' if size == 'full' else f'-{size}'}"
        used = self._used_before(folder.name, data_dir)
        if used == data_dir / FOLDERS[0]:
            raise DataError(f"{used} is used before {folder.name}: move it elsewhere")
        if used or self.find(data_dir) == folder:
            _log.info(f"{used or folder} is there already")
            return []
        refuse_occupied(folder, usable=False)
        return [fetch(_ARCHIVES[size], data_dir, self.name)]

    @contextmanager
    def unpacked(
        self, packed: list[Path], data_dir: Path, request: PrepareRequest
    ) -> Iterator[Copy]:
        (archive,) = packed
        data_dir.mkdir(parents=True, exist_ok=True)
        with scratch_folder(data_dir, "unpacked") as scratch:
            _log.info(f"unpacking {archive}")
            unpack_archive(archive, scratch, MAX_BYTES)
            found = self.find(scratch)
            if found is None:
                raise DataError(f"no imagenette2, imagenette2-320 or imagenette2-160 in {archive}")
            if used := self._used_before(found.name, data_dir):
                raise DataError(f"{used} is used before {found.name}: move it elsewhere")
            known = {one.md5 for one in _ARCHIVES.values()}
            yield moved_in(found, request.download or md5_of(archive) in known, data_dir)

    def source(self, root: Path) -> str:
        actual = root.resolve().name
        return actual if actual in FOLDERS[1:] else "folder"
