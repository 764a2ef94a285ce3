"""Preparing, opening and checking data sets of photographs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from resnet_repro.base.errors import DataError
from resnet_repro.data.dataset import Notify, PrepareRequest
from resnet_repro.data.folders import Copy, FolderReader, refuse_occupied
from resnet_repro.data.layout import has_parts
from resnet_repro.data.photos.index import PhotoIndex, make_index, read_index, write_index
from resnet_repro.data.photos.photos import PhotoDataset, Photos
from resnet_repro.data.photos.source import PhotoSource
from resnet_repro.data.photos.workers import map_photos

__all__ = ["PhotoReader", "check_photos"]


class PhotoReader(FolderReader[PhotoIndex, PhotoDataset]):
    """A data set of photographs."""

    source: PhotoSource

    def read_index(
        self, root: Path, data_dir: Path, *, outdated: bool = False
    ) -> PhotoIndex | None:
        return read_index(self.name, root, data_dir, outdated=outdated)

    def write_index(self, index: PhotoIndex, data_dir: Path) -> None:
        write_index(index, data_dir)

    def is_complete(self, index: PhotoIndex) -> bool:
        """Earlier versions stored only one hash of all contents together."""
        return index.contents is not None or not index.hashes_contents

    def make_index(
        self, root: Path, data_dir: Path, progress: Notify, *, official: bool = False
    ) -> PhotoIndex:
        return make_index(
            self.name,
            root,
            self.source.source(root),
            official=official,
            official_counts=self.source.official_counts,
            before=self.read_index(root, data_dir, outdated=True),
            progress=progress,
        )

    def prepare(self, data_dir: Path, request: PrepareRequest) -> PhotoDataset:
        """Prepare it; a packed copy in `data_dir` counts as one that the user brings."""
        if request.source is None and not request.download and not self.source.find(data_dir):
            request = request._replace(source=self.source.find_packed(data_dir))
        return super().prepare(data_dir, request)

    def find_copy(self, data_dir: Path, request: PrepareRequest, scratch: ExitStack) -> Copy:
        source, progress = request.source, request.progress
        if request.download:
            root, source = self.source.download(data_dir, request.size, progress)
        elif source is None:
            root = self.root(data_dir)
        if source is None:
            return Copy(root, False, lambda: root)
        found, packed = self.source.locate(source)
        if not packed:
            return self.linked_copy(source, found, data_dir)
        data_dir.mkdir(parents=True, exist_ok=True)
        unpacked = self.source.unpacked(found, data_dir, progress)
        folder, official = scratch.enter_context(unpacked)
        target = data_dir / folder.name
        if target.resolve() != source.resolve() or has_parts(target):
            refuse_occupied(target)
        return Copy(folder, official, lambda: _move(folder, target))

    def check_prepared(self, index: PhotoIndex, progress: Notify) -> None:
        """Check the images, unless they are too many to do so every time."""
        if index.hashes_contents:
            self.check_images(index, progress)
        else:
            verify = f"`resnet-repro data verify {self.name}`"
            progress(f"{verify} decodes every image, to find broken ones")

    def check_images(self, index: PhotoIndex, progress: Notify) -> None:
        dataset = index.dataset()
        check_photos(index.root, (dataset.train, dataset.test), progress)

    def packed_note(self, data_dir: Path) -> str:
        if self.source.find_packed(data_dir) is None:
            return ""
        return f"still packed: `resnet-repro data prepare {self.name}` unpacks it"


def _move(folder: Path, target: Path) -> Path:
    """Move an unpacked folder to `target`, which may be a folder already."""
    if target.is_dir():
        for part in sorted(folder.iterdir()):
            part.rename(target / part.name)
    else:
        folder.rename(target)
    return target


def check_photos(root: Path, parts: Sequence[Photos], progress: Notify) -> None:
    """Decode every image in `root`. Raises DataError that names the first broken one."""
    broken: list[str] = []
    progress(f"decoding {sum(map(len, parts)):,} images to find broken ones")
    for photos in parts:
        for lines in map_photos(_find_broken, photos, None, progress, "decoded"):
            broken += lines
    for line in broken[1:]:
        progress(f"broken: {line}")
    if broken:
        which = "an image is" if len(broken) == 1 else f"{len(broken):,} images are"
        raise DataError(f"{which} broken in {root}: {broken[0]}")


def _find_broken(photos: Photos, part: range) -> list[str]:
    """An error message for each photograph that cannot be decoded."""
    broken = []
    for index in part:
        try:
            photos.image(index)
        except DataError as error:
            broken.append(str(error))
    return broken
