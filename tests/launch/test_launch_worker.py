"""What the process that trains a run says, as the one who started it hears it."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
from launch_helpers import await_that

from resnet_repro.launch.worker import Ended, RunProcess

TRACEBACK = "Traceback (most recent call last):\\n  File somewhere\\nValueError: a bug\\n"


@pytest.mark.parametrize(
    ("does", "ended"),
    [
        ("exit 0", Ended(0)),
        ("echo a warning; exit 65", Ended(65)),
        ("echo No module named resnet_repro; exit 1", Ended(1, "No module named resnet_repro")),
        ("echo a warning; echo resnet-repro: no data; echo get it; exit 3",
         Ended(3, "no data\nget it")),
        (f"printf '{TRACEBACK}'; exit 1", Ended(1, "ValueError: a bug")),
        ("echo Fatal Python error; exit 134", Ended(134, "Fatal Python error")),
        ("kill -KILL $$", Ended(-9, "killed, perhaps for want of memory")),
        ("kill -SEGV $$", Ended(-11, "ended by SIGSEGV")),
        ("kill -35 $$", Ended(-35, "ended by signal 35")),
    ],
)  # fmt: skip
def test_how_it_ended(
    does: str,
    ended: Ended,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho note: begun on $2\n{does}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    caplog.set_level(logging.DEBUG, "resnet_repro")  # whatever a command before has set
    notes: list[str] = []
    process = RunProcess("{}", 1, notes.append)
    await_that(lambda: process.poll() is not None)
    assert process.poll() == ended
    process.close()
    assert notes == ["begun on resnet_repro"]
    assert all(line in caplog.text for line in ended.error.splitlines() if ended.code > 0), "-v"


def test_its_code_is_that_of_the_command_and_not_what_lies_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "resnet_repro").mkdir()
    for name in ("resnet_repro/__init__.py", "resnet_repro/__main__.py", "csv.py"):
        (tmp_path / name).write_text("raise SystemExit(7)", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "others"))
    process = RunProcess("--help", 1, lambda _: None)
    await_that(lambda: process.poll() is not None)
    process.close()
    assert process.poll() == Ended(0)


@pytest.mark.parametrize(("given", "workers"), [(None, "6"), ("3", "3")])
def test_it_knows_its_part_of_the_machine(
    given: str | None, workers: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    text = "#!/bin/sh\necho note: $LOCAL_WORLD_SIZE $RESNET_REPRO_WORKERS $OMP_NUM_THREADS\n"
    program.write_text(text, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.delenv("RESNET_REPRO_WORKERS", raising=False)
    if given:
        monkeypatch.setenv("RESNET_REPRO_WORKERS", given)
    notes: list[str] = []
    process = RunProcess("{}", 1, notes.append, jobs=8, workers=6)
    await_that(lambda: process.poll() is not None)
    process.close()
    assert notes == [f"8 {workers} 1"]
