"""A lab's folder with many runs: nothing is read twice, and the work grows in proportion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from cProfile import Profile
from pathlib import Path

import pytest
from many_runs import copy_runs

from resnet_repro.plan.overview import list_runs
from resnet_repro.report.document.document import compose_report
from resnet_repro.store import tables
from resnet_repro.store.store import Store

KINDS = 23  # committed runs, of which there are copies with other seeds
Command = Callable[[Store], object]


def status(store: Store) -> object:
    return list_runs(store, None)


@pytest.mark.parametrize("command", [status, compose_report])
def test_each_file_of_a_run_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    store = copy_runs(tmp_path, KINDS, KINDS)
    reads: Counter[Path] = Counter()
    read = tables.read_text

    def counted(path: Path) -> str:
        reads[path] += 1
        return read(path)

    monkeypatch.setattr(tables, "read_text", counted)
    command(store)
    every = store.runs_folder.glob("*/*")
    there = {path for path in every if path.suffix not in ("", ".npz")}  # neither is committed
    assert {path: reads[path] for path in there} == dict.fromkeys(there, 1)


@pytest.mark.parametrize("command", [status, compose_report])
def test_twice_as_many_runs_are_twice_as_much_work(tmp_path: Path, command: Command) -> None:
    """Counted in calls of functions, which no other work on the machine changes."""

    def calls(times: int, folder: str) -> int:
        store, profile = copy_runs(tmp_path / folder, times * KINDS, KINDS), Profile()
        profile.runcall(command, store)
        return sum(entry.callcount for entry in profile.getstats())

    calls(1, "first")  # what is made once in a process: imports, and caches of each kind of run
    few, more, most = (calls(times, str(times)) for times in (1, 2, 4))
    assert most - more < 2.2 * (more - few)
