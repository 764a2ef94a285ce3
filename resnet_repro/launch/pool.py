"""Runs trained by other processes, and what the results folder says of them meanwhile."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from resnet_repro.base.errors import ConfigError, DataError, ReproError, StoreError
from resnet_repro.base.files import read_text
from resnet_repro.launch.worker import FAILED, UNWRITABLE, Ended, Order
from resnet_repro.plan.estimator import training_cost
from resnet_repro.plan.progress import Progress
from resnet_repro.runner.options import Outcome
from resnet_repro.runner.runner import Runner
from resnet_repro.spec.run import Run
from resnet_repro.store.models import Summary
from resnet_repro.store.store import Store

__all__ = ["Attempt", "Pool", "Watcher"]

MAX_DEATHS = 3  # of processes that train a run, before it counts as failed
RETRY_AFTER = 1.0  # seconds between a death and the next attempt
LOCK_PATIENCE = 60.0  # seconds until the lock of a dead process is released
POLL_EVERY = 0.05  # seconds between two checks of the processes
LOOK_EVERY = 0.5  # seconds between two checks of the results folder
# Errors that all other runs would have too, by exit code.
ERRORS = {2: ConfigError, 3: DataError, UNWRITABLE: StoreError}


class Watcher:
    """Reports the progress of runs from their `summary.json`, which changes every few seconds."""

    def __init__(self, store: Store, progress: Progress) -> None:
        self._store, self._progress = store, progress
        self._seen: dict[str, Summary | None] = {}
        self.begun: set[str] = set()  # ids of runs of which a new session has begun

    def expect(self, run: Run) -> None:
        """Watch a run from now on; its stored summary is an earlier one."""
        self._seen.setdefault(run.id, self._read(run))

    def look(self, run: Run) -> None:
        """Report changes since the last call."""
        summary, before = self._read(run), self._seen[run.id]
        if summary is None or summary == before:
            return
        self._seen[run.id] = summary
        now, then = summary.provenance, before.provenance if before else None
        if then is None or (now.started, now.sessions) != (then.started, then.sessions):
            self.begun.add(run.id)
            self._progress.started(run, now.first_iteration)
        if summary.state == "running" and summary.iteration:
            self._progress.advanced(run, summary)

    def _read(self, run: Run) -> Summary | None:
        try:
            return Summary.model_validate_json(read_text(self._store.folder(run).summary))
        except (OSError, ValueError):  # missing or unusable
            return None


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
        self._runner, self._store, self._progress = runner, runner.store, runner.progress
        self._places, self._start = places, start
        self._watcher = Watcher(runner.store, runner.progress)
        self._queue: deque[_Task] = deque()
        self._locked: list[_Task] = []
        self._busy: dict[int, tuple[_Task, Attempt]] = {}  # by place
        self._outcomes: dict[str, Outcome] = {}
        self._error: ReproError | None = None
        self._ending = False

    def run_all(self, runs: Sequence[Run]) -> dict[str, Outcome]:
        """Train the runs that are not done; returns the outcomes of all that were considered.

        Raises:
            ReproError: as `Runner.run_all`. Other processes have saved their state then.
        """
        # The longest first, so that no place is idle while a long run ends alone.
        runs = sorted(runs, key=training_cost, reverse=True)
        for run in runs:
            if known := self._runner.known_outcome(run, self._store.get(run)):
                self._note_outcome(run, known)
            else:
                self._queue.append(_Task(run))
        self._store.check_writable()
        round_size, looked = len(runs), 0.0
        try:
            while self._busy or (self._queue and not self._ending):
                if self._runner.stop.reason:
                    self._end()
                if not self._ending:
                    self._fill_places()
                if time.monotonic() - looked >= LOOK_EVERY:
                    looked = time.monotonic()
                    for task, _ in self._busy.values():
                        self._watcher.look(task.run)
                self._settle_ended()
                if not self._queue and not self._busy and len(self._locked) < round_size:
                    # Locked by others: like `Runner`, try again as long as their number falls.
                    round_size = len(self._locked)
                    self._queue.extend(self._locked)
                    self._locked.clear()
                time.sleep(POLL_EVERY)
        finally:
            self._end()
            for _, attempt in self._busy.values():
                attempt.close()
        if self._error:
            raise self._error
        return self._outcomes

    def _end(self) -> None:
        """Ask all processes to save and end, and start no others."""
        if not self._ending:
            self._ending = True
            for _, attempt in self._busy.values():
                attempt.stop()

    def _fill_places(self) -> None:
        for place in set(range(self._places)) - set(self._busy):
            now = time.monotonic()
            task = next((task for task in self._queue if task.not_before <= now), None)
            if task is None:
                return
            self._queue.remove(task)
            self._watcher.expect(task.run)
            replaces = self._runner.replaces(task.run)
            order = Order.of(task.run, self._store, self._runner.options, replaces)
            self._busy[place] = task, self._start(order, place)

    def _settle_ended(self) -> None:
        for place, (task, attempt) in list(self._busy.items()):
            ended = attempt.poll()
            if ended is not None:
                del self._busy[place]
                attempt.close()
                self._watcher.look(task.run)
                self._settle(task, ended)

    def _settle(self, task: _Task, ended: Ended) -> None:
        """Record how an attempt ended and decide what to do with its run."""
        run, code, begun = task.run, ended.code, task.run.id in self._watcher.begun
        if code in ERRORS:
            self._error = self._error or ERRORS[code](ended.error)
            self._outcomes[run.id] = "stopped"
            self._end()
        elif code == 0 or (code not in (1, 4, FAILED) and begun and self._store.get(run).finished):
            self._finish(run, "done")
        elif code == 4 and time.monotonic() < task.lock_until:
            task.not_before = time.monotonic() + RETRY_AFTER
            self._queue.append(task)
        elif code == 4:  # another process trains it: try again later
            self._locked.append(task)
            self._outcomes[run.id] = self._runner.report_locked(run)
        elif code in (1, FAILED):
            self._finish(run, "failed", ended.error)
        elif not self._ending:
            cause = "was told to stop by another" if code == 130 else f"ended with {code}"
            self._retry(task, ended.error or cause)
        elif begun:
            self._finish(run, "stopped")

    def _finish(self, run: Run, outcome: Outcome, note: str = "") -> None:
        if note:
            self._note(run, note)
        self._progress.ended(run, outcome, self._store.get(run).summary)
        self._note_outcome(run, outcome)

    def _note_outcome(self, run: Run, outcome: Outcome) -> None:
        self._outcomes[run.id] = outcome
        if outcome == "failed" and self._runner.options.fail_fast:
            self._end()

    def _note(self, run: Run, text: str) -> None:
        self._progress.note(text if text.startswith(run.id) else f"{run.id}: {text}")

    def _retry(self, task: _Task, cause: str) -> None:
        """Its process died: continue from the last checkpoint with another one."""
        task.deaths += 1
        if task.deaths >= MAX_DEATHS:
            self._finish(task.run, "failed", f"its process died {task.deaths} times ({cause})")
            return
        self._note(task.run, f"its process is gone ({cause}); it goes on with another")
        now = time.monotonic()
        task.not_before, task.lock_until = now + RETRY_AFTER, now + LOCK_PATIENCE
        self._queue.appendleft(task)
