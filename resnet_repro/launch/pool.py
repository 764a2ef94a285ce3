"""Handing runs to workers, wherever they are, until all are trained or it is time to stop."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from resnet_repro.base.errors import ConfigError, DataError, ReproError, StoreError
from resnet_repro.base.provenance import utc_now
from resnet_repro.base.stop import StopFlag
from resnet_repro.launch.messages import Event, TrainOrder
from resnet_repro.runner.options import Options, Outcome, Progress
from resnet_repro.spec.run import Run
from resnet_repro.store.store import Store

__all__ = ["Pool", "Slot"]

MOST_LIVES = 3  # workers that may die of one run before it counts as failed
MOST_UNBORN = 3  # workers in a row that may die before they take an order
REST = 1.0  # seconds between a death and the next try
LOCK_PATIENCE = 60.0  # seconds for a lost worker's lock to go with it
PAUSE = 0.05  # seconds between two looks at the workers
ERRORS = {kind.__name__: kind for kind in (ConfigError, DataError, StoreError)}


class Slot(Protocol):
    """A worker, here or elsewhere, that trains one run at a time."""

    @property
    def ready(self) -> bool:
        """Whether it takes an order."""

    def give(self, order: TrainOrder) -> None:
        """Hand over a run."""

    def poll(self) -> list[Event]:
        """What it has told since the last time, `died` last."""

    def stop(self) -> None:
        """Ask it to save and end."""

    def close(self) -> None:
        """Give it up, saved."""


@dataclass
class _Task:
    """A run on its way through the workers."""

    run: Run
    deaths: int = 0
    not_before: float = 0.0
    lock_until: float = 0.0  # how long a lock may be what a lost worker left


class Pool:
    """Trains runs on up to `most` workers, continuing those whose worker dies.

    Args:
        make_slot: starts the worker with a number from 0 up to `most`.
        device_of: the device for that worker, as for `--device`.
    """

    def __init__(
        self,
        store: Store,
        options: Options,
        stop: StopFlag,
        progress: Progress,
        make_slot: Callable[[int], Slot],
        most: int,
        device_of: Callable[[int], str],
    ) -> None:
        self.store, self.options, self.stop, self.progress = store, options, stop, progress
        self._make_slot, self._most, self._device_of = make_slot, most, device_of
        self._queue: deque[_Task] = deque()
        self._locked: list[_Task] = []
        self._slots: dict[int, Slot] = {}
        self._busy: dict[int, _Task] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._told_locked: set[str] = set()
        self._error: ReproError | None = None
        self._ending = False
        self._unborn = 0
        self._since = utc_now() if options.force else None

    def run_all(self, runs: Sequence[Run]) -> dict[str, Outcome]:
        """Train what is missing; see `Launcher.run_all`."""
        self._queue.extend(_Task(run) for run in runs if not self._is_done(run))
        self.store.check_writable()
        round_size = len(runs)
        try:
            while self._queue or self._busy:
                self._look_for_an_end()
                if self._ending and not self._busy:
                    break
                if not self._ending:
                    self._staff()
                    self._hand_out()
                self._listen()
                if not self._queue and not self._busy and len(self._locked) < round_size:
                    # Others were at work on them; like `Runner`, look again while that helps.
                    round_size = len(self._locked)
                    self._queue.extend(self._locked)
                    self._locked.clear()
                time.sleep(PAUSE)
        finally:
            self._dismiss(self._slots)
        if self._error:
            raise self._error
        return self._outcomes

    def _is_done(self, run: Run) -> bool:
        """Whether a run needs no worker at all."""
        if self.options.force:
            return False
        stored = self.store.get(run)
        if stored.finished:
            self._outcomes[run.id] = "done"
            self.progress.ended(run, "done", stored.summary)
        return stored.finished

    def _look_for_an_end(self) -> None:
        """Ask all to save when it is time to stop."""
        if not self._ending and (self.stop.reason or self._error):
            self._end()

    def _end(self) -> None:
        self._ending = True
        for number in self._busy:
            self._slots[number].stop()

    def _staff(self) -> None:
        """As many workers as there is work for, no more."""
        wanted = min(self._most, len(self._queue) + len(self._busy))
        idle = [number for number in self._slots if number not in self._busy]
        surplus = max(0, len(self._slots) - wanted)
        # Those that still wait for their place go first.
        idle.sort(key=lambda number: self._slots[number].ready)
        self._dismiss(idle[:surplus])
        for number in range(self._most):
            if len(self._slots) >= wanted:
                break
            if number not in self._slots:
                self._slots[number] = self._make_slot(number)

    def _dismiss(self, numbers: Sequence[int] | dict[int, Slot]) -> None:
        """Close workers; all of them are told first, so that they end side by side."""
        gone = {number: self._slots.pop(number) for number in list(numbers)}
        for slot in gone.values():
            slot.stop()
        for slot in gone.values():
            slot.close()

    def _hand_out(self) -> None:
        now = time.monotonic()
        for number, slot in self._slots.items():
            task = next((task for task in self._queue if task.not_before <= now), None)
            if task is None:
                return
            if number in self._busy or not slot.ready:
                continue
            self._queue.remove(task)
            self._busy[number] = task
            options = replace(self.options, force=False, device=self._device_of(number))
            order = TrainOrder(
                run=task.run,
                results=self.store.root,
                options=options,
                force_before=self._since,
            )
            slot.give(order)

    def _listen(self) -> None:
        for number, slot in list(self._slots.items()):
            for event in slot.poll():
                if event.kind == "died":
                    self._bury(number, event.text)
                elif number in self._busy:
                    self._hear(number, self._busy[number], event)

    def _hear(self, number: int, task: _Task, event: Event) -> None:
        run = task.run
        if event.kind == "started":
            self.progress.started(run, event.iteration)
        elif event.kind == "advanced" and event.summary is not None:
            self.progress.advanced(run, event.summary)
        elif event.kind == "note":
            self.progress.note(event.text)
        elif event.kind == "ended" and event.outcome is not None:
            self._tell_end(task, event)
        elif event.kind == "result":
            del self._busy[number]
            self._settle(task, event.outcome)
        elif event.kind == "error":
            del self._busy[number]
            self._fail(task, event)

    def _tell_end(self, task: _Task, event: Event) -> None:
        assert event.outcome is not None
        if event.outcome == "stopped" and not self._ending:
            return  # it goes on elsewhere
        if event.outcome == "locked":
            if task.run.id in self._told_locked or time.monotonic() < task.lock_until:
                return
            self._told_locked.add(task.run.id)
        self.progress.ended(task.run, event.outcome, event.summary)

    def _settle(self, task: _Task, outcome: Outcome | None) -> None:
        """Note what came of an order, and what that means for the run."""
        if outcome == "locked" and time.monotonic() < task.lock_until:
            task.not_before = time.monotonic() + REST
            self._queue.append(task)
            return
        if outcome in ("stopped", None) and not self._ending:
            self._retry(task, "was told to stop by another")
            return
        if outcome is not None:
            self._outcomes[task.run.id] = outcome
        if outcome == "locked":
            self._locked.append(task)
        if outcome == "failed" and self.options.fail_fast:
            self._end()

    def _fail(self, task: _Task, event: Event) -> None:
        """An error that the others would meet too ends everything; any other this run only."""
        if event.error in ERRORS:
            self._error = self._error or ERRORS[event.error](event.text)
            self._outcomes[task.run.id] = "stopped"
            return
        text = event.text if event.text.startswith(task.run.id) else f"{task.run.id}: {event.text}"
        self.progress.note(text)
        self._give_up(task)

    def _give_up(self, task: _Task) -> None:
        self._outcomes[task.run.id] = "failed"
        self.progress.ended(task.run, "failed", self.store.get(task.run).summary)
        if self.options.fail_fast:
            self._end()

    def _bury(self, number: int, cause: str) -> None:
        """Take a dead worker away; its run goes on from the last checkpoint with another."""
        slot = self._slots.pop(number)
        task = self._busy.pop(number, None)
        self._unborn = 0 if slot.ready else self._unborn + 1
        if self._unborn >= MOST_UNBORN:
            self._error = ReproError(f"workers cannot be started: {cause}")
        with contextlib.suppress(ReproError):
            slot.close()
        if task is not None:
            self._retry(task, cause)

    def _retry(self, task: _Task, cause: str) -> None:
        if self._ending:
            self._outcomes[task.run.id] = "stopped"
            self.progress.ended(task.run, "stopped", self.store.get(task.run).summary)
            return
        task.deaths += 1
        if task.deaths >= MOST_LIVES:
            self.progress.note(f"{task.run.id}: its worker died {task.deaths} times ({cause})")
            self._give_up(task)
            return
        self.progress.note(f"{task.run.id}: its worker is gone ({cause}); it goes on with another")
        now = time.monotonic()
        task.not_before, task.lock_until = now + REST, now + LOCK_PATIENCE
        self._queue.appendleft(task)
