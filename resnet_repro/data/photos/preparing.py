"""Preparing, opening and checking data sets of photographs."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from resnet_repro.base.errors import ConfigError, DataError
from resnet_repro.data.dataset import DatasetStatus, cannot_prepare
from resnet_repro.data.layout import has_parts
from resnet_repro.data.photos.index import PhotoIndex, make_index, read_index, write_index
from resnet_repro.data.photos.photos import PhotoDataset, Photos
from resnet_repro.data.photos.source import PhotoSource, Progress, refuse_occupied
from resnet_repro.data.photos.workers import map_photos

__all__ = ["PhotoReader", "check_photos", "link_folder"]

_log = logging.getLogger(__name__)


class _Copy(NamedTuple):
    """A copy that is checked before it is put in its place."""

    root: Path  # with train and val
    official: bool  # from archives with the official checksums
    place: Callable[[], Path]  # puts it into the data folder; returns its root there


class PhotoReader:
    """A data set of photographs, stored as a folder of files and an index of them."""

    def __init__(self, source: PhotoSource) -> None:
        self.source, self.name = source, source.name

    def load(self, data_dir: Path) -> PhotoDataset:
        """Open it; the first time, scan its folder.

        Raises DataError if it is missing or its folder is not one of photographs.
        """
        root = self._root(data_dir)
        index = read_index(self.name, root, data_dir)
        if index is None or (index.contents is None and index.hashes_contents):
            kept = index  # by an earlier version, which kept only the hash of all contents together
            index = self._look_through(root, data_dir, _log.info)
            if kept and kept.identity.sha256 != index.identity.sha256:
                raise self._changed(root)
            write_index(index, data_dir)
        return index.dataset()

    def test_images(self, data_dir: Path) -> int | None:
        """The number of photographs for testing; None if its folder was not scanned yet."""
        root = self.source.find(data_dir)
        index = read_index(self.name, root, data_dir) if root else None
        return len(index.scan.val.names) if index else None

    def prepare(
        self,
        data_dir: Path,
        source: Path | None,
        *,
        download: bool,
        size: str,
        progress: Progress,
    ) -> PhotoDataset:
        """Put it into `data_dir` and scan it.

        Folders are linked to, archives are unpacked. Unless there are too many, all photographs are
        decoded once to find broken ones; if there is one, an earlier copy stays.

        Raises:
            ConfigError: the options contradict each other.
            DataError: there is no usable copy.
        """
        if download and not self.source.downloadable:
            raise ConfigError(
                f"{self.name} cannot be downloaded: bring it with"
                f" `resnet-repro data prepare {self.name} --from PATH`"
            )
        try:
            with ExitStack() as scratch:
                if source is None:
                    root, source = self._found(data_dir, size if download else None, progress)
                    copy = _Copy(root, False, lambda: root)
                if source is not None:
                    copy = self._bring(source, data_dir, progress, scratch)
                index = self._look_through(copy.root, data_dir, progress, official=copy.official)
                if index.hashes_contents:
                    _check(index, progress)
                else:
                    progress(
                        f"`resnet-repro data verify {self.name}` decodes every image, to find"
                        " broken ones"
                    )
                index = replace(index, root=copy.place())  # only a good copy replaces an earlier
        except OSError as error:
            copy_at = None if download else source
            raise cannot_prepare(self.name, data_dir, copy_at, error) from error
        write_index(index, data_dir)
        return index.dataset()

    def verify(self, data_dir: Path, progress: Progress) -> PhotoDataset:
        """Scan it again, compare it with its index and decode every image.

        Raises DataError if it has changed or an image is broken.
        """
        root = self._root(data_dir)
        kept = read_index(self.name, root, data_dir, outdated=True)
        index = self._look_through(root, data_dir, progress)
        if kept and kept.identity.sha256 != index.identity.sha256:
            raise self._changed(root)
        _check(index, progress)
        write_index(index, data_dir)
        return index.dataset()

    def describe(self, data_dir: Path) -> DatasetStatus:
        """Its status, without scanning it; raises nothing."""
        description = self.source.description
        try:
            root = self.source.find(data_dir)
            if root is None:
                packed = self.source.find_packed(data_dir)
                note = f"still packed: {self._unpacks}" if packed else ""
                return DatasetStatus.absent(self.name, description, note)
            index = read_index(self.name, root, data_dir)
        except (DataError, OSError) as error:
            return DatasetStatus.absent(self.name, description, str(error).splitlines()[0])
        if index is None:
            note = f"will be looked through in {root} when first used"
            return DatasetStatus.absent(self.name, description, note)
        return DatasetStatus.of(description, index.identity, index.images)

    @property
    def _unpacks(self) -> str:
        return f"`resnet-repro data prepare {self.name}` unpacks it"

    def _root(self, data_dir: Path) -> Path:
        root = self.source.find(data_dir)
        if root is None:
            if self.source.find_packed(data_dir) is not None:
                raise DataError(f"{self.name} is still packed: {self._unpacks}")
            raise self.source.missing(data_dir)
        return root

    def _look_through(
        self, root: Path, data_dir: Path, progress: Progress, *, official: bool = False
    ) -> PhotoIndex:
        return make_index(
            self.name,
            root,
            self.source.source(root),
            official=official,
            official_counts=self.source.official_counts,
            before=read_index(self.name, root, data_dir, outdated=True),
            progress=progress,
        )

    def _changed(self, root: Path) -> DataError:
        return DataError(
            f"{self.name} in {root} has changed since it was first used\n"
            f"if that is meant, `resnet-repro data prepare {self.name}` takes it as it is now"
        )

    def _found(
        self, data_dir: Path, download: str | None, progress: Progress
    ) -> tuple[Path, Path | None]:
        """(The folder in `data_dir`, the archive to unpack if the folder does not exist yet)."""
        if download is not None:
            return self.source.download(data_dir, download, progress)
        packed = None if self.source.find(data_dir) else self.source.find_packed(data_dir)
        return (data_dir, packed) if packed else (self._root(data_dir), None)

    def _bring(self, source: Path, data_dir: Path, progress: Progress, scratch: ExitStack) -> _Copy:
        """The copy at `source`; archives are unpacked into a folder that `scratch` removes."""
        if not source.exists():
            raise DataError(f"{source} does not exist")
        data_dir.mkdir(parents=True, exist_ok=True)
        root, packed = self.source.locate(source)
        if packed:
            unpacked = self.source.unpacked(root, data_dir, progress)
            folder, official = scratch.enter_context(unpacked)
            target = data_dir / folder.name
            if target.resolve() != source.resolve() or has_parts(target):
                refuse_occupied(target)
            return _Copy(folder, official, lambda: _move(folder, target))
        if not source.is_dir():
            raise DataError(f"{source} is not a folder")
        target = data_dir / self.source.short
        if not target.is_symlink() and target.resolve() != root.resolve():
            refuse_occupied(target)
        return _Copy(root, False, lambda: link_folder(target, root))


def link_folder(link: Path, folder: Path) -> Path:
    """Make `link` a link to `folder`; an earlier link is replaced."""
    if not (link.exists() and link.resolve() == folder.resolve()):
        if link.is_dir() and not link.is_symlink():
            link.rmdir()  # it is empty
        new = link.with_name(f".{link.name}-{secrets.token_hex(6)}")
        new.symlink_to(folder.resolve(), target_is_directory=True)
        new.replace(link)
    return link


def _move(folder: Path, target: Path) -> Path:
    """Move an unpacked folder to `target`, which may be a folder already."""
    if target.is_dir():
        for part in sorted(folder.iterdir()):
            part.rename(target / part.name)
    else:
        folder.rename(target)
    return target


def _check(index: PhotoIndex, progress: Progress) -> None:
    dataset = index.dataset()
    check_photos(index.root, (dataset.train, dataset.test), progress)


def check_photos(root: Path, parts: Sequence[Photos], progress: Progress) -> None:
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
