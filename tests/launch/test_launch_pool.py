"""What becomes of runs whose processes die, find them locked, fail or are told to stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from launch_helpers import Silent, options, runs_of, train_alone, write_experiment
from made_up_origin import running_summary

from resnet_repro.base.errors import DataError, StoreError
from resnet_repro.base.stop import StopFlag
from resnet_repro.launch import pool as pool_module
from resnet_repro.launch.pool import Pool
from resnet_repro.launch.worker import UNWRITABLE, Ended, Order
from resnet_repro.runner.runner import Runner
from resnet_repro.spec.experiment import Choices
from resnet_repro.spec.loading import load_experiment
from resnet_repro.spec.run import Run
from resnet_repro.store.store import Store

DONE, FAILED, LOCKED, DIES = Ended(0), Ended(1), Ended(4), Ended(-9, "killed")
STARTED = "2999-01-01T00:00:00Z"

Answers = Callable[[Order, int], Ended | None]


class Processes:
    """Starts processes that end as told; None is one that trains until it is stopped."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.orders: list[Order] = []
        self.places: list[int] = []
        self.open = self.most = 0

    def start(self, order: Order, place: int) -> Any:
        self.orders.append(order)
        self.places.append(place)
        self.open += 1
        self.most = max(self.most, self.open)
        return _Process(self, self.answers(order, len(self.orders)))


class _Process:
    def __init__(self, all_of_them: Processes, ended: Ended | None) -> None:
        self._all, self._ended = all_of_them, ended

    def poll(self) -> Ended | None:
        return self._ended

    def stop(self) -> None:
        self._ended = self._ended or Ended(130)

    def close(self) -> None:
        self._all.open -= 1


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "POLL_EVERY", 0.001)
    monkeypatch.setattr(pool_module, "RETRY_AFTER", 0.01)


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    return runs_of(write_experiment(tmp_path, 4, 2, 3))


def _pool(
    tmp_path: Path, processes: Processes, stop: StopFlag | None = None, most: int = 2, **more: Any
) -> tuple[Pool, Silent]:
    progress = Silent()
    store = Store(tmp_path / "results")
    runner = Runner(store, options(tmp_path, **more), stop or StopFlag(), progress)
    return Pool(runner, most, processes.start), progress


def test_no_more_processes_than_places_and_none_is_left(tmp_path: Path, runs: list[Run]) -> None:
    processes = Processes(lambda *_: DONE)
    pool, progress = _pool(tmp_path, processes)
    assert pool.run_all(runs) == {run.id: "done" for run in runs}
    assert (processes.most, processes.open) == (2, 0)
    assert set(processes.places) == {0, 1}
    assert sorted(progress.ends) == sorted((run.id, "done") for run in runs)


def test_the_longest_come_first(tmp_path: Path) -> None:
    processes = Processes(lambda *_: DONE)
    runs = load_experiment("fig6", choices=Choices(preset="demo")).resolve()
    _pool(tmp_path, processes)[0].run_all(runs)
    order = [order.run.network for order in processes.orders]
    assert order == ["plain-56", "resnet-56", "plain-20", "resnet-20"]


def test_how_far_runs_are_is_read_in_the_results_folder(tmp_path: Path, runs: list[Run]) -> None:
    store = Store(tmp_path / "results")

    def answers(order: Order, number: int) -> Ended:
        summary = running_summary(order.run, STARTED)
        if number > 1:
            again = {"sessions": 2, "first_iteration": 2, "first_second": 0.0}
            provenance = summary.provenance.model_copy(
                update={**again, "earlier": (summary.provenance.trained_by[-1],)}
            )
            summary = summary.model_copy(update={"provenance": provenance, "iteration": 3})
        store.folder(order.run).write_summary(summary)
        return DIES if number == 1 else DONE

    pool, progress = _pool(tmp_path, Processes(answers))
    pool.run_all(runs[:1])
    assert progress.starts == [(runs[0].id, 0), (runs[0].id, 2)]
    assert progress.advances == [runs[0].id] * 2
    pool, progress = _pool(tmp_path, Processes(lambda *_: LOCKED))
    pool.run_all(runs[:1])
    assert progress.starts == [], "what is there is from before"


def test_a_run_goes_on_after_a_death_and_fails_after_three(tmp_path: Path, runs: list[Run]) -> None:
    unlucky = runs[0].id
    processes = Processes(lambda order, _: DIES if order.run.id == unlucky else DONE)
    pool, progress = _pool(tmp_path, processes)
    outcomes = pool.run_all(runs)
    assert outcomes == {unlucky: "failed", runs[1].id: "done", runs[2].id: "done"}
    assert [order.run.id for order in processes.orders].count(unlucky) == 3
    assert any("goes on with another" in note for note in progress.notes)
    assert any("died 3 times (killed)" in note for note in progress.notes)
    once = Processes(lambda _, number: DIES if number == 1 else DONE)
    assert _pool(tmp_path, once)[0].run_all(runs) == {run.id: "done" for run in runs}


def test_the_first_failure_ends_it_if_asked(tmp_path: Path, runs: list[Run]) -> None:
    processes = Processes(lambda _, number: FAILED if number == 1 else None)
    outcomes = _pool(tmp_path, processes, fail_fast=True)[0].run_all(runs)
    assert outcomes == {runs[0].id: "failed"}, "the others had not begun"
    patient = Processes(lambda _, number: FAILED if number == 1 else DONE)
    outcomes = _pool(tmp_path, patient)[0].run_all(runs)
    assert sorted(outcomes.values()) == ["done", "done", "failed"]


