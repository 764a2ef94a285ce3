"""Archives made to fill the disk or the memory, or never to end, are refused soon."""

from __future__ import annotations

import gzip
import io
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_up_photos import WritePhotos

from resnet_repro.base.errors import DataError
from resnet_repro.data import datasets
from resnet_repro.data.archives import unpack_archive
from resnet_repro.data.cifar.reader import MAX_BYTES

SOON = 10.0  # seconds; refusing takes far less than one, machines have other work


@pytest.fixture(autouse=True)
def soon() -> Iterator[None]:
    """What a test does ends soon."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < SOON


def refused(archive: Path, why: str) -> None:
    folder = archive.parent / "data"
    with pytest.raises(DataError, match=why) as caught:
        datasets.prepare("cifar10", folder, archive)
    assert caught.value.exit_code == 3
    assert not list(folder.iterdir())


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_header_of_gigabytes(tmp_path: Path, kind: bytes) -> None:
    archive = tmp_path / "a.tar.gz"
    with gzip.open(archive, "wb", 1) as file:
        file.write(header("x", 8_000_000_000, kind))
        file.write(bytes(3_000_000))
    refused(archive, r"a\.tar\.gz: a member's header has more than 262,144 bytes")


@pytest.mark.parametrize("size", [MAX_BYTES + 1, 8**11 - 1, 10**15])
def test_a_file_that_says_it_is_huge(tmp_path: Path, size: int) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(header("train/x", size) + bytes(10_240))
    refused(archive, "unpacks to more than 1,073,741,824 bytes")


def test_folders_that_say_they_are_huge(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(header("train", 8**11 - 1, tarfile.DIRTYPE) + bytes(10_240))
    refused(archive, "unpacks to more than")


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_negative_size(tmp_path: Path, kind: bytes) -> None:
    """Some versions of Python read the same member for ever."""
    for size in (-512, -1024, -(10**12)):
        archive = tmp_path / "a.tar"
        archive.write_bytes(header("one", 0) + header("two", size, kind) + bytes(10_240))
        refused(archive, r"a\.tar is damaged or not a tar archive")


def test_headers_of_headers(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    one = header("x", 2, tarfile.GNUTYPE_LONGNAME) + b"y\0".ljust(512, b"\0")
    archive.write_bytes(header("ok", 0) + one * 2_000 + header("x", 0) + bytes(10_240))
    refused(archive, "header has more than|is damaged")


def test_folders_too_deep(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(header("a/" * 2_000 + "x", 0) + bytes(10_240))
    refused(archive, "lies more than 16 folders deep; refusing to unpack it")


def test_a_sparse_file(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.pax_headers = {"GNU.sparse.size": "1000000", "GNU.sparse.map": "0,1", "size": "512"}
    info.size = 512
    archive = tmp_path / "a.tar"
    archive.write_bytes(info.tobuf(tarfile.PAX_FORMAT) + bytes(10_240))
    refused(archive, "member 'x' is a sparse file")


def test_an_archive_whose_file_is_huge(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    with archive.open("wb") as file:
        file.truncate(2**40)
    for name in ("cifar10", "imagenette"):
        with pytest.raises(DataError, match=r"larger than [\d,]+ bytes"):
            datasets.prepare(name, tmp_path / "data", archive)


def test_a_strange_block_is_not_the_end(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(header("one", 0) + b"x" * 512 + header("two", 0) + bytes(10_240))
    refused(archive, "is damaged or not a tar archive: bad header after 1 members")


def test_names_are_shown_without_their_control_characters(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    for name in ("../\x1b[31m\nred\u202e", "train/\x1b[31m\nred\u202e"):
        archive.write_bytes(header(name, 0) + bytes(10_240))
        with pytest.raises(DataError, match=r"/\\x1b\[31m\\nred\\u202e' (leads|has c)") as caught:
            datasets.prepare("cifar10", tmp_path / "data", archive)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
def test_ordinary_archives_are_read_whole(tmp_path: Path, compression: str) -> None:
    archive, contents = tmp_path / "a.tar", {f"d/{n}": bytes([n]) * 511 * n for n in range(1, 6)}
    with tarfile.open(archive, f"w:{compression}") as tar:  # type: ignore[call-overload]
        for name, content in contents.items():
            info = tarfile.TarInfo(name if name != "d/5" else f"d/{'5' * 200}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    (tmp_path / "out").mkdir()
    unpack_archive(archive, tmp_path / "out", 10_000)
    found = {path.name[:1]: path.read_bytes() for path in (tmp_path / "out" / "d").iterdir()}
    assert found == {name[-1]: content for name, content in contents.items()}


def test_a_development_kit_without_end(write_photos: WritePhotos, tmp_path: Path) -> None:
    folder = write_photos(classes=("n01440764", "n01443537"))
    for path in list((folder / "val").rglob("*.png")):
        path.rename(folder / "val" / path.name)
    for path in (folder / "val").iterdir():
        if path.is_dir():
            path.rmdir()
    kit = folder / "ILSVRC2012_devkit_t12.tar.gz"
    with gzip.open(kit, "wb", 1) as file:
        file.write(header("ILSVRC2012_devkit_t12/x", 400_000_000))
    with pytest.raises(DataError, match="unpacks to more than 268,435,456 bytes"):
        datasets.prepare("imagenet", tmp_path / "data", folder)
