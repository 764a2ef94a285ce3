"""Obeying the orders that a worker process gets."""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import torch

from resnet_repro.base.errors import ReproError
from resnet_repro.base.stop import StopFlag
from resnet_repro.launch.messages import Event, SpeedOrder, TrainOrder, as_line, read_order
from resnet_repro.runner.options import Outcome, Progress
from resnet_repro.runner.runner import Runner
from resnet_repro.spec.run import Run
from resnet_repro.store.models import Summary
from resnet_repro.store.store import Store
from resnet_repro.training.trainer import Trainer

__all__ = ["Telling", "Work", "is_forced", "train"]

WARM_UP = 5  # iterations before a speed counts; on CUDA the fourth makes the graph
LONG_WARM_UP = 10.0  # seconds, after which fewer do
MOST_WAITING = 200.0  # seconds for the others to get warm
CONTEXT = 600e6  # bytes that CUDA itself takes in every process, about


class Telling:
    """A `runner.Progress` that hands events on."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self._tell = tell

    def started(self, run: Run, iteration: int) -> None:
        """Tell that a run starts, or continues."""
        self._tell(Event(kind="started", iteration=iteration))

    def advanced(self, run: Run, summary: Summary) -> None:
        """Tell how far it is."""
        self._tell(Event(kind="advanced", summary=summary))

    def ended(self, run: Run, outcome: Outcome, summary: Summary | None) -> None:
        """Tell how it ended."""
        self._tell(Event(kind="ended", outcome=outcome, summary=summary))

    def note(self, text: str) -> None:
        """Tell what the user should know."""
        self._tell(Event(kind="note", text=text))


def train(order: TrainOrder, stop: StopFlag, progress: Progress) -> Outcome | None:
    """Train one run as ordered; None if it was time to stop before it was looked at.

    Raises:
        ReproError: as `Runner.run_all`.
    """
    store = Store(order.results)
    options = replace(order.options, force=is_forced(order, store))
    return Runner(store, options, stop, progress).run_all([order.run]).get(order.run.id)


def is_forced(order: TrainOrder, store: Store) -> bool:
    """Whether what is stored is from before the order, which asks to train it again."""
    if order.force_before is None:
        return False
    summary = store.get(order.run).summary
    return summary is None or summary.provenance.started <= order.force_before


class Work:
    """Trains what is ordered, one order after another."""

    def __init__(self, told: TextIO, stop: StopFlag, may_start: Callable[[], bool]) -> None:
        self._told, self._stop, self._may_start = told, stop, may_start

    def tell(self, event: Event) -> None:
        """Write an event; one who does not listen any more has closed stdin too."""
        with contextlib.suppress(BrokenPipeError):
            self._told.write(as_line(event) + "\n")
            self._told.flush()

    def obey(self, line: str) -> None:
        """Do what a line asks for; tells the result, or the error that a user can cause."""
        order = read_order(line)
        try:
            if isinstance(order, TrainOrder):
                outcome = train(order, self._stop, Telling(self.tell))
                self.tell(Event(kind="result", outcome=outcome))
            else:
                self.tell(self._measure(order))
        except ReproError as error:
            self.tell(Event(kind="error", error=type(error).__name__, text=str(error)))
        except Exception as error:  # a bug: the others should not die of it
            text = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
            self.tell(Event(kind="error", error="bug", text=text.rstrip()))

    def _measure(self, order: SpeedOrder) -> Event:
        """Images per second of the iterations between `go` and `seconds` later."""
        nowhere = Store(Path("nowhere"))  # nothing is stored
        sources = Runner(nowhere, order.options, self._stop, Telling(self.tell)).sources
        backend = sources.backend(order.run.precision)
        trainer = Trainer(order.run, sources.feed(order.run, backend), backend)
        try:
            return self._speed(trainer, order)
        finally:
            trainer.feed.close()

    def _speed(self, trainer: Trainer, order: SpeedOrder) -> Event:
        backend = trainer.backend
        trainer.network.train()
        start = time.monotonic()
        for iteration in range(WARM_UP):
            if iteration and time.monotonic() - start > LONG_WARM_UP:
                break
            trainer.step()
        backend.synchronize()
        self.tell(Event(kind="warm"))
        deadline = time.monotonic() + MOST_WAITING
        while not self._may_start():
            if self._stop.reason or time.monotonic() > deadline:
                return Event(kind="speed")
            trainer.step()
        backend.synchronize()
        iterations, start = 0, time.perf_counter()
        while not iterations or time.perf_counter() - start < order.seconds:
            if self._stop.reason:
                return Event(kind="speed")
            trainer.step()
            iterations += 1
        backend.synchronize()
        speed = iterations * order.run.recipe.batch_size / (time.perf_counter() - start)
        share = _memory_share(backend.device)
        return Event(kind="speed", images_per_second=speed, memory_share=share)


def _memory_share(device: torch.device) -> float:
    """The share of the device's memory that this process took at most; 0 where unknown."""
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        return (torch.cuda.max_memory_reserved(device) + CONTEXT) / total
    try:
        peak = _kilobytes(Path("/proc/self/status"), "VmHWM:")
        return peak / _kilobytes(Path("/proc/meminfo"), "MemTotal:")
    except (OSError, ValueError):
        return 0.0


def _kilobytes(path: Path, key: str) -> float:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(key):
            return float(line.split()[1])
    raise ValueError(key)
