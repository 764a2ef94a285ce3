"""What processes that train together agree on before every iteration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from resnet_repro.base.errors import ReproError
from resnet_repro.base.stop import StopFlag, Stopped
from resnet_repro.training.processes import Processes

__all__ = ["Agreement", "ready"]

ECHO = 5.0  # seconds for a launcher to pass on a Ctrl-C that the processes have seen already

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


def ready(processes: Processes, prepare: Callable[[], None]) -> bool:
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
    processes.settle(failure)
    return not any(processes.gather(stopped))
