"""Commands that only read answer at once: none imports torch, few pandas or matplotlib."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from resnet_repro.base.provenance import code_version

# Exits with 9 if the command has imported one of the modules, else with the command's own code.
PROBE = """
import sys
from resnet_repro.cli import main
sys.argv[0] = "resnet-repro"
try:
    main()
except SystemExit as ended:
    sys.exit(9 if HEAVY & set(sys.modules) else ended.code)
"""
TABULATING = [["table", "table6"], ["report"]]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["run", "--help"],
        ["evaluate", "--help"],
        ["list"],
        ["show", "fig6"],
        ["status"],
        ["run", "fig6", "--dry-run"],
        ["data", "list"],
        *TABULATING,
    ],
)
def test_never_imports_torch(tmp_path, arguments: list[str]) -> None:
    heavy = {"torch", "torchvision", "matplotlib"}
    if arguments not in TABULATING:
        heavy |= {"pandas"}
    done = _probe(tmp_path, heavy, arguments)
    assert done.returncode == 0, done.stderr


def test_the_version_tells_the_commit(tmp_path) -> None:
    done = _probe(tmp_path, {"torch"}, ["--version"])
    assert done.returncode == 0, done.stderr
    code, changed = code_version()
    says = f"resnet-repro {code}" + (", with uncommitted changes" if changed else "")
    assert done.stdout.strip() == says


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bench", "--networks", "resnet-21"], "nearest: 20, 26"),
        (["bench", "--networks", "faster-rcnn-vgg-16"], "is a detector"),
        (["evaluate", "gone.pth", "--network", "resnet-50"], "no such file"),
        (["evaluate", "r50.pth"], "say which network's weights"),
        (["evaluate", "r50.pth", "--network", "resnet-21"], "nearest: 20, 26"),
    ],
)
def test_slips_are_told_before_torch_is_imported(tmp_path, arguments: list[str], says: str) -> None:
    (tmp_path / "r50.pth").touch()
    done = _probe(tmp_path, {"torch"}, arguments)
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr


def _probe(folder: Path, heavy: set[str], arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"HEAVY = {heavy}\n{PROBE}", *arguments],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "times"), [(["--help"], 2.5), (["list"], 5), (["status"], 5)]
)
def test_answers_at_once(tmp_path, arguments: list[str], times: float) -> None:
    """A second at most on a machine that imports the libraries in a fifth of one.

    The same work takes up to twice the time beside other tests, so the least of several is taken.
    """
    libraries, command = [], []
    for _ in range(4):
        libraries.append(_seconds("-c", "import pydantic, typer, yaml, rich.table"))
        command.append(_seconds("-m", "resnet_repro", *arguments, cwd=tmp_path))
    assert min(command) < times * min(libraries)


def _seconds(*arguments: str, cwd: Path | None = None) -> float:
    """Processor time, of which an idle machine has a second per second."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, check=True)
    after = os.times()
    spent = after.children_user + after.children_system
    return spent - before.children_user - before.children_system


def test_plain_lines_where_there_is_no_terminal(tmp_path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "resnet_repro", "list"],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert "\x1b" not in done.stdout
    assert all(line == line.rstrip() for line in done.stdout.splitlines())
