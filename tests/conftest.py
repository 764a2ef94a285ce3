"""Calling the command line inside the test's process."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from resnet_repro.cli import main


def pytest_configure(config: pytest.Config) -> None:
    """What is kept for the machine is kept for these tests alone, in whatever process they are."""
    if "PYTEST_XDIST_WORKER" not in os.environ:  # such have it from the process that started them
        folder = tempfile.mkdtemp(prefix="resnet-repro-cache-")
        os.environ["RESNET_REPRO_CACHE"] = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


class Answer(NamedTuple):
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Answer]:
    """Run `resnet-repro ARGUMENTS` with an empty folder as the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("RESNET_REPRO_RESULTS", "RESNET_REPRO_DATA"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["resnet-repro", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        code = ended.value.code
        return Answer(code if isinstance(code, int) else 0, printed.out, printed.err)

    return call
