"""Files are flushed in an order in which a power loss tears nothing; locks hold, or cannot be."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

import pytest

from resnet_repro.base.errors import StoreError
from resnet_repro.base.files import locked, write_atomically
from resnet_repro.store.run_folder import RunFolder


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the disk is told to do, in order: `flush NAME`, `NAME -> NAME`."""
    orders: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def named(path: str | Path) -> str:
        name = Path(path).name
        return name[1:].rsplit(".", 2)[0] if name.endswith(".part") else name

    def flush(descriptor: int) -> None:
        orders.append(f"flush {named(Path(f'/proc/self/fd/{descriptor}').readlink())}")
        fsync(descriptor)

    def rename(path: Path, target: Path) -> Path:
        orders.append(f"{named(path)} -> {named(target)}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", flush)
    monkeypatch.setattr(Path, "replace", rename)
    return orders


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc/self/fd")


@needs_proc
def test_a_file_is_on_the_disk_before_its_name_and_then_the_name(
    tmp_path: Path, told: list[str]
) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    write_atomically(folder / "curve", "1")
    assert told == ["flush curve", "curve -> curve", "flush results"]
    told.clear()
    write_atomically(folder / "curve", "2", durable=False)
    assert told == ["curve -> curve"]


@needs_proc
def test_no_checkpoint_loses_its_name_before_the_next_one_is_on_the_disk(
    tmp_path: Path, told: list[str]
) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.write_checkpoint(b"first")
    told.clear()
    folder.write_checkpoint(b"second")
    fresh, current, previous = (
        path.name
        for path in (folder.fresh_checkpoint, folder.checkpoint, folder.previous_checkpoint)
    )
    assert told == [
        *(f"flush {fresh}", f"{fresh} -> {fresh}", "flush run"),
        *(f"{current} -> {previous}", f"{fresh} -> {current}", "flush run"),
    ]


def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StoreError, match=r"cannot lock .*: Function not implemented"):
        RunFolder(tmp_path).locked().__enter__()
    with locked(tmp_path / "lock", 0) as held:
        assert held


def test_a_lock_is_held_by_one_and_cannot_be_where_no_file_can(tmp_path: Path) -> None:
    lock = tmp_path / "cache" / "1.lock"
    with locked(lock, 0) as first, locked(lock, 0) as second:
        assert (first, second) == (True, False)
    with locked(lock, 0) as later:
        assert later
    (tmp_path / "file").touch()
    with locked(tmp_path / "file" / "lock", 0) as held:
        assert held, "nobody else can have it"
