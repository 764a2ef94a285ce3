"""Data sets stored as a folder of files and an index of them: opening, preparing and checking."""

from __future__ import annotations

import hashlib
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from resnet_repro.base.errors import ConfigError, DataError
from resnet_repro.data.dataset import (
    DatasetStatus,
    Identity,
    PrepareRequest,
    cannot_prepare,
    data_command,
    not_there,
    prepare_command,
)
from resnet_repro.data.folder_index import (
    CONTENTS_LIMIT,
    AnyPart,
    FolderIndex,
    Scan,
    hash_contents,
    load_index,
    store_index,
)
from resnet_repro.data.photos.photos import Photos
from resnet_repro.data.photos.workers import map_photos
from resnet_repro.data.scratch import link_to, refuse_occupied
from resnet_repro.spec.dataset_names import DATASETS

__all__ = ["Copy", "FolderReader"]

_log = logging.getLogger(__name__)

Loaded = TypeVar("Loaded")


class Copy(NamedTuple):
    """A copy that is checked before it is put in its place."""

    root: Path
    official: bool  # from archives with the official checksums
    target: Path  # its root once it is in its place; for a link, where that leads
    place: Callable[[], None]  # puts it into the data folder


class FolderReader(ABC, Generic[AnyPart, Loaded]):
    """A data set in the table of data sets, stored as a folder of files and an index of them."""

    name: str
    description: str
    short: str  # the name of its folder in the data folder
    folder: Path | None = None  # where the command line says it is
    downloadable = False  # whether `prepare` can fetch the official copy
    images_in_words: str  # "photographs"

    index_folder: str  # in the data folder
    index_format: int
    index_keys: tuple[str, str]  # of the two parts, in the index
    part: type[AnyPart]

    def __init__(self, name: str, folder: Path | None = None) -> None:
        """`folder` is where the command line says it is; by default it is in the data folder."""
        self.name, self.short, self.folder = name, name.rpartition(":")[2], folder

    @abstractmethod
    def scan(self, root: Path, should_stop: Callable[[], bool]) -> Scan[AnyPart]:
        """List or read the files.

        Raises:
            DataError: the folder is not one of this data set.
            Stopped: `should_stop` said so.
        """

    @abstractmethod
    def summary(self, scan: Scan[AnyPart]) -> str:
        """How many images of what there are, for the identity's note."""

    @abstractmethod
    def sha256(self, scan: Scan[AnyPart], contents: NDArray[np.uint8] | None) -> str:
        """The identity's SHA-256 of what was scanned, and of the files' `contents` if hashed."""

    @abstractmethod
    def dataset(self, index: FolderIndex[AnyPart]) -> Loaded:
        """The data set, its images still in their files."""

    @abstractmethod
    def photos(self, index: FolderIndex[AnyPart]) -> tuple[Photos, Photos]:
        """Its images alone, to train and to test on."""

    def has(self, folder: Path) -> bool:
        """Whether a folder is one of this data set, as far as its layout tells."""
        return folder.is_dir()

    def find(self, data_dir: Path) -> Path | None:
        """The folder; None if there is none."""
        path = self.folder or data_dir / self.short
        return path if self.has(path) else None

    def find_packed(self, place: Path) -> Path | None:
        """An archive, or a folder of archives, at `place` that is still to be unpacked."""
        return None

    def locate(self, copy: Path) -> Path:
        """The folder within a user's copy."""
        inner = copy / self.short
        return inner if not self.has(copy) and self.has(inner) else copy

    def packed(self, data_dir: Path, request: PrepareRequest) -> list[Path]:
        """What `unpacked` is to unpack: brought, downloaded or in `data_dir`; may be nothing."""
        found = self.find_packed(request.source) if request.source else None
        return [found] if found else []

    def unpacked(
        self, packed: list[Path], data_dir: Path, request: PrepareRequest
    ) -> AbstractContextManager[Copy]:
        """A copy from what `packed` found; at the end it is removed unless put in its place."""
        raise NotImplementedError

    def is_official(self, data_dir: Path) -> bool:
        """Whether the folder in `data_dir` can be shown to be the official copy."""
        return False

    def is_current(self, index: FolderIndex[AnyPart]) -> bool:
        """Whether the folder is unchanged, and this version scans it in the same way."""
        return index.is_current()

    def source(self, root: Path) -> str:
        """`Identity.source` of the folder `root`; without paths of the machine."""
        return "folder"

    def missing(self, data_dir: Path) -> DataError:
        """The error if there is neither a folder nor an archive."""
        if self.name in DATASETS:
            what = f"{DATASETS[self.name].title} in {data_dir}"
            return not_there(self.name, what, data_dir, downloadable=self.downloadable)
        kind = self.name.partition(":")[0]
        return DataError(
            f"no folder {self.folder or data_dir / self.short}: {self.name} is looked for there;"
            f" on the command line `--dataset {kind}:PATH` says where it is"
        )

    def load(self, data_dir: Path, should_stop: Callable[[], bool] = lambda: False) -> Loaded:
        """Open it; the first time, scan its folder.

        Raises:
            DataError: it is missing, or its folder is not one of this data set.
            Stopped: `should_stop`, asked while it is scanned, said so.
        """
        root = self._root(data_dir)
        index = self._read_index(root, data_dir)
        if index is None:
            index = self._make_index(root, data_dir, should_stop=should_stop)
            self._write_index(index, data_dir)
        return self.dataset(index)

    def test_images(self, data_dir: Path) -> int | None:
        """The number of images for testing; None if its folder was not scanned yet."""
        root = self.find(data_dir)
        index = self._read_index(root, data_dir) if root else None
        return index.scan.counts[1] if index else None

    def prepare(self, data_dir: Path, request: PrepareRequest) -> Loaded:
        """Put it into `data_dir`, scan it and decode its images once, unless they are too many.

        Folders are linked to, archives are unpacked. If something is broken, an earlier copy stays.

        Raises:
            ConfigError: the options contradict each other.
            DataError: there is no usable copy.
        """
        if request.download and not self.downloadable:
            raise ConfigError(
                f"{self.name} cannot be downloaded: bring it with "
                + prepare_command(self.name, data_dir, "--from PATH")
            )
        if request.source is not None and not request.source.exists():
            raise DataError(f"{request.source} does not exist")
        if request.source is None and not request.download and not self.find(data_dir):
            request = request._replace(source=self.find_packed(data_dir))
        try:
            with ExitStack() as scratch:
                copy = self._find_copy(data_dir, request, scratch)
                index = self._make_index(copy.root, data_dir, copy.official)
                if index.contents is not None:
                    self._check_images(index)
                else:
                    verify = data_command("verify", self._as_given, data_dir)
                    _log.info(f"{verify} decodes every image, to find broken ones")
                index = replace(index, root=copy.target)
                self._write_index(index, data_dir)  # first, as only it tells an official copy
                copy.place()  # only a good copy replaces an earlier
        except OSError as error:
            copy_at = None if request.download else request.source
            raise cannot_prepare(self.name, data_dir, copy_at, error) from error
        return self.dataset(index)

    def verify(self, data_dir: Path) -> Loaded:
        """Scan it again, compare it with its index and decode every image.

        Raises DataError if it has changed or an image is broken.
        """
        root = self._root(data_dir)
        before = self._read_index(root, data_dir, outdated=True)
        index = self._make_index(root, data_dir)
        if before and before.identity.sha256 != index.identity.sha256:
            raise DataError(
                f"{self.name} in {root} has changed since it was first used\n"
                "if that is meant,"
                f" {prepare_command(self._as_given, data_dir)} takes it as it is now"
            )
        self._check_images(index)
        if not index.scan.is_hashed:
            size = f"{CONTENTS_LIMIT / 2**30:.0f} GiB"
            _log.info(f"over {size}: compared by names and sizes, each image decoded, not compared")
        self._write_index(index, data_dir)
        return self.dataset(index)

    def describe(self, data_dir: Path) -> DatasetStatus:
        """Its status, without scanning it; raises nothing."""
        try:
            root = self.find(data_dir)
            index = self._read_index(root, data_dir) if root else None
            later = f"will be looked through in {root} when first used"
            note = later if root else self._packed_note(data_dir)
        except (DataError, OSError) as error:
            note = str(error).splitlines()[0]
            return DatasetStatus(self.name, self.description, note=note)
        if index is not None:
            return DatasetStatus.of(self.description, index.identity, sum(index.scan.counts))
        return DatasetStatus(self.name, self.description, note=note)

    @property
    def _as_given(self) -> str:
        """What the command line calls it: KIND:PATH if that says where it is."""
        kind = self.name.partition(":")[0]
        return self.name if self.folder is None else f"{kind}:{self.folder}"

    def _root(self, data_dir: Path) -> Path:
        """The folder. Raises DataError if there is none."""
        root = self.find(data_dir)
        if root is None:
            if note := self._packed_note(data_dir):
                raise DataError(f"{self.name} is {note}")
            raise self.missing(data_dir)
        return root

    def _packed_note(self, data_dir: Path) -> str:
        if self.find_packed(data_dir) is None:
            return ""
        return f"still packed: {prepare_command(self.name, data_dir)} unpacks it"

    def _find_copy(self, data_dir: Path, request: PrepareRequest, scratch: ExitStack) -> Copy:
        """The copy to prepare; what is unpacked lies in folders that `scratch` removes."""
        if packed := self.packed(data_dir, request):
            return scratch.enter_context(self.unpacked(packed, data_dir, request))
        if request.source is None:
            root = self._root(data_dir)
            return Copy(root, self.is_official(data_dir), root, lambda: None)
        found = self.locate(request.source)
        if not request.source.is_dir():
            raise DataError(f"{request.source} is not a folder; unpack archives first")
        if not self.has(found) and (zipped := next(request.source.glob("*.zip"), None)):
            raise DataError(f"{zipped} is still packed: unpack it first")
        data_dir.mkdir(parents=True, exist_ok=True)
        target = data_dir / self.short
        if not target.is_symlink() and target.resolve() != found.resolve():
            refuse_occupied(target, usable=self.has(target))
        return Copy(found, False, found, lambda: link_to(target, found))

    def _make_index(
        self,
        root: Path,
        data_dir: Path,
        official: bool = False,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> FolderIndex[AnyPart]:
        """Scan the folder; an unchanged one, moved or not, keeps the identity of its earlier index.

        Raises DataError if it is not one of this data set, or a file cannot be read.
        """
        _log.info(f"looking through {root}, once")
        scan = self.scan(root, should_stop)
        contents = None
        if scan.is_hashed:
            names = [*scan.train.names, *scan.test.names]
            contents = hash_contents(root, names, should_stop)
        sha256 = self.sha256(scan, contents)
        anywhere = scan.is_hashed or root.resolve().is_relative_to(data_dir.resolve())
        identity = None if official else self._known(sha256, root, data_dir, anywhere=anywhere)
        if identity is None:
            note = "; ".join([*([] if official else self._unofficial(scan)), *scan.remarks])
            identity = Identity(self.name, official, sha256, self.source(root), note)
        return FolderIndex(root, identity, contents, scan)

    def _known(self, sha256: str, root: Path, data_dir: Path, *, anywhere: bool) -> Identity | None:
        """The identity in an earlier index of these contents; `anywhere`: in one of any folder.

        A data folder that was moved has indexes of where it was; a folder that is linked to may
        have been prepared in the data folder where it lies.
        """
        places = [at.resolve() for at in (data_dir, root.parent, root.resolve().parent)]
        paths = [self._index_file(root, place) for place in places]
        if anywhere:
            pattern = f"{self.index_folder}/{self._index_name}-*.npz"
            paths += [path for place in places for path in sorted(place.glob(pattern))]
        found = [self._load_index(path, root) for path in dict.fromkeys(paths)]
        known = [index.identity for index in found if index]
        same = [one for one in known if (one.name, one.sha256) == (self.name, sha256)]
        return max(same, key=lambda one: one.official, default=None)

    def _unofficial(self, scan: Scan[AnyPart]) -> Iterator[str]:
        """What is said with the results on a copy that is not known to be the official one."""
        known = DATASETS.get(self.name)
        what = "unofficial copy" if known else f"the user's own {self.images_in_words}"
        yield (
            f"{what}: {self.summary(scan)} from single files, which cannot be checked against"
            " anything official"
        )
        if known and known.counts != scan.counts:
            yield "the official one has {:,} and {:,}".format(*known.counts)
        if not scan.is_hashed:
            yield "told apart from other copies by names and sizes, not contents"

    def _check_images(self, index: FolderIndex[AnyPart]) -> None:
        """Decode every image. Raises DataError that names the first broken one."""
        broken: list[str] = []
        _log.info(f"decoding {sum(index.scan.counts):,} images to find broken ones")
        for photos in self.photos(index):
            for lines in map_photos(_find_broken, photos, "decoded"):
                broken += lines
        for line in broken[1:]:
            _log.info(f"broken: {line}")
        if broken:
            which = "an image is" if len(broken) == 1 else f"{len(broken):,} images are"
            raise DataError(f"{which} broken in {index.root}: {broken[0]}")

    def _index_file(self, root: Path, data_dir: Path) -> Path:
        place = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:8]
        return data_dir / self.index_folder / f"{self._index_name}-{place}.npz"

    @property
    def _index_name(self) -> str:
        return self.name.replace(":", "-")

    def _load_index(self, path: Path, root: Path) -> FolderIndex[AnyPart] | None:
        return load_index(path, root, self.index_format, self.index_keys, self.part)

    def _read_index(
        self, root: Path, data_dir: Path, *, outdated: bool = False
    ) -> FolderIndex[AnyPart] | None:
        """The stored index; None if there is none, or if the folder has changed since.

        With `outdated`, also that of a folder that has changed.
        """
        index = self._load_index(self._index_file(root, data_dir), root)
        try:
            return index if index and (outdated or self.is_current(index)) else None
        except (DataError, OSError, ValueError):  # what it names is gone, or no file's name
            return None

    def _write_index(self, index: FolderIndex[AnyPart], data_dir: Path) -> None:
        """Store an index in the data folder, if that is writable.

        Raises OSError if it is not, and nothing else tells that the copy is official.
        """
        path = self._index_file(index.root, data_dir)
        try:
            store_index(path, index, self.index_format, self.index_keys)
        except OSError as error:
            known = self._known(index.identity.sha256, index.root, data_dir, anywhere=True)
            if index.identity.official and not (known and known.official):
                raise
            _log.info("looked through again each time, since it cannot be kept: %s", error)


def _find_broken(photos: Photos, part: range) -> list[str]:
    """An error message for each photograph that cannot be decoded."""
    broken = []
    for index in part:
        try:
            photos.image(index)
        except DataError as error:
            broken.append(str(error))
    return broken
