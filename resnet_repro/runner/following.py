"""What every process but the first one does when several train together."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from resnet_repro.base.stop import StopFlag
from resnet_repro.runner.agreement import Agreement, ready
from resnet_repro.runner.memory import enough_memory
from resnet_repro.runner.options import Options
from resnet_repro.runner.scores import ScoreTask, score_along
from resnet_repro.runner.sources import Sources
from resnet_repro.spec.run import Run
from resnet_repro.training.backend import Resolved
from resnet_repro.training.checkpoint import unpack
from resnet_repro.training.processes import Processes
from resnet_repro.training.trainer import DivergenceError, Trainer

__all__ = ["Task", "follow"]


@dataclass(frozen=True)
class Task:
    """A run to train together, from the state in a checkpoint if there is one."""

    run: Run
    precision: Resolved  # decided by the first process
    checkpoint: bytes | None


def follow(processes: Processes, options: Options, stop: StopFlag) -> int:
    """Work along until the first process has done its work; returns the exit code it has.

    Neither the results folder nor the terminal is touched here.

    Raises:
        ReproError: as in the first process.
    """
    logging.getLogger("resnet_repro").setLevel(logging.ERROR)  # the first one says the same
    sources = Sources(options, stop, processes)
    while True:
        task: Task | ScoreTask | int = processes.broadcast(0)
        if isinstance(task, int):
            return task
        if isinstance(task, ScoreTask):
            score_along(task, sources)
        else:
            _train_along(task, sources, stop)


def _train_along(task: Task, sources: Sources, stop: StopFlag) -> None:
    trainer: Trainer | None = None

    def prepare() -> None:
        nonlocal trainer
        backend = sources.backend(task.precision)
        trainer = Trainer(task.run, sources.feed(task.run, backend), backend, sources.processes)
        if task.checkpoint is not None:
            trainer.load_state(unpack(task.checkpoint))
        trainer.feed.prepare(sources.should_stop)

    try:
        if not ready(sources.processes, prepare):
            return
        assert trainer is not None, "prepared without an error"
        with enough_memory(trainer):
            trainer.train(_Along(sources.processes, stop))
        trainer.state()  # which takes all processes, and which the first one stores
    except DivergenceError:
        pass  # which the first one tells
    finally:
        if trainer is not None:
            trainer.feed.close()


class _Along:
    """Hooks of a training whose outcome another process stores."""

    def __init__(self, processes: Processes, stop: StopFlag) -> None:
        self.agreement = Agreement(processes, stop)

    def should_stop(self) -> bool:
        """What all agree on."""
        return self.agreement.should_stop()

    def on_iteration(self, trainer: Trainer, rate: float) -> None:
        """Give this process's part of a state that the first one saves."""
        if self.agreement.save_is_due:
            trainer.state()

    def on_point(self, trainer: Trainer) -> None:
        """Nothing to tell."""
