"""Processes that train and measure together: what they agree on, and what the others do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from resnet_repro.base.errors import ReproError
from resnet_repro.base.stop import StopFlag, Stopped
from resnet_repro.runner.options import Options
from resnet_repro.runner.sources import Sources
from resnet_repro.spec.run import Resolved, Run
from resnet_repro.training.checkpoint import unpack
from resnet_repro.training.memory import enough_memory
from resnet_repro.training.processes import Processes
from resnet_repro.training.trainer import DivergenceError, Trainer

__all__ = ["Agreement", "TrainTask", "follow", "prepare_everywhere"]

ECHO = 5.0  # seconds within which a launcher may repeat a Ctrl-C that the terminal sent to all

_REASONS: tuple[Literal["budget", "signal"], ...] = ("budget", "signal")  # the latter matters more


class Agreement:
    """Go on, save, or stop: the same in all processes at the same iteration.

    A signal to any of them, or the end of its time, stops all; the first one says when to save.
    """

    def __init__(self, processes: Processes, stop: StopFlag) -> None:
        self.processes, self.stop = processes, stop
        if processes.count > 1:
            stop.echo = ECHO
        self.save_is_due = False

    def should_stop(self, save_is_due: bool = False) -> bool:
        """Ask the others; every process has to at the same time."""
        reason = self.stop.reason
        mine = _REASONS.index(reason) + 1 if reason else 0
        code, save = self.processes.largest([mine, save_is_due])
        self.save_is_due = bool(save)
        if code > mine:
            self.stop.stop_for(_REASONS[code - 1])
        return code > 0


def prepare_everywhere(processes: Processes, prepare: Callable[[], None]) -> bool:
    """Prepare in every process; False if it was time to stop in one of them.

    Raises:
        ReproError: it failed in one of them, which is raised in all.
    """
    failure, stopped = None, False
    try:
        prepare()
    except Stopped:
        stopped = True
    except ReproError as error:
        failure = error
    processes.share_error(failure)
    return not any(processes.gather(stopped))


class Task(Protocol):
    """What the first process asks the others to do with it."""

    def work(self, sources: Sources) -> None:
        """Do this process's part of it."""


def follow(processes: Processes, options: Options, stop: StopFlag) -> int:
    """Do what the first process asks for until it is done; returns its exit code.

    Neither the results folder nor the terminal is touched here.

    Raises:
        ReproError: as in the first process.
    """
    logging.getLogger("resnet_repro").setLevel(logging.ERROR)  # the first one logs the same
    sources = Sources(options, stop, processes)
    while True:
        task: Task | int = processes.broadcast(0)
        if isinstance(task, int):
            return task
        task.work(sources)


@dataclass(frozen=True)
class TrainTask:
    """A run to train together, from the state in a checkpoint if there is one."""

    run: Run
    precision: Resolved  # decided by the first process
    checkpoint: bytes | None

    def work(self, sources: Sources) -> None:
        """Train along with the first process, which stores the outcome."""
        trainer: Trainer | None = None

        def prepare() -> None:
            nonlocal trainer
            trainer = sources.trainer(self.run, sources.backend(self.precision))
            if self.checkpoint is not None:
                trainer.load_state(unpack(self.checkpoint))
            trainer.feed.prepare(sources.should_stop)

        try:
            if not prepare_everywhere(sources.processes, prepare):
                return
            assert trainer is not None, "prepared without an error"
            with enough_memory(trainer.memory_advice):
                trainer.train(FollowerHooks(sources.processes, sources.stop))
            trainer.state()  # which takes all processes, and which the first one stores
        except DivergenceError:
            pass  # which the first one reports
        finally:
            if trainer is not None:
                trainer.feed.close()


class FollowerHooks:
    """Hooks of a training whose outcome another process stores."""

    def __init__(self, processes: Processes, stop: StopFlag) -> None:
        self.agreement = Agreement(processes, stop)

    def should_stop(self) -> bool:
        """Whether any process has to stop."""
        return self.agreement.should_stop()

    def on_iteration(self, trainer: Trainer, rate: float) -> None:
        """Give this process's part of a state that the first one saves."""
        if self.agreement.save_is_due:
            trainer.state()

    def on_point(self, trainer: Trainer) -> None:
        """Nothing to store."""
