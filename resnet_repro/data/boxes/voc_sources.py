"""PASCAL VOC's official data, by what the paper trains and tests on, and folders laid out alike."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from resnet_repro.base.errors import DataError
from resnet_repro.data.archives import Archive, fetch, is_unpacked, md5_of, unpack_archive
from resnet_repro.data.boxes.reader import BoxPart, BoxReader
from resnet_repro.data.boxes.voc import CLASSES, ImageSet, find_sets, scan_voc, year_folders
from resnet_repro.data.dataset import PrepareRequest, not_there
from resnet_repro.data.folder_index import Scan
from resnet_repro.data.folder_reader import Copy
from resnet_repro.data.scratch import scratch_folder
from resnet_repro.spec.dataset_names import DATASETS

__all__ = ["DEVKIT", "OwnVoc", "Voc"]

_log = logging.getLogger(__name__)

DEVKIT = "VOCdevkit"
_FROM = "https://thor.robots.ox.ac.uk/pascal/VOC"
_ARCHIVES = {  # by year, with the checksums that torchvision lists as well
    "VOC2007": [
        Archive(f"{_FROM}/voc2007/VOCtrainval_06-Nov-2007.tar", "c52e279531787c972589f7e41ab4ae64"),
        Archive(f"{_FROM}/voc2007/VOCtest_06-Nov-2007.tar", "b6e924de25625d8de591ea690078ad9f"),
    ],
    "VOC2012": [
        Archive(f"{_FROM}/voc2012/VOCtrainval_11-May-2012.tar", "6cd6e144f989b92b3379bac3b3de84fd"),
    ],
}
MAX_BYTES = 2**32  # of an archive, unpacked; the largest has 2 GB
_NOTHING_TO_TEST_ON = (
    "nothing to test on: the boxes of VOC 2012's test images are with VOC's evaluation server alone"
)


class Voc(BoxReader):
    """Lists of the official data: `voc07+12` and the like."""

    short = DEVKIT
    downloadable = True

    def __init__(self, name: str, train: tuple[str, ...], test: tuple[str, ...]) -> None:
        """`train` and `test` are lists, "VOC2007 trainval"."""
        self.name = name
        self.train, self.test = ([ImageSet(*one.split()) for one in sets] for sets in (train, test))
        counts = DATASETS[name].counts
        tested = f"{counts[1]:,} to test on ({' + '.join(test)})" if test else "none to test on"
        self.description = (
            f"PASCAL VOC, 20 classes: {counts[0]:,} photographs ({' + '.join(train)}), {tested}"
        )

    @property
    def years(self) -> list[str]:
        """The folders that it needs."""
        return sorted({one.year for one in (*self.train, *self.test)})

    def has(self, folder: Path) -> bool:
        return not self.lacks(folder)

    def lacks(self, folder: Path) -> list[str]:
        """The years that a folder does not have, or lists of a year: "VOC2012", "VOC2007 test"."""
        there = year_folders(folder)
        missing = [
            str(one) if one.year in there else one.year
            for one in (*self.train, *self.test)
            if not (folder / one.list_file).is_file()
        ]
        return sorted(set(missing))

    def find_packed(self, place: Path) -> Path | None:
        """The folder itself, if the official archives of all that it lacks lie in it."""
        lacks = self.lacks(place / DEVKIT)
        if not lacks or not _ARCHIVES.keys() >= set(lacks):  # half of a year is in its way
            return None
        archives = (archive for year in lacks for archive in _ARCHIVES[year])
        return place if all((place / archive.name).is_file() for archive in archives) else None

    def locate(self, copy: Path) -> Path:
        inner = copy / self.short
        return inner if year_folders(inner) and not year_folders(copy) else copy

    def scan(self, root: Path, should_stop: Callable[[], bool]) -> Scan[BoxPart]:
        scan = scan_voc(root, self.train, self.test, should_stop, CLASSES)
        return scan if self.test else replace(scan, remarks=(*scan.remarks, _NOTHING_TO_TEST_ON))

    def source(self, root: Path) -> str:
        return DEVKIT

    def missing(self, data_dir: Path) -> DataError:
        return self._missing(data_dir / DEVKIT, data_dir)

    def _missing(self, folder: Path, data_dir: Path) -> DataError:
        """What a folder, which is or will be that in the data folder, does not have."""
        lacks = " and ".join(self.lacks(folder))
        what = f"{lacks} in {data_dir / DEVKIT}"
        return not_there(self.name, what, data_dir, downloadable=True)

    def packed(self, data_dir: Path, request: PrepareRequest) -> list[Path]:
        """Archives, or a folder that has years which the one in `data_dir` lacks."""
        source = request.source
        if request.download:
            return self._download(data_dir)
        if source is None or not source.is_dir():
            return [source] if source else []
        copy, devkit = self.locate(source), data_dir / DEVKIT
        if not self.has(copy) and (lying := self._lying_in(source, data_dir)):
            return lying
        joins = not devkit.is_symlink() and year_folders(devkit) and self.lacks(devkit)
        return [copy] if joins else []

    def is_official(self, data_dir: Path) -> bool:
        return all(_is_official(data_dir, year) for year in self.years)

    def _lying_in(self, folder: Path, data_dir: Path) -> list[Path]:
        """The official archives in a folder, of the years that are needed and not there yet."""
        there = year_folders(data_dir / DEVKIT)
        years = [year for year in self.years if year not in there] or self.years
        paths = (folder / archive.name for year in years for archive in _ARCHIVES[year])
        return [path for path in paths if path.is_file()]

    def _download(self, data_dir: Path) -> list[Path]:
        """The archives of the years that are not there yet."""
        there, lacks = year_folders(data_dir / DEVKIT), self.lacks(data_dir / DEVKIT)
        for year in set(self.years) & set(there):
            if missing := [text for text in lacks if text.startswith(year)]:
                what = f"{data_dir / DEVKIT / year} is in the way: without {', '.join(missing)}"
                raise DataError(f"{what} it is not whole; move it elsewhere")
            _log.info(f"{data_dir / DEVKIT / year} is there already")
        if not set(self.years) <= set(there):
            _refuse_link(data_dir / DEVKIT)
        return [
            fetch(archive, data_dir, self.name)
            for year in self.years
            if year not in there
            for archive in _ARCHIVES[year]
        ]

    @contextmanager
    def unpacked(
        self, packed: list[Path], data_dir: Path, request: PrepareRequest
    ) -> Iterator[Copy]:
        """Unpack archives, link to missing years of a folder; years that are there already stay."""
        devkit = data_dir / DEVKIT
        _refuse_link(devkit)
        data_dir.mkdir(parents=True, exist_ok=True)
        with scratch_folder(data_dir, "unpacked") as scratch:
            root = scratch / DEVKIT
            root.mkdir()
            for path in packed:
                if path.is_dir():
                    lacking = {text.partition(" ")[0] for text in self.lacks(devkit)}
                    for year in lacking.intersection(year_folders(path)):
                        (root / year).symlink_to((path / year).resolve(), target_is_directory=True)
                else:
                    _log.info(f"unpacking {path}")
                    unpack_archive(path, scratch, MAX_BYTES)
                    if not year_folders(root):
                        raise DataError(f"no {DEVKIT} with VOC2007 or another year in {path}")
            known = {archive.md5 for archives in _ARCHIVES.values() for archive in archives}
            official = request.download or all(
                path.is_file() and md5_of(path) in known for path in packed
            )
            years = year_folders(root)
            for year in year_folders(devkit):
                if year in years:
                    raise DataError(f"{devkit / year} is in the way: move it elsewhere")
                (root / year).symlink_to((devkit / year).resolve(), target_is_directory=True)
                if official and year in self.years:
                    official = _is_official(data_dir, year)
            if not self.has(root):
                raise self._missing(root, data_dir)

            def place() -> None:
                devkit.mkdir(exist_ok=True)
                for year in years:
                    (root / year).rename(devkit / year)

            yield Copy(root, official, devkit, place)


class OwnVoc(BoxReader):
    """`voc:NAME`, a folder of the user's own that is laid out like the development kit."""

    description = "images with boxes of your own, laid out like VOC's development kit"

    def scan(self, root: Path, should_stop: Callable[[], bool]) -> Scan[BoxPart]:
        return scan_voc(root, *find_sets(root), should_stop)


def _refuse_link(devkit: Path) -> None:
    """Raise DataError if the folder in the data folder is a link, and so somebody else's."""
    if devkit.is_symlink():
        raise DataError(f"{devkit} is a link: remove it to unpack archives there")


def _is_official(data_dir: Path, year: str) -> bool:
    """Whether a year in `data_dir` is what the official archives, which lie there, unpack to."""
    paths = {data_dir / archive.name: archive.md5 for archive in _ARCHIVES[year]}
    if not all(path.is_file() for path in paths):
        return False
    _log.info(f"comparing {data_dir / DEVKIT / year} with the official archives")
    return all(
        md5_of(path) == md5 and is_unpacked(path, data_dir, MAX_BYTES)
        for path, md5 in paths.items()
    )