def test_a_signal_reaches_all_processes(tmp_path: Path, runs: list[Run]) -> None:
    stop, store = StopFlag(), Store(tmp_path / "results")

    def answers(order: Order, number: int) -> None:
        store.folder(order.run).write_summary(running_summary(order.run, STARTED))
        if number == 2:
            stop.signalled = "SIGTERM"

    processes = Processes(answers)
    pool, progress = _pool(tmp_path, processes, stop)
    assert pool.run_all(runs) == {runs[0].id: "stopped", runs[1].id: "stopped"}
    assert sorted(progress.ends) == sorted((run.id, "stopped") for run in runs[:2])
    assert processes.open == 0


def test_what_was_to_be_trained_again_and_was_not_begun_waits(
    tmp_path: Path, runs: list[Run]
) -> None:
    train_alone(runs[:1], tmp_path / "results")
    stop = StopFlag()

    def answers(*_: Any) -> None:
        stop.signalled = "SIGINT"

    pool, progress = _pool(tmp_path, Processes(answers), stop, force=True)
    assert pool.run_all(runs[:1]) == {}
    assert progress.ends == []


def test_locked_runs_are_looked_at_again_while_that_helps(tmp_path: Path, runs: list[Run]) -> None:
    busy = runs[0].id
    processes = Processes(lambda order, _: LOCKED if order.run.id == busy else DONE)
    pool, progress = _pool(tmp_path, processes)
    assert pool.run_all(runs)[busy] == "locked"
    assert [order.run.id for order in processes.orders].count(busy) == 2
    assert progress.ends.count((busy, "locked")) == 1, "said once"
    freed = Processes(lambda order, number: LOCKED if number == 1 else DONE)
    assert set(_pool(tmp_path, freed)[0].run_all(runs).values()) == {"done"}


def test_the_lock_of_a_dead_process_is_waited_for(tmp_path: Path, runs: list[Run]) -> None:
    answers = {1: DIES, 2: LOCKED, 3: LOCKED, 4: DONE}
    pool, progress = _pool(tmp_path, Processes(lambda _, number: answers[number]))
    assert pool.run_all(runs[:1]) == {runs[0].id: "done"}
    assert not any(outcome == "locked" for _, outcome in progress.ends)


@pytest.mark.parametrize(("code", "kind"), [(3, DataError), (UNWRITABLE, StoreError)])
def test_an_error_that_all_would_meet_ends_all(
    tmp_path: Path, runs: list[Run], code: int, kind: type[Exception]
) -> None:
    missing = Ended(code, "cifar10 is not there")
    processes = Processes(lambda _, number: missing if number == 1 else None)
    with pytest.raises(kind, match="cifar10 is not there"):
        _pool(tmp_path, processes)[0].run_all(runs)
    assert processes.open == 0


def test_want_of_memory_fails_one_run_and_not_the_others(tmp_path: Path, runs: list[Run]) -> None:
    full = Ended(1, "not enough memory on cuda:0")
    processes = Processes(lambda _, number: full if number == 1 else DONE)
    pool, progress = _pool(tmp_path, processes)
    assert sorted(pool.run_all(runs).values()) == ["done", "done", "failed"]
    assert progress.notes == [f"{runs[0].id}: not enough memory on cuda:0"]


def test_force_needs_no_process_for_what_another_command_has_trained_meanwhile(
    tmp_path: Path, runs: list[Run]
) -> None:
    run = runs[0]
    store = train_alone([run], tmp_path / "results")
    folder = store.folder(run)
    result = folder.summary.read_text(encoding="utf-8")
    folder.summary.write_text(result.replace('"done"', '"stopped"'), encoding="utf-8")
    processes = Processes(lambda *_: DONE)
    runner = Runner(store, options(tmp_path, force=True), StopFlag(), Silent())
    with folder.locked():  # the other command goes on with it
        assert runner.todo([run]) == [run]
    folder.summary.write_text(result, encoding="utf-8")
    assert Pool(runner, 2, processes.start).run_all([run]) == {run.id: "done"}
    assert not processes.orders


def test_force_trains_again_what_was_begun_before_and_only_that(
    tmp_path: Path, runs: list[Run]
) -> None:
    store = Store(tmp_path / "results")
    folder = store.folder(runs[0])
    folder.write_config(runs[0])
    folder.write_summary(running_summary(runs[0], STARTED))
    processes = Processes(lambda *_: DONE)
    _pool(tmp_path, processes, force=True)[0].run_all(runs[:2])
    there, missing = sorted(processes.orders, key=lambda order: runs.index(order.run))
    assert there.options.force is False
    assert there.is_forced
    assert missing.is_forced, "nothing is there"
    folder = store.folder(there.run)
    folder.write_summary(running_summary(there.run, STARTED, sessions=2))
    assert not there.is_forced, "another command has gone on with it meanwhile"
    earlier_order = there.model_copy(update={"replaces": STARTED})
    assert earlier_order.is_forced, "of a version that kept the time alone"
    for order in (there, missing):
        folder = store.folder(order.run)
        folder.write_config(order.run)
        earlier = running_summary(order.run, "2020-01-01T00:00:00Z")  # by another machine's clock
        folder.write_summary(earlier)
        assert not order.is_forced, "begun by this very order, before its process died"
    store.folder(there.run).checkpoint.write_bytes(b"of this order: those before it are gone")
    store.folder(there.run).summary.write_text("{", encoding="utf-8")
    assert not there.is_forced, "its summary is torn"
    assert not there.model_copy(update={"replaces": None}).is_forced
