"""CIFAR-10 and CIFAR-100: finding a copy in any of its forms, and making the verified cache."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from resnet_repro.base.errors import DataError
from resnet_repro.data.archives import Archive, fetch, md5_of, unpack_archive
from resnet_repro.data.cache import (
    intact_cache,
    is_cache,
    put_back,
    read_cache,
    read_record,
    refuse_other,
    write_cache,
)
from resnet_repro.data.cifar.image_folder import read_image_folder
from resnet_repro.data.cifar.known import KnownCifar
from resnet_repro.data.cifar.versions import (
    read_binary_version,
    read_python_version,
    torchvision_class,
)
from resnet_repro.data.dataset import (
    Dataset,
    DatasetStatus,
    PrepareRequest,
    cannot_prepare,
    not_there,
    prepare_command,
)
from resnet_repro.data.layout import of_system
from resnet_repro.data.scratch import scratch_folder
from resnet_repro.spec.dataset_names import DATASETS

__all__ = ["CifarReader", "read_source"]

MAX_BYTES = 2**30  # of an archive, unpacked; CIFAR-10 is 184 MB

_log = logging.getLogger(__name__)

ReadCopy = Callable[[KnownCifar, Path], Dataset]


class CifarReader:
    """CIFAR-10 or CIFAR-100 in the table of data sets; prepared, it is the cache `DATA/NAME`."""

    downloadable = True

    def __init__(self, known: KnownCifar) -> None:
        self.known, self.name = known, known.name
        train, test = DATASETS[known.name].counts
        self.description = (
            f"{known.title}: {train:,} training and {test:,} test images of 32x32 pixels in "
            f"{len(known.classes)} classes"
        )

    def load(self, data_dir: Path, should_stop: Callable[[], bool] = lambda: False) -> Dataset:
        """Open the cache, or make it from a copy in `data_dir`; too quick to be stopped."""
        put_back(self.name, data_dir)
        if (data_dir / self.name).exists():
            return read_cache(self.name, data_dir / self.name)
        return self._prepare(data_dir, self._source(data_dir), replace=False)

    def prepare(self, data_dir: Path, request: PrepareRequest) -> Dataset:
        """Make the cache from the user's copy, a download, or a copy in `data_dir`.

        Without the first two, a cache that is intact stays.
        """
        source = request.source
        if source is None:
            put_back(self.name, data_dir)
            kept = intact_cache(self.name, data_dir / self.name)
            if kept is not None and (kept.identity.official or not request.download):
                _log.info(f"{self.name} is prepared already in {data_dir / self.name}")
                return kept
            if not request.download:
                source = self._source(data_dir)
        return self._prepare(data_dir, source, replace=True)

    def verify(self, data_dir: Path) -> Dataset:
        """Open the cache, which compares every byte with its checksums."""
        put_back(self.name, data_dir)
        if not (data_dir / self.name).exists():
            source = self._source(data_dir)
            prepare = prepare_command(self.name, data_dir)
            raise DataError(f"{self.name} is not prepared yet: {prepare} does it, from {source}")
        return read_cache(self.name, data_dir / self.name)

    def describe(self, data_dir: Path) -> DatasetStatus:
        """Its status, from the cache's record; raises nothing."""
        note = ""
        try:
            if (data_dir / self.name).exists():
                record = read_record(self.name, data_dir / self.name)
                identity = record.identity
                return DatasetStatus.of(self.description, identity, record.images)
            source = _find_source(self.known, data_dir)
            if source is not None:
                note = f"will be prepared from {source} when first used"
        except (DataError, OSError) as error:
            note = str(error).splitlines()[0]
        return DatasetStatus(self.name, self.description, note=note)

    def _prepare(self, data_dir: Path, source: Path | None, *, replace: bool) -> Dataset:
        """Make the cache from the copy at `source`, or from a download if that is None."""
        try:
            refuse_other(self.name, data_dir / self.name)  # before anything is fetched
            data_dir.mkdir(parents=True, exist_ok=True)
            if source is None:
                found = _read_download(self.known, data_dir)
            else:
                found = read_source(self.known, source, data_dir)
            _log.info(f"writing {data_dir / self.name}")
            return write_cache(found, data_dir, replace=replace)
        except OSError as error:
            copy = source if replace else data_dir  # where `load` found it
            raise cannot_prepare(self.name, data_dir, copy, error) from error

    def _source(self, data_dir: Path) -> Path:
        """The copy in `data_dir` to prepare it from. Raises DataError if there is none."""
        source = _find_source(self.known, data_dir)
        if source is None:
            what = f"{self.known.title} in {data_dir}"
            raise not_there(self.name, what, data_dir, downloadable=True)
        return source


