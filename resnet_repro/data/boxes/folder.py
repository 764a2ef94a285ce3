"""Bringing folders of images with boxes into the data folder, opening and checking them."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from resnet_repro.base.errors import ConfigError, DataError
from resnet_repro.data.boxes.boxes import BoxDataset
from resnet_repro.data.boxes.index import BoxIndex, make_index, read_index, write_index
from resnet_repro.data.boxes.parts import Scan
from resnet_repro.data.dataset import DatasetStatus, cannot_prepare
from resnet_repro.data.photos.preparing import check_photos, link_folder
from resnet_repro.data.photos.source import Progress, refuse_occupied

__all__ = ["BoxReader", "BoxSource", "Copy"]

_log = logging.getLogger(__name__)


class Copy(NamedTuple):
    """A copy that is to be looked through before it counts."""

    root: Path
    official: bool  # from archives whose checksums are the official ones
    place: Callable[[], Path]  # puts it where it belongs in the data folder: its root there


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

    def unpacked(
        self, source: Path | None, data_dir: Path, download: bool, progress: Progress
    ) -> AbstractContextManager[Copy] | None:
        """A copy made of archives at `source`, in `data_dir` or on the network; None without any.

        What was unpacked is removed in the end unless it has been moved away.
        """
        return None


class BoxReader:
    """A data set of images with boxes, kept as a folder of files and an index of them."""

    def __init__(self, source: BoxSource) -> None:
        self.source, self.name = source, source.name

    def load(self, data_dir: Path) -> BoxDataset:
        """Open it; the first time, look through its folder.

        Raises DataError when it is not there or something in its folder is wrong.
        """
        root = self._root(data_dir)
        index = read_index(self.name, root, data_dir)
        if index is None:
            index = self._look_through(root, data_dir, _log.info)
            write_index(index, data_dir)
        return index.dataset()

    def prepare(
        self,
        data_dir: Path,
        source: Path | None,
        *,
        download: bool,
        size: str,
        progress: Progress,
    ) -> BoxDataset:
        """Put it into `data_dir`, read all annotations and decode all images once.

        A folder that is brought is linked to, archives are unpacked; what was there before stays
        if something is broken. Raises ConfigError when the options make no sense, DataError when
        there is no usable copy.
        """
        if download and not self.source.downloadable:
            raise ConfigError(
                f"{self.name} cannot be downloaded: bring it with"
                f" `resnet-repro data prepare {self.name} --from PATH`"
            )
        try:
            with ExitStack() as scratch:
                copy = self._copy(data_dir, source, download, progress, scratch)
                index = self._look_through(copy.root, data_dir, progress, official=copy.official)
                _check(index, progress)
                index = replace(index, root=copy.place())  # only what is good replaces the old
        except OSError as error:
            copy_at = None if download else source
            raise cannot_prepare(self.name, data_dir, copy_at, error) from error
        write_index(index, data_dir)
        return index.dataset()

    def verify(self, data_dir: Path, progress: Progress) -> BoxDataset:
        """Look through it again, compare it with what is known of it and decode every image.

        Raises DataError when it has changed or something is broken.
        """
        root = self._root(data_dir)
        kept = read_index(self.name, root, data_dir, outdated=True)
        index = self._look_through(root, data_dir, progress)
        if kept and kept.identity.sha256 != index.identity.sha256:
            raise DataError(
                f"{self.name} in {root} has changed since it was first used\n"
                f"if that is meant, `resnet-repro data prepare {self.name}` takes it as it is now"
            )
        _check(index, progress)
        write_index(index, data_dir)
        return index.dataset()

    def describe(self, data_dir: Path) -> DatasetStatus:
        """What is known of it without looking through it; raises nothing."""
        description = self.source.description
        try:
            root = self.source.find(data_dir)
            index = read_index(self.name, root, data_dir) if root else None
        except (DataError, OSError) as error:
            return DatasetStatus.absent(self.name, description, str(error).splitlines()[0])
        if index is None:
            note = f"will be looked through in {root} when first used" if root else ""
            return DatasetStatus.absent(self.name, description, note)
        return DatasetStatus.of(description, index.identity, index.images)

    def _root(self, data_dir: Path) -> Path:
        root = self.source.find(data_dir)
        if root is None:
            raise self.source.missing(data_dir)
        return root

    def _look_through(
        self, root: Path, data_dir: Path, progress: Progress, *, official: bool = False
    ) -> BoxIndex:
        progress(f"looking through {root}, once")
        return make_index(
            self.name,
            root,
            self.source.scan(root),
            self.source.source,
            official=official,
            official_counts=self.source.official_counts,
            before=read_index(self.name, root, data_dir, outdated=True),
        )

    def _copy(
        self,
        data_dir: Path,
        source: Path | None,
        download: bool,
        progress: Progress,
        scratch: ExitStack,
    ) -> Copy:
        """The copy to be looked through: archives are unpacked, folders stay where they are."""
        if source is not None and not source.exists():
            raise DataError(f"{source} does not exist")
        packed = self.source.unpacked(source, data_dir, download, progress)
        if packed is not None:
            return scratch.enter_context(packed)
        if source is None:
            root = self._root(data_dir)
            return Copy(root, False, lambda: root)
        if not source.is_dir():
            raise DataError(f"{source} is not a folder")
        data_dir.mkdir(parents=True, exist_ok=True)
        found = self.source.locate(source)
        target = data_dir / self.source.short
        if not target.is_symlink() and target.resolve() != found.resolve():
            refuse_occupied(target)
        return Copy(found, False, lambda: link_folder(target, found))


def _check(index: BoxIndex, progress: Progress) -> None:
    """Decode every image. Raises DataError naming the first that is broken."""
    check_photos(index.root, [part.photos for part in index.parts()], progress)
