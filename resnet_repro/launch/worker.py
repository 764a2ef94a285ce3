"""Training one run for another process: the order to do so, and the command `train-run` for it.

The hidden command has the exit codes of `run`. Its progress is in the results folder; notes are
printed as lines that begin with `NOTE`, errors as in every command. It saves and ends on SIGTERM,
and when stdin closes because the process that started it is gone.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import torch

from resnet_repro.base.errors import StoreError
from resnet_repro.base.records import Frozen
from resnet_repro.base.stop import StopFlag
from resnet_repro.launch.process import NOTE, UNWRITABLE
from resnet_repro.runner.options import Options, Outcome, Progress
from resnet_repro.runner.runner import Runner
from resnet_repro.spec.run import Run
from resnet_repro.store.models import Summary
from resnet_repro.store.store import Store

__all__ = ["Order", "train_run"]

EXIT_CODES = {"done": 0, "failed": 1, "locked": 4, "stopped": 130, None: 130}


class Order(Frozen):
    """An order to train a run into a results folder.

    With `force_before` (UTC), results that were begun up to then are trained again. Later results
    come from this order itself, repeated after a process died or a job was requeued.
    """

    run: Run
    results: Path
    options: Options  # its `force` is False: `force_before` decides
    force_before: str | None = None

    @classmethod
    def of(cls, run: Run, store: Store, options: Options, force_before: str | None) -> Order:
        """The order for a run, with the options of the command."""
        watched = options.observe_gradients & {run.id}
        own = replace(options, force=False, observe_gradients=watched)
        return cls(run=run, results=store.root, options=own, force_before=force_before)

    def to_json(self) -> str:
        """One line of JSON; not pydantic's, which fails for paths that are not UTF-8."""
        return json.dumps(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, text: str) -> Order:
        """The inverse of `to_json`."""
        return cls.model_validate(json.loads(text))

    def with_options(self, **changes: object) -> Order:
        """The order with some options changed."""
        return self.model_copy(update={"options": replace(self.options, **changes)})  # type: ignore[arg-type]

    def with_whole_paths(self) -> Order:
        """The order with absolute paths, for other machines and working directories."""
        folders = {name: path.resolve() for name, path in self.options.folders.items()}
        whole = self.with_options(data_dir=self.options.data_dir.resolve(), folders=folders)
        return whole.model_copy(update={"results": self.results.resolve()})

    @property
    def is_forced(self) -> bool:
        """Whether the stored result is older than `force_before`, so that it is trained again."""
        if self.force_before is None:
            return False
        summary = Store(self.results).get(self.run).summary
        return summary is None or summary.provenance.started <= self.force_before

    def train(self, stop: StopFlag, progress: Progress) -> Outcome | None:
        """Train as ordered; None if it was time to stop before that.

        Raises:
            ReproError: as `Runner.run_all`.
        """
        options = replace(self.options, force=self.is_forced)
        runner = Runner(Store(self.results), options, stop, progress)
        return runner.run_all([self.run]).get(self.run.id)


def train_run(order: str, threads: int, stop: StopFlag) -> int:
    """Train the run of an `Order`; returns the exit code.

    Raises:
        ReproError: as `Runner.run_all`.
    """
    threading.Thread(target=_stop_when_stdin_closes, args=(stop,), daemon=True).start()
    torch.set_num_threads(threads)
    try:
        return EXIT_CODES[Order.from_json(order).train(stop, _Notes())]
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
