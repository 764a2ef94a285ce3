"""Runs trained by other processes, until all are done or it is time to stop."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from resnet_repro.base.errors import ConfigError, DataError, ReproError, StoreError
from resnet_repro.base.provenance import utc_now
from resnet_repro.launch.order import Order
from resnet_repro.launch.process import Ended
from resnet_repro.launch.watch import Watcher
from resnet_repro.launch.worker import UNWRITABLE
from resnet_repro.plan.estimator import training_cost
from resnet_repro.runner.options import Outcome
from resnet_repro.runner.runner import Runner
from resnet_repro.spec.run import Run

__all__ = ["Attempt", "Pool"]

MAX_DEATHS = 3  # of processes that train a run, before it counts as failed
REST = 1.0  # seconds between a death and the next attempt
LOCK_PATIENCE = 60.0  # seconds until the lock of a dead process is released
PAUSE = 0.05  # seconds between two checks of the processes
LOOKING = 0.5  # seconds between two checks of the results folder
# Errors that all other runs would have too, by exit code.
ERRORS = {2: ConfigError, 3: DataError, UNWRITABLE: StoreError}


class Attempt(Protocol):
    """A process, here or elsewhere, that trains one run."""

    def poll(self) -> Ended | None:
        """How it ended; None while it runs."""

    def stop(self) -> None:
        """Ask it to save and end."""

    def close(self) -> None:
        """Wait until it has ended, and free its resources."""


@dataclass
class _Task:
    """A run to be trained."""

    run: Run
    deaths: int = 0  # of processes that trained it
    not_before: float = 0.0  # time of the next attempt
    lock_until: float = 0.0  # until then a lock may be that of a dead process


class Pool:
    """Trains up to `places` runs at a time, each in a process, and restarts processes that die.

    Args:
        runner: a runner for this process.
        places: the number of runs at a time.
        start: starts a process for an order, in the place with a number from 0.
    """

    def __init__(self, runner: Runner, places: int, start: Callable[[Order, int], Attempt]) -> None:
        self._runner, self._store, self._options = runner, runner.store, runner.options
        self._stop, self._progress = runner.stop, runner.progress
        self._places, self._start = places, start
        self._watcher = Watcher(runner.store, runner.progress)
        self._queue: deque[_Task] = deque()
        self._locked: list[_Task] = []
        self._busy: dict[int, tuple[_Task, Attempt]] = {}  # by place
        self._outcomes: dict[str, Outcome] = {}
        self._told_locked: set[str] = set()
        self._error: ReproError | None = None
        self._ending = False
        self._looked = 0.0
        self._since = utc_now() if runner.options.force else None

    def run_all(self, runs: Sequence[Run]) -> dict[str, Outcome]:
        """Train the runs that are not done; returns the outcomes of all that were considered.

        Raises:
            ReproError: as `Runner.run_all`. Other processes have saved their state then.
        """
        # The longest first, so that no place is idle while a long run ends alone.
        runs = sorted(runs, key=training_cost, reverse=True)
        self._queue.extend(_Task(run) for run in runs if not self._is_known(run))
        self._store.check_writable()
        round_size = len(runs)
        try:
            while self._busy or (self._queue and not self._ending):
                if self._stop.reason:
                    self._end()
                if not self._ending:
                    self._fill_places()
                self._look()
                if not self._queue and not self._busy and len(self._locked) < round_size:
                    # Locked by others: like `Runner`, try again as long as their number falls.
                    round_size = len(self._locked)
                    self._queue.extend(self._locked)
                    self._locked.clear()
                time.sleep(PAUSE)
        finally:
            for _, attempt in self._busy.values():
                attempt.stop()
            for _, attempt in self._busy.values():
                attempt.close()
        if self._error:
            raise self._error
        return self._outcomes

    def _is_known(self, run: Run) -> bool:
        """Whether a run needs no process, since it is done or has failed before."""
        known = None if self._options.force else self._runner.already(run, self._store.get(run))
        if known:
            self._note_outcome(run, known)
        return known is not None

    def _end(self) -> None:
        """Ask all processes to save and end, and start no others."""
        if self._ending:
            return
        self._ending = True
        for _, attempt in self._busy.values():
            attempt.stop()

    def _fill_places(self) -> None:
        for place in range(self._places):
            now = time.monotonic()
            task = next((task for task in self._queue if task.not_before <= now), None)
            if task is None:
                return
            if place in self._busy:
                continue
            self._queue.remove(task)
            self._watcher.expect(task.run)
            order = Order.of(task.run, self._store, self._options, self._since)
            self._busy[place] = task, self._start(order, place)

    def _look(self) -> None:
        """Check which processes have ended, and report the progress of the others."""
        if time.monotonic() - self._looked >= LOOKING:
            self._looked = time.monotonic()
            for task, _ in self._busy.values():
                self._watcher.look(task.run)
        for place, (task, attempt) in list(self._busy.items()):
            ended = attempt.poll()
            if ended is not None:
                del self._busy[place]
                attempt.close()
                self._watcher.look(task.run)
                self._settle(task, ended)

    def _settle(self, task: _Task, ended: Ended) -> None:
        """Record how an attempt ended and decide what to do with its run."""
        run, code, begun = task.run, ended.code, self._watcher.has_begun(task.run)
        if code in ERRORS:
            self._error = self._error or ERRORS[code](ended.error)
            self._outcomes[run.id] = "stopped"
            self._end()
        elif code == 0 or (code not in (1, 4) and begun and self._store.get(run).finished):
            self._finish(run, "done")
        elif code == 4:
            self._leave_locked(task)
        elif code == 1:
            if ended.error:
                self._progress.note(_of_run(run, ended.error))
            self._finish(run, "failed")
        elif self._ending:
            if begun:
                self._finish(run, "stopped")
        else:
            self._retry(task, ended.error or _reason(code))

    def _finish(self, run: Run, outcome: Outcome) -> None:
        self._progress.ended(run, outcome, self._store.get(run).summary)
        self._note_outcome(run, outcome)

    def _note_outcome(self, run: Run, outcome: Outcome) -> None:
        self._outcomes[run.id] = outcome
        if outcome == "failed" and self._options.fail_fast:
            self._end()

    def _leave_locked(self, task: _Task) -> None:
        """Another process trains it: try again later."""
        if time.monotonic() < task.lock_until:
            task.not_before = time.monotonic() + REST
            self._queue.append(task)
            return
        self._locked.append(task)
        self._outcomes[task.run.id] = "locked"
        if task.run.id not in self._told_locked:
            self._told_locked.add(task.run.id)
            self._progress.ended(task.run, "locked", self._store.get(task.run).summary)

    def _retry(self, task: _Task, cause: str) -> None:
        """Its process died: continue from the last checkpoint with another one."""
        task.deaths += 1
        if task.deaths >= MAX_DEATHS:
            text = f"its process died {task.deaths} times ({cause})"
            self._progress.note(_of_run(task.run, text))
            self._finish(task.run, "failed")
            return
        text = f"its process is gone ({cause}); it goes on with another"
        self._progress.note(_of_run(task.run, text))
        now = time.monotonic()
        task.not_before, task.lock_until = now + REST, now + LOCK_PATIENCE
        self._queue.appendleft(task)


def _reason(code: int) -> str:
    return "was told to stop by another" if code == 130 else f"ended with {code}"


def _of_run(run: Run, text: str) -> str:
    """The text with the run's id at its start."""
    return text if text.startswith(run.id) else f"{run.id}: {text}"
