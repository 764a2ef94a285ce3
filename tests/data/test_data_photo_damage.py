"""Photographs that change in place, or an index of them that is damaged, never pass unnoticed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_up_photos import WritePhotos, load_photos

from resnet_repro.base.errors import DataError
from resnet_repro.data import datasets, folder_index
from resnet_repro.data.npz import read_npz
from resnet_repro.data.photos.in_memory import hold
from resnet_repro.data.photos.photos import FilePhotos

TRAIN, VAL = "train/bee/train-bee-1.bmp", "val/ant/val-ant-0.bmp"
CHANGED = (
    r"^(train/bee/train-bee-1|val/ant/val-ant-0)\.bmp: damaged, or changed .*\n"
    r".*data prepare DATASET"
)


@pytest.fixture
def folder(write_photos: WritePhotos) -> Path:
    """Photographs without checksums of their own: any bit may change, and they decode."""
    return write_photos(suffix="bmp")


def index_of(folder: Path) -> Path:
    (path,) = (folder.parent / ".photographs").glob("*.npz")
    return path


def flip(path: Path) -> None:
    """Change one pixel a little, and no time stamp."""
    content, status = bytearray(path.read_bytes()), path.stat()
    content[-40] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


@pytest.mark.parametrize("change", [flip, append])
@pytest.mark.parametrize("name", [TRAIN, VAL])
@pytest.mark.parametrize("held", [True, False])
def test_a_file_that_changes_in_place_is_noticed(
    folder: Path, change: Callable[[Path], None], name: str, held: bool
) -> None:
    load_photos(folder, folder.parent)
    change(folder / name)
    dataset = load_photos(folder, folder.parent)
    part = dataset.train if name == TRAIN else dataset.test
    use = (lambda: hold(part)) if held else lambda: [part.pixels(i) for i in range(len(part))]
    with pytest.raises(DataError, match=CHANGED):
        use()
    with pytest.raises(DataError, match=CHANGED):
        part.some(np.arange(len(part))[::-1]).pixels(list(part.names)[::-1].index(name))
    datasets.prepare("folder:photos", folder.parent, folders={"photos": folder})
    assert hold(load_photos(folder, folder.parent).train) is not None  # as it is now


def test_of_huge_data_sets_the_sizes_count(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_index, "CONTENTS_LIMIT", 0)
    load_photos(folder, folder.parent)
    append(folder / TRAIN)
    with pytest.raises(DataError, match=CHANGED):
        hold(load_photos(folder, folder.parent).train)


def test_no_flipped_bit_of_an_index_changes_the_data_set(folder: Path) -> None:
    """It is made anew where it is damaged."""
    dataset = load_photos(folder, folder.parent)
    path = index_of(folder)
    content = path.read_bytes()
    for bit in range(0, 8 * len(content), 97):
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        found = load_photos(folder, folder.parent)
        assert found.identity == dataset.identity
        assert found.classes == dataset.classes
        for ours, theirs in ((found.train, dataset.train), (found.test, dataset.test)):
            assert ours.names == theirs.names
            assert np.array_equal(ours.labels, theirs.labels)
            assert isinstance(ours, FilePhotos)
            assert ours.contents is not None


@pytest.mark.parametrize("kind", ["fifo", "device", "bomb"])
def test_an_index_that_is_no_file_is_made_anew(
    folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = load_photos(folder, folder.parent).identity
    path = index_of(folder)
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        monkeypatch.setattr("resnet_repro.data.npz.LARGEST", 2**20)
        with path.open("wb") as file:
            np.savez_compressed(file, header=np.zeros(2**20 + 1, np.uint8))
    assert load_photos(folder, folder.parent).identity == identity
    assert path.is_file()


def without_contents(folder: Path) -> None:
    """Make the index what earlier versions kept."""
    path = index_of(folder)
    arrays = read_npz(path)
    assert arrays is not None
    del arrays["contents"]
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def test_an_index_of_an_earlier_version_is_checked_and_completed(folder: Path) -> None:
    identity = load_photos(folder, folder.parent).identity
    without_contents(folder)
    assert load_photos(folder, folder.parent).identity == identity
    arrays = read_npz(index_of(folder))
    assert arrays is not None
    assert arrays["contents"].shape == (10, 32)
    without_contents(folder)
    flip(folder / TRAIN)
    assert load_photos(folder, folder.parent).identity.sha256 != identity.sha256
