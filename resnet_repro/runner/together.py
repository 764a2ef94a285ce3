"""Training and measuring in several processes: how they agree, and what the other ones do."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from resnet_repro.base.errors import DataError, ReproError
from resnet_repro.base.stop import StopFlag, Stopped
from resnet_repro.data.dataset import Identity
from resnet_repro.runner.options import Options
from resnet_repro.runner.sources import Sources, memory_advice
from resnet_repro.spec.run import Resolved, Run
from resnet_repro.training.checkpoint import unpack
from resnet_repro.training.memory import enough_memory, is_lack_of_memory
from resnet_repro.training.processes import Processes
from resnet_repro.training.trainer import DivergenceError, Trainer

__all__ = ["Agreement", "TrainTask", "follow", "in_every_process", "refuse_different_data"]

T = TypeVar("T")

ECHO = 5.0  # seconds within which a launcher may repeat a Ctrl-C that the terminal sent to all

_REASONS: tuple[Literal["budget", "signal"], ...] = ("budget", "signal")  # by priority


class Agreement:
    """Decides to continue, save or stop, in all processes at the same iteration.

    A signal to any of them, or the end of its time, stops all; the first decides when to save.
    """

    def __init__(self, processes: Processes, stop: StopFlag) -> None:
        self.processes, self.stop = processes, stop
        if processes.count > 1:
            stop.echo = ECHO
        self.save_is_due = False

    def should_stop(self, save_is_due: bool = False) -> bool:
        """Ask all processes; each of them has to call this at the same iteration."""
        reason = self.stop.reason
        mine = _REASONS.index(reason) + 1 if reason else 0
        code, save = self.processes.largest([mine, save_is_due])
        self.save_is_due = bool(save)
        if code > mine:
            self.stop.stop_for(_REASONS[code - 1])
        return code > 0


def in_every_process(sources: Sources, step: Callable[[], T]) -> T:
    """Do a step in every process, and go on only if all have; returns what it made in this one.

    Raises:
        Stopped: it is time to stop in one of them, and so in all.
        ReproError: it failed in one of them; raised in all.
    """
    made: list[T] = []
    failure: ReproError | None = None
    try:
        made.append(step())
    except Stopped:
        pass  # all are asked below
    except ReproError as error:
        failure = error
    except (RuntimeError, MemoryError) as error:
        if sources.processes.count == 1 or not is_lack_of_memory(error):
            raise
        failure = ReproError("not enough memory in one of the processes")  # the others wait for it
    sources.processes.share_error(failure)
    if Agreement(sources.processes, sources.stop).should_stop():
        raise Stopped
    return made[0]


def refuse_different_data(processes: Processes, data: Identity) -> None:
    """Compare the data of all processes: each machine may have a data folder of its own.

    Raises:
        DataError: they differ.
    """
    first, *others = processes.gather(data.sha256)
    for rank, other in enumerate(others, 1):
        if other != first:
            raise DataError(
                f"{data.name} is not the same in all processes: its SHA-256 is {first[:12]}... in"
                f" process 0, {other[:12]}... in process {rank}; prepare the same copy for each"
            )


class Task(Protocol):
    """A task that the first process gives to the others."""

    def work(self, sources: Sources) -> None:
        """Do this process's part."""


def follow(processes: Processes, options: Options, stop: StopFlag) -> int:
    """Do the tasks of the first process until it ends; returns its exit code.

    This process writes neither into the results folder nor on the terminal.

    Raises:
        ReproError: as in the first process.
    """
    logging.getLogger("resnet_repro").setLevel(logging.ERROR)  # the first process logs the same
    sources = Sources(options, stop, processes)
    while True:
        task: Task | int = processes.broadcast(0)
        if isinstance(task, int):
            return task
        task.work(sources)


@dataclass(frozen=True)
class TrainTask:
    """A task for all processes: train a run, from a checkpoint if there is one."""

    run: Run
    precision: Resolved  # decided by the first process
    checkpoint: bytes | None

    def work(self, sources: Sources) -> None:
        """Train with the first process, which stores the results."""
        # The first process reports that it was stopped or diverged.
        with contextlib.suppress(Stopped, DivergenceError), contextlib.ExitStack() as held:

            def prepare() -> Trainer:
                trainer = sources.trainer(self.run, sources.backend(self.precision))
                held.callback(trainer.feed.close)
                if self.checkpoint is not None:
                    trainer.load_state(unpack(self.checkpoint))
                trainer.feed.prepare(sources.should_stop)
                return trainer

            trainer = in_every_process(sources, prepare)
            refuse_different_data(sources.processes, trainer.feed.identity)
            with enough_memory(lambda: memory_advice(trainer)):
                trainer.train(FollowerHooks(sources.processes, sources.stop))
            trainer.state()  # all processes take part in it; the first one stores it


class FollowerHooks:
    """Hooks of a training whose results another process stores."""

    def __init__(self, processes: Processes, stop: StopFlag) -> None:
        self.agreement = Agreement(processes, stop)

    def should_stop(self) -> bool:
        """Whether any process has to stop."""
        return self.agreement.should_stop()

    def on_iteration(self, trainer: Trainer) -> None:
        """Take part in collecting a state that the first process saves."""
        if self.agreement.save_is_due:
            trainer.state()

    def on_point(self, trainer: Trainer) -> None:
        """Nothing to store."""
