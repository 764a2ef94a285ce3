"""Commands that only read answer at once: none imports torch, few pandas or matplotlib."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

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
    done = subprocess.run(
        [sys.executable, "-c", f"HEAVY = {heavy}\n{PROBE}", *arguments],
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "seconds"), [(["--help"], 0.5), (["list"], 1.0), (["status"], 1.0)]
)
def test_answers_at_once(tmp_path, arguments: list[str], seconds: float) -> None:
    """Measured as processor time, of which an idle machine has a second per second."""
    before = os.times()
    subprocess.run(
        [sys.executable, "-m", "resnet_repro", *arguments],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    after = os.times()
    spent = after.children_user + after.children_system
    assert spent - before.children_user - before.children_system < seconds


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
