"""Data sets stored as a folder of files and an index of them: opening, preparing and checking."""

from __future__ import annotations

import logging
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Generic, NamedTuple, Protocol, TypeVar

from resnet_repro.base.errors import ConfigError, DataError
from resnet_repro.data.dataset import (
    DatasetStatus,
    Notify,
    PrepareRequest,
    cannot_prepare,
)
from resnet_repro.data.folder_index import Index

__all__ = ["Copy", "FolderReader", "refuse_occupied"]

_log = logging.getLogger(__name__)

Loaded = TypeVar("Loaded")


class Copy(NamedTuple):
    """A copy that is checked before it is put in its place."""

    root: Path
    official: bool  # from archives with the official checksums
    place: Callable[[], Path]  # puts it into the data folder; returns its root there


class FolderSource(Protocol):
    """Where a data set's folder is."""

    name: str
    description: str
    downloadable: bool

    @property
    def short(self) -> str:
        """The name of its folder in the data folder."""

    def find(self, data_dir: Path) -> Path | None:
        """The folder; None if there is none."""

    def missing(self, data_dir: Path) -> DataError:
        """The error if there is none."""


class FolderReader(ABC, Generic[Index, Loaded]):
    """A data set in the table of data sets, stored as a folder of files and an index of them."""

    def __init__(self, source: FolderSource) -> None:
        self.source, self.name = source, source.name

    @abstractmethod
    def read_index(self, root: Path, data_dir: Path, *, outdated: bool = False) -> Index | None:
        """The stored index; None if there is none, or if the folder has changed since.

        With `outdated`, also that of a folder that has changed.
        """

    @abstractmethod
    def write_index(self, index: Index, data_dir: Path) -> None:
        """Store an index in the data folder, if that is writable."""

    @abstractmethod
    def make_index(
        self, root: Path, data_dir: Path, progress: Notify, *, official: bool = False
    ) -> Index:
        """Scan the folder. Raises DataError if it is not one of this data set."""

    @abstractmethod
    def find_copy(self, data_dir: Path, request: PrepareRequest, scratch: ExitStack) -> Copy:
        """The copy to prepare; archives are unpacked into folders that `scratch` removes."""

    @abstractmethod
    def check_images(self, index: Index, progress: Notify) -> None:
        """Decode every image. Raises DataError that names the first broken one."""

    def load(self, data_dir: Path) -> Loaded:
        """Open it; the first time, scan its folder.

        Raises DataError if it is missing, or its folder is not one of this data set.
        """
        root = self.root(data_dir)
        index = kept = self.read_index(root, data_dir)
        if index is None or not self.is_complete(index):
            index = self.make_index(root, data_dir, _log.info)
            self.refuse_changed(kept, index)
            self.write_index(index, data_dir)
        return self._opened(index)

    def test_images(self, data_dir: Path) -> int | None:
        """The number of images for testing; None if its folder was not scanned yet."""
        root = self.source.find(data_dir)
        index = self.read_index(root, data_dir) if root else None
        return index.test_images if index else None

    def is_complete(self, index: Index) -> bool:
        """Whether an index has all that this version stores."""
        return True

    def prepare(self, data_dir: Path, request: PrepareRequest) -> Loaded:
        """Put it into `data_dir`, scan it and decode all images once.

        Folders are linked to, archives are unpacked. If something is broken, an earlier copy stays.

        Raises:
            ConfigError: the options contradict each other.
            DataError: there is no usable copy.
        """
        if request.download and not self.source.downloadable:
            raise ConfigError(
                f"{self.name} cannot be downloaded: bring it with"
                f" `resnet-repro data prepare {self.name} --from PATH`"
            )
        if request.source is not None and not request.source.exists():
            raise DataError(f"{request.source} does not exist")
        try:
            with ExitStack() as scratch:
                copy = self.find_copy(data_dir, request, scratch)
                index = self.make_index(
                    copy.root, data_dir, request.progress, official=copy.official
                )
                self.check_prepared(index, request.progress)
                index = replace(index, root=copy.place())  # only a good copy replaces an earlier
        except OSError as error:
            copy_at = None if request.download else request.source
            raise cannot_prepare(self.name, data_dir, copy_at, error) from error
        self.write_index(index, data_dir)
        return self._opened(index)

    def check_prepared(self, index: Index, progress: Notify) -> None:
        """Check the images of a new copy; see `check_images`."""
        self.check_images(index, progress)

    def verify(self, data_dir: Path, progress: Notify) -> Loaded:
        """Scan it again, compare it with its index and decode every image.

        Raises DataError if it has changed or an image is broken.
        """
        root = self.root(data_dir)
        kept = self.read_index(root, data_dir, outdated=True)
        index = self.make_index(root, data_dir, progress)
        self.refuse_changed(kept, index)
        self.check_images(index, progress)
        self.write_index(index, data_dir)
        return self._opened(index)

    def describe(self, data_dir: Path) -> DatasetStatus:
        """Its status, without scanning it; raises nothing."""
        description = self.source.description
        try:
            root = self.source.find(data_dir)
            if root is None:
                return DatasetStatus.absent(self.name, description, self.packed_note(data_dir))
            index = self.read_index(root, data_dir)
        except (DataError, OSError) as error:
            return DatasetStatus.absent(self.name, description, str(error).splitlines()[0])
        if index is None:
            note = f"will be looked through in {root} when first used"
            return DatasetStatus.absent(self.name, description, note)
        return DatasetStatus.of(description, index.identity, index.images)

    def packed_note(self, data_dir: Path) -> str:
        """A note if there are archives in `data_dir` that are still packed; empty if not."""
        return ""

    def root(self, data_dir: Path) -> Path:
        """The folder. Raises DataError if there is none."""
        root = self.source.find(data_dir)
        if root is None:
            if note := self.packed_note(data_dir):
                raise DataError(f"{self.name} is {note}")
            raise self.source.missing(data_dir)
        return root

    def refuse_changed(self, before: Index | None, now: Index) -> None:
        """Raise DataError if the folder has changed since an earlier index."""
        if before and before.identity.sha256 != now.identity.sha256:
            raise DataError(
                f"{self.name} in {now.root} has changed since it was first used\n"
                f"if that is meant, `resnet-repro data prepare {self.name}` takes it as it is now"
            )

    def linked_copy(self, copy: Path, found: Path, data_dir: Path) -> Copy:
        """A copy that stays where it is: the folder `found` in `copy`, to be linked to.

        Raises DataError if it is not a folder, or something else is in the way.
        """
        if not copy.is_dir():
            raise DataError(f"{copy} is not a folder")
        data_dir.mkdir(parents=True, exist_ok=True)
        target = data_dir / self.source.short
        if not target.is_symlink() and target.resolve() != found.resolve():
            refuse_occupied(target)
        return Copy(found, False, lambda: _link(target, found))

    def _opened(self, index: Index) -> Loaded:
        dataset: Loaded = index.dataset()
        return dataset


def refuse_occupied(target: Path) -> None:
    """Raise DataError if `target` exists and is not an empty folder."""
    if target.is_symlink() or (
        target.exists() and not (target.is_dir() and not any(target.iterdir()))
    ):
        raise DataError(f"{target} is in the way: move it elsewhere, or prepare without --from")


def _link(link: Path, folder: Path) -> Path:
    """Make `link` a link to `folder`; an earlier link is replaced."""
    if not (link.exists() and link.resolve() == folder.resolve()):
        if link.is_dir() and not link.is_symlink():
            link.rmdir()  # it is empty
        new = link.with_name(f".{link.name}-{secrets.token_hex(6)}")
        new.symlink_to(folder.resolve(), target_is_directory=True)
        new.replace(link)
    return link
