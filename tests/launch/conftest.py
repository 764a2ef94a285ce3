"""No test here hangs, and no process that one starts outlives it."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest
from forked_python import HOLD, ForkedPython

LONGEST = 400  # seconds for a test
GRACE = 30.0  # seconds for what it started to end
MARK = "RESNET_REPRO_TEST"


def _left(token: str) -> list[int]:
    """Processes that have inherited a test's mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            pid = int(path.parent.name)
            marked = f"{MARK}={token}".encode() in path.read_bytes()
            if marked or path.with_name("comm").read_text(encoding="utf-8").strip() == token:
                found += [pid] if pid != os.getpid() else []
    return found


@pytest.fixture(autouse=True)
def _leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    token = secrets.token_hex(7)  # what fits into the name of a forked process
    monkeypatch.setenv(MARK, token)

    def give_up(*_: int | FrameType | None) -> None:
        raise TimeoutError(f"the test took more than {LONGEST} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        deadline = time.monotonic() + GRACE
        while (left := _left(token)) and time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)  # what ended, but nobody asked for
            time.sleep(0.05)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert not left, "processes outlived the test"


@pytest.fixture(scope="session")
def forked_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkedPython]:
    made = ForkedPython(tmp_path_factory.mktemp("forked"))
    yield made
    made.close()


@pytest.fixture
def quick_processes(forked_python: ForkedPython, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command lines and workers that the test starts need not import torch."""
    monkeypatch.setattr(sys, "executable", str(forked_python.program))


@pytest.fixture
def hold(quick_processes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file; while it is there, none of the processes trains more than a few iterations."""
    path = tmp_path / "hold"
    path.touch()
    monkeypatch.setenv(HOLD, str(path))
    return path
