"""Archives and downloads: what comes out of them, and what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import logging
import socket
import tarfile
import threading
from pathlib import Path

import pytest
from made_up_photos import WriteImages
from packing import pack

from resnet_repro.base.errors import DataError
from resnet_repro.data import datasets
from resnet_repro.data.cifar import reader
from resnet_repro.data.cifar.known import CIFAR_10
from resnet_repro.data.cifar.reader import read_source


@pytest.mark.parametrize("name", ["images", "."])
def test_archive_of_images(write_images: WriteImages, tmp_path: Path, name: str) -> None:
    archive = pack(write_images(), tmp_path / "images.tar.gz", "w:gz", name)
    dataset = datasets.prepare("cifar10", tmp_path / "data", archive)
    assert len(dataset.train_images) == 20
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["cifar10"]


@pytest.mark.usefixtures("small_cifar10")
def test_binary_archive_is_official_with_the_published_checksum(
    binary_copy: Path, tmp_path: Path
) -> None:
    archive = pack(binary_copy, tmp_path / "cifar-10-binary.tar")
    found = read_source(CIFAR_10, archive, tmp_path)
    assert not found.identity.official
    assert found.identity.note.startswith("unofficial copy")
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    found = read_source(dataclasses.replace(CIFAR_10, binary_md5=md5), archive, tmp_path)
    assert found.identity.official
    assert found.identity.note == ""


def archive_with(tmp_path: Path, member: tarfile.TarInfo) -> Path:
    archive = tmp_path / "bad.tar"
    with tarfile.open(archive, "w") as tar:
        tar.addfile(member, io.BytesIO(bytes(member.size)))
    return archive


@pytest.mark.parametrize("name", ["../escaped", "train/../../escaped", "/tmp/escaped"])
def test_member_outside_is_refused(tmp_path: Path, name: str) -> None:
    archive = archive_with(tmp_path, tarfile.TarInfo(name))
    with pytest.raises(DataError, match=rf"bad\.tar: member '{name}' leads out"):
        datasets.prepare("cifar10", tmp_path / "data", archive)
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_member_that_is_no_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("train/odd")
    member.type, member.linkname = kind, "elsewhere"
    with pytest.raises(DataError, match=r"bad\.tar: member 'train/odd' is"):
        datasets.prepare("cifar10", tmp_path / "data", archive_with(tmp_path, member))


def test_archive_is_bounded(
    write_images: WriteImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = pack(write_images(), tmp_path / "images.tar")
    monkeypatch.setattr("resnet_repro.data.cifar.reader.MAX_BYTES", 1_000)
    with pytest.raises(DataError, match="unpacks to more than 1,000 bytes"):
        datasets.prepare("cifar10", tmp_path / "data", archive)
    monkeypatch.setattr("resnet_repro.data.archives.MAX_MEMBERS", 3)
    with pytest.raises(DataError, match="more than 3 members"):
        datasets.prepare("cifar10", tmp_path / "data", archive)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_damaged_archive(write_images: WriteImages, tmp_path: Path, mode: str) -> None:
    archive = pack(write_images(), tmp_path / "images.tar", mode)
    contents = archive.read_bytes()
    archive.write_bytes(contents[: len(contents) // 2 + 300])
    with pytest.raises(
        DataError, match=r"images\.tar is damaged|train and test|has no images|class"
    ):
        datasets.prepare("cifar10", tmp_path / "data", archive)
    assert not list((tmp_path / "data").iterdir())


def test_unrecognised_sources(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.bin").write_bytes(b"12345")
    with pytest.raises(DataError, match=r"no CIFAR-10 recognised in .*empty"):
        datasets.prepare("cifar10", tmp_path / "data", tmp_path / "empty")
    with pytest.raises(DataError, match=r"file\.bin is damaged or not a tar archive: .*; bring "):
        datasets.prepare("cifar10", tmp_path / "data", tmp_path / "file.bin")
    with pytest.raises(DataError, match="nowhere does not exist"):
        datasets.prepare("cifar10", tmp_path / "data", tmp_path / "nowhere")


def test_download(
    write_images: WriteImages,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from torchvision.datasets import CIFAR10

    archive = pack(write_images(), tmp_path / "served.tar.gz", "w:gz")
    monkeypatch.setattr(CIFAR10, "url", archive.as_uri())
    with pytest.raises(DataError, match="not the official archive"):
        datasets.prepare("cifar10", tmp_path / "data", download=True)
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    with caplog.at_level(logging.INFO, logger="resnet_repro"):
        dataset = datasets.prepare("cifar10", tmp_path / "data", download=True)
    assert dataset.identity.source == "download"
    assert any(message.startswith("downloaded ") for message in caplog.messages)
    archive.unlink()  # what was downloaded is kept and not asked for again
    datasets.prepare("cifar10", tmp_path / "data", download=True)


@pytest.mark.parametrize("kind", ["folder", "file", "link to nothing"])
def test_nothing_is_fetched_where_it_could_not_be_put(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(reader, "fetch", None)
    place = tmp_path / "data" / "cifar10"
    if kind == "folder":
        (place / "thesis").mkdir(parents=True)
    else:
        place.parent.mkdir()
        place.touch() if kind == "file" else place.symlink_to("nowhere")
    with pytest.raises(DataError, match="cifar10 is in the way"):
        datasets.prepare("cifar10", tmp_path / "data", download=True)


def test_an_answer_of_another_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As from a proxy that speaks no HTTP."""
    from torchvision.datasets import CIFAR10

    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"no HTTP at all\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{server.getsockname()[1]}/x.tar.gz")
        monkeypatch.setenv("no_proxy", "*")
        with pytest.raises(DataError, match=r"cannot download .*\n.*--from PATH --data-dir"):
            datasets.prepare("cifar10", tmp_path / "data", download=True)
        thread.join()


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CIFAR10

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{unused.getsockname()[1]}/x.tar.gz")
        monkeypatch.setenv("no_proxy", "*")
        with pytest.raises(DataError, match=r"cannot download .*\n.*--from PATH --data-dir"):
            datasets.prepare("cifar10", tmp_path / "data", download=True)
