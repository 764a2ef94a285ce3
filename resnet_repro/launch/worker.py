"""The hidden command `resnet-repro train-run`: trains one run for the process that started it.

It has the exit codes of `run`. Its progress is in the results folder; notes are printed as lines
that begin with `NOTE`, errors as in every command. It saves and ends on SIGTERM, and when stdin
closes because the process that started it is gone.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from resnet_repro.base.errors import StoreError
from resnet_repro.base.stop import StopFlag

if TYPE_CHECKING:
    from resnet_repro.runner.options import Outcome
    from resnet_repro.spec.run import Run
    from resnet_repro.store.models import Summary

__all__ = ["NOTE", "UNWRITABLE", "train_run"]

NOTE = "note: "
UNWRITABLE = 74  # exit code where results cannot be written, which is 1 elsewhere; EX_IOERR
EXIT_CODES = {"done": 0, "failed": 1, "locked": 4, "stopped": 130, None: 130}


def train_run(order: str, threads: int, cores: Sequence[int] = ()) -> int:
    """Train the run of an `Order`; returns the exit code.

    Raises:
        ReproError: as `Runner.run_all`.
    """
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)  # before torch is imported, which reads it
    with StopFlag() as stop:
        threading.Thread(target=_stop_when_stdin_closes, args=(stop,), daemon=True).start()
        import torch

        from resnet_repro.launch.order import Order, train

        torch.set_num_threads(threads)
        try:
            return EXIT_CODES[train(Order.from_json(order), stop, _Notes())]
        except StoreError as error:
            error.exit_code = UNWRITABLE
            raise


def _stop_when_stdin_closes(stop: StopFlag) -> None:
    # Not sys.stdin: this thread would hold its lock, which blocks the process's end.
    while os.read(0, 1024):
        pass
    stop.signalled = stop.signalled or "EOF"


class _Notes:
    """A `Progress` that prints notes; all else is in the results folder."""

    def started(self, run: Run, iteration: int) -> None: ...

    def advanced(self, run: Run, summary: Summary) -> None: ...

    def ended(self, run: Run, outcome: Outcome, summary: Summary | None) -> None: ...

    def note(self, text: str) -> None:
        for line in text.splitlines():
            print(f"{NOTE}{line}", flush=True)
