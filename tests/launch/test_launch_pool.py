"""What becomes of runs whose workers die, find them locked, fail or are told to stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from launch_helpers import Silent, options, runs_of, write_experiment

from resnet_repro.base.errors import DataError, ReproError
from resnet_repro.base.stop import StopFlag
from resnet_repro.launch import pool as pool_module
from resnet_repro.launch.messages import Event, TrainOrder
from resnet_repro.launch.pool import Pool
from resnet_repro.launch.work import is_forced
from resnet_repro.spec.run import Run
from resnet_repro.store.store import Store

DONE = [Event(kind="started"), Event(kind="result", outcome="done")]
FAILED = [Event(kind="result", outcome="failed")]
LOCKED = [Event(kind="ended", outcome="locked"), Event(kind="result", outcome="locked")]
DIES = [Event(kind="started"), Event(kind="died", text="killed")]

Answers = Callable[[TrainOrder, int], list[Event] | None]


class Workers:
    """Makes workers that answer orders as told; None is a worker that trains until stopped."""

    def __init__(self, answers: Answers, unborn: bool = False) -> None:
        self.answers, self.unborn = answers, unborn
        self.orders: list[TrainOrder] = []
        self.open = self.most = 0

    def make(self, _: int) -> Any:
        self.open += 1
        self.most = max(self.most, self.open)
        return _Worker(self)


class _Worker:
    def __init__(self, workers: Workers) -> None:
        self._workers, self._events, self._at_work = workers, [], False
        self.ready = not workers.unborn
        if workers.unborn:
            self._events.append(Event(kind="died", text="no such module"))

    def give(self, order: TrainOrder) -> None:
        self._workers.orders.append(order)
        answer = self._workers.answers(order, len(self._workers.orders))
        self._at_work = answer is None
        self._events += answer or []

    def poll(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def stop(self) -> None:
        if self._at_work:
            self._events.append(Event(kind="result", outcome="stopped"))

    def close(self) -> None:
        self._workers.open -= 1


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "PAUSE", 0.001)
    monkeypatch.setattr(pool_module, "REST", 0.01)


@pytest.fixture
def runs(tmp_path: Path) -> list[Run]:
    return runs_of(write_experiment(tmp_path, 4, 2, 3))


def _pool(
    tmp_path: Path, workers: Workers, stop: StopFlag | None = None, most: int = 2, **more: Any
) -> tuple[Pool, Silent]:
    progress = Silent()
    store = Store(tmp_path / "results")
    chosen, flag = options(tmp_path, **more), stop or StopFlag()
    made = Pool(store, chosen, flag, progress, workers.make, most, lambda number: f"cuda:{number}")
    return made, progress


def test_no_more_workers_than_allowed_and_none_is_left(tmp_path: Path, runs: list[Run]) -> None:
    workers = Workers(lambda order, number: DONE)
    pool, progress = _pool(tmp_path, workers)
    assert pool.run_all(runs) == {run.id: "done" for run in runs}
    assert (workers.most, workers.open) == (2, 0)
    assert sorted(run_id for run_id, _ in progress.starts) == sorted(run.id for run in runs)
    assert {order.options.device for order in workers.orders} == {"cuda:0", "cuda:1"}


def test_a_run_goes_on_after_a_death_and_fails_after_three(tmp_path: Path, runs: list[Run]) -> None:
    unlucky = runs[0].id
    workers = Workers(lambda order, _: DIES if order.run.id == unlucky else DONE)
    pool, progress = _pool(tmp_path, workers)
    outcomes = pool.run_all(runs)
    assert outcomes == {unlucky: "failed", runs[1].id: "done", runs[2].id: "done"}
    assert [order.run.id for order in workers.orders].count(unlucky) == 3
    assert any("goes on with another" in note for note in progress.notes)
    assert any("died 3 times (killed)" in note for note in progress.notes)
    once = Workers(lambda _, number: DIES if number == 1 else DONE)
    assert _pool(tmp_path, once)[0].run_all(runs) == {run.id: "done" for run in runs}


def test_the_first_failure_ends_it_if_asked(tmp_path: Path, runs: list[Run]) -> None:
    workers = Workers(lambda _, number: FAILED if number == 1 else None)
    outcomes = _pool(tmp_path, workers, fail_fast=True)[0].run_all(runs)
    assert outcomes == {runs[0].id: "failed", runs[1].id: "stopped"}
    patient = Workers(lambda _, number: FAILED if number == 1 else DONE)
    outcomes = _pool(tmp_path, patient)[0].run_all(runs)
    assert sorted(outcomes.values()) == ["done", "done", "failed"]


def test_a_signal_reaches_all_workers(tmp_path: Path, runs: list[Run]) -> None:
    stop = StopFlag()

    def answers(order: TrainOrder, number: int) -> None:
        if number == 2:
            stop.signalled = "SIGTERM"

    workers = Workers(answers)
    outcomes = _pool(tmp_path, workers, stop)[0].run_all(runs)
    assert outcomes == {runs[0].id: "stopped", runs[1].id: "stopped"}
    assert workers.open == 0


def test_locked_runs_are_looked_at_again_while_that_helps(tmp_path: Path, runs: list[Run]) -> None:
    busy = runs[0].id
    workers = Workers(lambda order, _: LOCKED if order.run.id == busy else DONE)
    pool, progress = _pool(tmp_path, workers)
    assert pool.run_all(runs)[busy] == "locked"
    assert [order.run.id for order in workers.orders].count(busy) == 2
    assert progress.ends.count((busy, "locked")) == 1, "said once"
    freed = Workers(lambda order, number: LOCKED if number == 1 else DONE)
    assert set(_pool(tmp_path, freed)[0].run_all(runs).values()) == {"done"}


def test_the_lock_of_a_lost_worker_is_waited_for(tmp_path: Path, runs: list[Run]) -> None:
    answers = {1: DIES, 2: LOCKED, 3: LOCKED, 4: DONE}
    workers = Workers(lambda _, number: answers[number])
    pool, progress = _pool(tmp_path, workers)
    assert pool.run_all(runs[:1]) == {runs[0].id: "done"}
    assert not any(outcome == "locked" for _, outcome in progress.ends)


def test_an_error_that_all_would_meet_ends_all(tmp_path: Path, runs: list[Run]) -> None:
    missing = [Event(kind="error", error="DataError", text="cifar10 is not there")]
    workers = Workers(lambda _, number: missing if number == 1 else None)
    with pytest.raises(DataError, match="cifar10 is not there"):
        _pool(tmp_path, workers)[0].run_all(runs)
    assert workers.open == 0


def test_want_of_memory_fails_one_run_and_not_the_others(tmp_path: Path, runs: list[Run]) -> None:
    full = [Event(kind="error", error="ReproError", text="not enough memory on cuda:0")]
    workers = Workers(lambda _, number: full if number == 1 else DONE)
    pool, progress = _pool(tmp_path, workers)
    assert sorted(pool.run_all(runs).values()) == ["done", "done", "failed"]
    assert progress.notes == [f"{runs[0].id}: not enough memory on cuda:0"]


def test_workers_that_cannot_start_are_an_error(tmp_path: Path, runs: list[Run]) -> None:
    workers = Workers(lambda *_: DONE, unborn=True)
    with pytest.raises(ReproError, match="cannot be started: no such module"):
        _pool(tmp_path, workers)[0].run_all(runs)
    assert workers.open == 0


def test_force_trains_again_what_was_begun_before_and_only_that(
    tmp_path: Path, runs: list[Run], made_up_summary: Callable[[Run, str], Any]
) -> None:
    store = Store(tmp_path / "results")
    workers = Workers(lambda *_: DONE)
    _pool(tmp_path, workers, force=True)[0].run_all(runs[:1])
    (order,) = workers.orders
    assert order.options.force is False
    assert order.force_before is not None
    assert is_forced(order, store), "nothing is there"
    folder = store.folder(runs[0])
    folder.write_config(runs[0])
    folder.write_summary(made_up_summary(runs[0], "2020-01-01T00:00:00Z"))
    assert is_forced(order, store)
    folder.write_summary(made_up_summary(runs[0], "2999-01-01T00:00:00Z"))
    assert not is_forced(order, store), "begun by this very order, before its worker died"
    plain = order.model_copy(update={"force_before": None})
    assert not is_forced(plain, store)
