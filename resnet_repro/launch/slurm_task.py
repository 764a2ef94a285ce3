"""What a task of the array job does: one run, requeued until it is done."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from resnet_repro.base.errors import ReproError

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

    from resnet_repro.base.stop import StopFlag
    from resnet_repro.launch.messages import TrainOrder
    from resnet_repro.runner.options import Outcome, Progress

__all__ = ["SIGNAL", "SlurmTask"]

SIGNAL = "SIGUSR1"  # Slurm's warning before a task's time is up, or before it is preempted
LINGERING = 5.0  # seconds after SIGTERM in which that warning may follow
LOCK_PATIENCE = 60.0  # seconds for the lock of a task that was killed to go with it
MOST_IDLE = 3  # sessions in a row without an iteration before it is given up


class SlurmTask:
    """Trains a run; submitit pickles it, calls it in the job, and again after every requeue."""

    def __init__(
        self, order: str, time_budget: float | None, threads: int | None, idle: int = 0
    ) -> None:
        self.order, self.time_budget, self.threads = order, time_budget, threads
        self.idle = idle  # sessions in a row without an iteration, before this one

    def __call__(self) -> str:
        """Train until done (or "failed", "locked"), or until told to save.

        On SIGUSR1, and when the time budget is used up, the task is requeued after saving. On
        SIGTERM alone, as from scancel, it ends.

        Raises:
            ReproError: nothing got done in several sessions, or as `Runner.run_all`.
        """
        from resnet_repro.base.stop import StopFlag
        from resnet_repro.launch.messages import TrainOrder, read_order
        from resnet_repro.plan.progress import make_progress
        from resnet_repro.store.store import Store

        order = read_order(self.order)
        assert isinstance(order, TrainOrder), "a task trains"
        store = Store(order.results)

        def iteration() -> int:
            summary = store.get(order.run).summary
            return summary.iteration if summary else 0

        before = iteration()
        with StopFlag(self.time_budget) as stop, make_progress() as progress:
            outcome = self._train(order, stop, progress)
        if outcome not in ("stopped", None):
            return str(outcome)
        self.idle = 0 if iteration() > before else self.idle + 1
        if self.idle >= MOST_IDLE:
            raise ReproError(
                f"{order.run.id}: {MOST_IDLE} sessions without an iteration; give it more time"
            )
        # From here on signals are submitit's business again: its handler requeues and exits.
        if stop.signalled == "SIGTERM":
            time.sleep(LINGERING)
        elif stop.reason:
            signal.raise_signal(getattr(signal, SIGNAL))
        return "stopped"

    def _train(self, order: TrainOrder, stop: StopFlag, progress: Progress) -> Outcome | None:
        import torch

        from resnet_repro.launch.work import train

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        deadline = time.monotonic() + LOCK_PATIENCE
        while True:
            outcome = train(order, stop, progress)
            if outcome != "locked" or time.monotonic() > deadline or stop.reason:
                return outcome
            time.sleep(10.0)

    def checkpoint(self) -> DelayedSubmission:
        """What submitit stores before it requeues: the same again; the run's own state is saved."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(SlurmTask(self.order, self.time_budget, self.threads, self.idle))
