"""What was there before a `data prepare` that fails works as it did."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from made_up_photos import WriteImages, WritePhotos, pack_imagenet, serve_imagenette
from packing import pack

from resnet_repro.base.errors import DataError
from resnet_repro.data import datasets, folder_reader
from resnet_repro.data.dataset import Dataset
from resnet_repro.data.photos.photos import PhotoDataset
from resnet_repro.data.scratch import scratch_folder

CLASSES = ("n01440764", "n02102040")
KILLED = """
import os, pathlib, signal
from resnet_repro.data.scratch import scratch_folder

with scratch_folder(pathlib.Path("data"), "unpacked") as folder:
    (folder / "half.JPEG").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
NAMES = ("imagenet", "imagenette", "folder:birds")


def everything(folder: Path) -> Iterator[tuple[str, str | bytes | None]]:
    """What lies in a folder: names, where links lead, contents."""
    for path in sorted(folder.rglob("*")):
        what = str(path.readlink()) if path.is_symlink() else None
        yield str(path.relative_to(folder)), path.read_bytes() if path.is_file() else what


def broken(folder: Path) -> None:
    next(folder.rglob("*.png")).write_bytes(b"oh no")


def without_val(folder: Path) -> None:
    shutil.rmtree(folder / "val")


def with_one_class(folder: Path) -> None:
    for part in ("train", "val"):
        shutil.rmtree(folder / part / CLASSES[0])


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", [broken, without_val, with_one_class, empty, shutil.rmtree])
def test_a_link_stays(
    write_photos: WritePhotos, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    good = datasets.prepare(name, tmp_path / "data", write_photos(CLASSES, name="good"))
    before = dict(everything(tmp_path / "data"))
    damage(wrong := write_photos(CLASSES, name="wrong"))
    with pytest.raises(DataError):
        datasets.prepare(name, tmp_path / "data", wrong)
    assert dict(everything(tmp_path / "data")) == before
    assert datasets.verify(name, tmp_path / "data").identity == good.identity


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_stays(write_photos: WritePhotos, tmp_path: Path, name: str) -> None:
    write_photos(CLASSES, name=f"data/{name.removeprefix('folder:')}")
    good = datasets.prepare(name, tmp_path / "data")
    before = dict(everything(tmp_path / "data"))
    for damage in (broken, lambda folder: None):
        damage(wrong := write_photos(CLASSES, name=f"wrong-{damage.__name__}".strip("<>")))
        with pytest.raises(DataError):
            datasets.prepare(name, tmp_path / "data", wrong)
        assert dict(everything(tmp_path / "data")) == before
    assert datasets.verify(name, tmp_path / "data").identity == good.identity


@pytest.mark.parametrize("name", NAMES)
def test_a_link_is_replaced_by_what_is_good_and_never_missing(
    write_photos: WritePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    datasets.prepare(name, tmp_path / "data", write_photos(CLASSES, name="good"))
    other = write_photos(CLASSES, name="other", train=4)
    for call in ("unlink", "rmdir"):
        monkeypatch.setattr(Path, call, None)
    found = datasets.prepare(name, tmp_path / "data", other)
    assert datasets.load(name, tmp_path / "data").identity == found.identity
    assert (tmp_path / "data" / name.removeprefix("folder:")).resolve() == other.resolve()


@pytest.mark.parametrize("damage", [broken, without_val, with_one_class])
def test_a_bad_archive_of_imagenette_leaves_nothing(
    write_photos: WritePhotos, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    """It would be the one of the largest photographs, which is taken of several."""
    write_photos(CLASSES, name="data/imagenette2-160")
    good = datasets.prepare("imagenette", tmp_path / "data")
    before = dict(everything(tmp_path / "data"))
    damage(wrong := write_photos(CLASSES, name="wrong"))
    archive = pack(wrong, tmp_path / "imagenette2.tgz", "w:gz", "imagenette2")
    with pytest.raises(DataError):
        datasets.prepare("imagenette", tmp_path / "data", archive)
    assert dict(everything(tmp_path / "data")) == before
    assert datasets.load("imagenette", tmp_path / "data").identity == good.identity


def test_a_download_that_is_not_good_leaves_the_folder(
    write_photos: WritePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photos(CLASSES, name="data/imagenette2-160")
    good = datasets.prepare("imagenette", tmp_path / "data")
    broken(wrong := write_photos(CLASSES, name="wrong"))
    serve_imagenette(wrong, monkeypatch)
    with pytest.raises(DataError, match="broken"):
        datasets.prepare("imagenette", tmp_path / "data", download=True, size="320")
    assert not (tmp_path / "data" / "imagenette2-320").exists()
    assert datasets.load("imagenette", tmp_path / "data").identity == good.identity


def test_a_copy_is_not_called_official_if_that_cannot_be_kept(
    write_photos: WritePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but its index tells later that it was."""
    serve_imagenette(write_photos(CLASSES), monkeypatch)
    data = tmp_path / "data"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(folder_reader, "store_index", full)
        with pytest.raises(DataError, match=r"cannot prepare imagenette in .*No space left"):
            datasets.prepare("imagenette", data, download=True, size="320")
        assert not (data / "imagenette2-320").exists()
    datasets.prepare("imagenette", data)  # the archive is there
    monkeypatch.setattr(folder_reader, "store_index", full)
    assert datasets.load("imagenette", data).identity.official
    assert datasets.prepare("imagenette", data).identity.official
    assert datasets.verify("imagenette", data).identity.official


def test_bad_tars_of_imagenet_leave_the_link(
    write_photos: WritePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = datasets.prepare("imagenet", tmp_path / "data", write_photos(CLASSES, name="good"))
    small = write_photos(CLASSES, suffix="JPEG", name="small")
    pack_imagenet(small, tmp_path / "tars", monkeypatch)
    with pytest.raises(DataError, match="in the way"):
        datasets.prepare("imagenet", tmp_path / "data", tmp_path / "tars")
    assert datasets.verify("imagenet", tmp_path / "data").identity == good.identity


def test_tars_with_a_broken_photograph_leave_no_half_of_it(
    write_photos: WritePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = write_photos(CLASSES, suffix="JPEG", name="small")
    next(small.rglob("*.JPEG")).write_bytes(b"oh no")
    pack_imagenet(small, tmp_path / "data" / "imagenet", monkeypatch)
    before = dict(everything(tmp_path / "data"))
    for _ in range(2):
        with pytest.raises(DataError, match="broken"):
            datasets.prepare("imagenet", tmp_path / "data")
        assert dict(everything(tmp_path / "data")) | {".imagenet-unpacking.lock": None} == (
            before | {".imagenet-unpacking.lock": None}
        )


def test_validation_tar_and_devkit_are_enough_to_test_on(
    write_photos: WritePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = write_photos(CLASSES, suffix="JPEG", name="small")
    pack_imagenet(small, tmp_path / "tars", monkeypatch)
    (tmp_path / "tars" / "ILSVRC2012_img_train.tar").unlink()
    found = datasets.prepare("imagenet", tmp_path / "data", tmp_path / "tars")
    assert isinstance(found, PhotoDataset)
    assert (len(found.train), len(found.test), found.classes) == (0, 4, CLASSES)
    assert found.identity.official
    (tmp_path / "tars" / "ILSVRC2012_devkit_t12.tar.gz").unlink()
    (tmp_path / "data").rename(tmp_path / "data before")
    with pytest.raises(DataError, match=r"but not ILSVRC2012_devkit_t12\.tar\.gz: .* tells the"):
        datasets.prepare("imagenet", tmp_path / "data", tmp_path / "tars")


@pytest.fixture
def cifar10(write_images: WriteImages, tmp_path: Path) -> Dataset:
    """A prepared CIFAR-10, of which the source is gone."""
    made = datasets.prepare("cifar10", tmp_path / "data", images := write_images())
    shutil.rmtree(images)
    assert isinstance(made, Dataset)
    return made


def assert_still_there(cifar10: Dataset, tmp_path: Path) -> None:
    assert datasets.verify("cifar10", tmp_path / "data").identity == cifar10.identity
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["cifar10"]


def test_cifar10_stays_when_another_copy_is_bad(
    cifar10: Dataset, write_images: WriteImages, tmp_path: Path
) -> None:
    images = write_images()
    (images / "test" / "cat" / "000.png").write_bytes(b"oh no")
    (tmp_path / "a.tar").write_bytes(b"oh no")
    for source in (images, tmp_path / "a.tar", tmp_path / "nowhere"):
        with pytest.raises(DataError):
            datasets.prepare("cifar10", tmp_path / "data", source)
        assert_still_there(cifar10, tmp_path)


@pytest.mark.parametrize("failing", [0, 1])
def test_cifar10_stays_when_the_disk_fails(
    cifar10: Dataset,
    write_images: WriteImages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing: int,
) -> None:
    """While its files are written, or when the new cache is to take the old one's name."""
    rename, calls = Path.rename, []

    def fail(path: Path, target: Path) -> Path:
        calls.append(target)
        if failing == 0 or (target.name == "cifar10" and "old" in str(calls)):
            calls.clear()
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(DataError, match="Input/output error"):
        datasets.prepare("cifar10", tmp_path / "data", write_images(train=3))
    assert_still_there(cifar10, tmp_path)


def test_what_a_killed_preparation_left_is_removed_by_the_next(
    write_photos: WritePhotos, tmp_path: Path
) -> None:
    """Not what another one still works in."""
    data = tmp_path / "data"
    write_photos(name="data/birds")
    subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, check=False)
    (data / ".download-0123").mkdir()  # of an earlier version, which had no locks
    assert len(list(data.glob(".unpacked-*/half.JPEG"))) == 1
    with scratch_folder(data, "download") as held:
        datasets.prepare("folder:birds", data)
        there = {path.name for path in data.iterdir()}
        assert there == {"birds", ".photographs", held.name, f"{held.name}.lock"}
    assert {path.name for path in data.iterdir()} == {"birds", ".photographs"}
