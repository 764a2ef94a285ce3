"""Bringing folders of images with boxes into the data folder, opening and checking them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from resnet_repro.base.errors import DataError
from resnet_repro.data.boxes.boxes import BoxDataset
from resnet_repro.data.boxes.index import BoxIndex, make_index, read_index, write_index
from resnet_repro.data.boxes.parts import Scan
from resnet_repro.data.dataset import Notify, PrepareRequest
from resnet_repro.data.folders import Copy, FolderReader
from resnet_repro.data.photos.preparing import check_photos

__all__ = ["BoxReader", "BoxSource"]


class BoxSource(ABC):
    """Where a data set's images with boxes are, and how they are read."""

    name: str
    description: str
    source: str  # `Identity.source`
    short: str  # its folder in the data folder
    folder: Path | None = None  # where the command line says that it is
    downloadable = False
    official_counts: tuple[int, int] | None = None  # images to train and to test on

    @abstractmethod
    def has(self, folder: Path) -> bool:
        """Whether it is in a folder."""

    @abstractmethod
    def scan(self, root: Path) -> Scan:
        """Read it. Raises DataError naming the file when something is missing or wrong."""

    @abstractmethod
    def missing(self, data_dir: Path) -> DataError:
        """What to raise when it is not there."""

    def find(self, data_dir: Path) -> Path | None:
        """The folder, or None."""
        path = self.folder or data_dir / self.short
        return path if self.has(path) else None

    def locate(self, copy: Path) -> Path:
        """What matters in a folder that was brought."""
        inner = copy / self.short
        return inner if not self.has(copy) and self.has(inner) else copy

    def is_official(self, data_dir: Path, progress: Notify) -> bool:
        """Whether what is in `data_dir` can be shown to be the official copy."""
        return False

    def unpacked(
        self, source: Path | None, data_dir: Path, download: bool, progress: Notify
    ) -> AbstractContextManager[Copy] | None:
        """A copy made of archives at `source`, in `data_dir` or on the network; None without any.

        What was unpacked is removed in the end unless it has been moved away.
        """
        return None


class BoxReader(FolderReader[BoxIndex, BoxDataset]):
    """A data set of images with boxes."""

    source: BoxSource

    def read_index(self, root: Path, data_dir: Path, *, outdated: bool = False) -> BoxIndex | None:
        return read_index(self.name, root, data_dir, outdated=outdated)

    def write_index(self, index: BoxIndex, data_dir: Path) -> None:
        write_index(index, data_dir)

    def make_index(
        self, root: Path, data_dir: Path, progress: Notify, *, official: bool = False
    ) -> BoxIndex:
        progress(f"looking through {root}, once")
        return make_index(
            self.name,
            root,
            self.source.scan(root),
            self.source.source,
            official=official,
            official_counts=self.source.official_counts,
            before=self.read_index(root, data_dir, outdated=True),
        )

    def find_copy(self, data_dir: Path, request: PrepareRequest, scratch: ExitStack) -> Copy:
        source = request.source
        packed = self.source.unpacked(source, data_dir, request.download, request.progress)
        if packed is not None:
            return scratch.enter_context(packed)
        if source is None:
            root = self.root(data_dir)
            official = self.source.is_official(data_dir, request.progress)
            return Copy(root, official, lambda: root)
        return self.linked_copy(source, self.source.locate(source), data_dir)

    def check_images(self, index: BoxIndex, progress: Notify) -> None:
        check_photos(index.root, [part.photos for part in index.parts()], progress)