def _find_source(known: KnownCifar, data_dir: Path) -> Path | None:
    """A copy that is in `data_dir` or is that folder; verifiable forms first.

    Folders of images are not searched for: users have to name them.
    """
    found = _find_batches(known, data_dir)
    if found is not None:
        return found[0]
    return next((data_dir / name for name in known.archives if (data_dir / name).is_file()), None)


def read_source(known: KnownCifar, path: Path, data_dir: Path) -> Dataset:
    """Read the copy of CIFAR-10 or CIFAR-100 at `path`, whatever its form.

    `path` is a folder with the official files (python or binary version), a cache prepared
    elsewhere, the parent of one of these, a folder of images `train/<class>/*` and
    `test/<class>/*`, or a tar file of one of them.
    Archives are unpacked in `data_dir`. Raises DataError if `path` is none of these or another data
    set.
    """
    if path.is_dir():
        found = _find_copy(known, path)
        if found is None:
            found_archive = _find_source(known, path)
            if found_archive is None:
                raise _not_recognised(known, path)
            return read_source(known, found_archive, data_dir)
        folder, read = found
        _log.info(f"reading {folder}")
        return read(known, folder)
    if not path.exists():
        raise DataError(f"{path} does not exist")
    return _read_archive(known, path, data_dir)


def _read_download(known: KnownCifar, data_dir: Path) -> Dataset:
    """Download the official python version into `data_dir`, unless it is there, and read it.

    Raises DataError if the network or the server fails, or the download is not the official
    archive.
    """
    official = torchvision_class(known)
    archive = fetch(Archive(official.url, official.tgz_md5), data_dir, known.name)
    found = _read_archive(known, archive, data_dir)
    return replace(found, identity=replace(found.identity, source="download"))


def _find_copy(known: KnownCifar, folder: Path) -> tuple[Path, ReadCopy] | None:
    """(The folder of a copy, `folder` itself or one in it; the function that reads it)."""
    if found := _find_batches(known, folder):
        return found
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        return folder, read_image_folder
    for cache in (folder, folder / known.name):
        if is_cache(cache):
            return cache, _read_prepared
    return None


def _read_prepared(known: KnownCifar, cache: Path) -> Dataset:
    """The cache of another data folder, which keeps its identity."""
    return read_cache(known.name, cache)


def _find_batches(known: KnownCifar, folder: Path) -> tuple[Path, ReadCopy] | None:
    """`_find_copy` for the official versions only."""
    for candidate in (folder, folder / known.python_folder, folder / known.binary_folder):
        if any((candidate / name).is_file() for name in known.files):
            return candidate, read_python_version
        if any((candidate / f"{name}.bin").is_file() for name in known.files):
            return candidate, read_binary_version
    return None


def _read_archive(known: KnownCifar, archive: Path, data_dir: Path) -> Dataset:
    _log.info(f"unpacking {archive}")
    with scratch_folder(data_dir, "unpacked") as folder:
        unpack_archive(archive, folder, MAX_BYTES)
        inside = [p for p in folder.iterdir() if p.is_dir() and not of_system(p.name)]
        found = _find_copy(known, folder)
        if found is None and len(inside) == 1:  # all in one folder, as archives often are
            found = _find_copy(known, inside[0])
        if found is None:
            raise _not_recognised(known, archive)
        content_folder, read = found
        source = read(known, content_folder)
    if read is read_binary_version and md5_of(archive) == known.binary_md5:
        return replace(source, identity=replace(source.identity, official=True, note=""))
    return source


def _not_recognised(known: KnownCifar, path: Path) -> DataError:
    return DataError(
        f"no {known.title} recognised in {path}: expected {known.python_folder},"
        f" {known.binary_folder}, train/ and test/ with a folder of images per class, a tar file"
        f" of one of them, or another data folder's {known.name}"
    )
