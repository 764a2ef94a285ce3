"""Commands that only read answer at once: none imports torch, few pandas or matplotlib."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from resnet_repro.base.provenance import code_version

# One command after another: the exit code of each, and which of the modules are imported by then.
PROBE = """
import sys
from resnet_repro.cli import main
for command in COMMANDS:
    sys.argv = ["resnet-repro", *command.split()]
    try:
        main()
    except SystemExit as ended:
        print("END", command, ended.code or 0, *sorted(HEAVY & set(sys.modules)), file=sys.stderr)
"""
HEAVY = {"torch", "torchvision", "matplotlib"}
READING = [
    *("--help", "run --help", "evaluate --help", "--version", "list", "show fig6"),
    *("status", "status table5 --preset short", "show table3", "data list", "run fig6 --dry-run"),
    "run table2 --dry-run --dataset imagenet",
]
TABULATING = ["table table6", "table table3", "report"]
SLIPS = {
    "bench --networks resnet-21": "nearest: 20, 26",
    "bench --networks faster-rcnn-vgg-16": "is a detector",
    "evaluate gone.pth --network resnet-50": "no such file",
    "evaluate r50.pth": "say which network's weights",
    "evaluate r50.pth --network resnet-21": "nearest: 20, 26",
}


@pytest.mark.parametrize(
    ("commands", "heavy"), [(READING, {*HEAVY, "pandas"}), (TABULATING, HEAVY)]
)
def test_never_imports_torch(tmp_path, commands: list[str], heavy: set[str]) -> None:
    assert [end for _, end in _ends(tmp_path, heavy, commands)] == ["0"] * len(commands)


def test_the_version_tells_the_commit(command) -> None:
    code, changed = code_version()
    says = f"resnet-repro {code}" + (", with uncommitted changes" if changed else "")
    assert command("--version").out.strip() == says


def test_slips_are_told_before_torch_is_imported(tmp_path) -> None:
    (tmp_path / "r50.pth").touch()
    told = _ends(tmp_path, {"torch"}, list(SLIPS))
    for (said, end), expected in zip(told, SLIPS.values(), strict=True):
        assert (end, expected in said) == ("2", True), said


def _ends(folder: Path, heavy: set[str], commands: list[str]) -> list[tuple[str, str]]:
    """Of each command what it says on stderr, its exit code and the modules imported by then."""
    done = subprocess.run(
        [sys.executable, "-c", f"COMMANDS, HEAVY = {commands}, {heavy}\n{PROBE}"],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    ends = [f"END {re.escape(command)} (.*)\n" for command in commands]
    parts = re.fullmatch("".join(f"((?:.*\n)*?){end}" for end in ends), done.stderr)
    assert parts, done.stderr
    return list(zip(parts.groups()[::2], parts.groups()[1::2], strict=True))


def test_answers_at_once(tmp_path) -> None:
    """A second at most on a machine that imports the libraries in a fifth of one.

    The same work takes up to twice the time beside other tests, so the least of several is taken.
    """
    libraries = ("-c", "import pydantic, typer, yaml, rich.table")
    commands = {"--help": 2.5, "list": 5, "status": 5}
    lines = [libraries, *(("-m", "resnet_repro", command) for command in commands)]
    rounds = [[_seconds(*line, cwd=tmp_path) for line in lines] for _ in range(4)]
    once, *taken = map(min, zip(*rounds, strict=True))
    for (command, times), seconds in zip(commands.items(), taken, strict=True):
        assert seconds < times * once, command


def _seconds(*arguments: str, cwd: Path) -> float:
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
