"""What a full disk is answered with: to continue from a checkpoint only where there is one."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from resnet_repro.base.errors import StoreError
from resnet_repro.base.files import DiskFullError
from resnet_repro.store.store import Store


@pytest.fixture(autouse=True)
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)


def test_a_report_does_not_continue_from_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match=r"No space left on device; free some and run again$"):
        Store(tmp_path).write_report("text")
    assert not list(tmp_path.iterdir())
    assert issubclass(DiskFullError, StoreError)
