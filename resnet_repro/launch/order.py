"""The order to a process that trains one run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from resnet_repro.base.records import Frozen
from resnet_repro.base.stop import StopFlag
from resnet_repro.runner.options import Options, Outcome, Progress
from resnet_repro.runner.runner import Runner
from resnet_repro.spec.run import Run
from resnet_repro.store.store import Store

__all__ = ["Order", "train"]


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

    def with_whole_paths(self) -> Order:
        """The order with absolute paths, for other machines and working directories."""
        folders = {name: path.resolve() for name, path in self.options.folders.items()}
        options = replace(self.options, data_dir=self.options.data_dir.resolve(), folders=folders)
        return self.model_copy(update={"results": self.results.resolve(), "options": options})

    @property
    def is_forced(self) -> bool:
        """Whether the stored result is older than `force_before`, so that it is trained again."""
        if self.force_before is None:
            return False
        summary = Store(self.results).get(self.run).summary
        return summary is None or summary.provenance.started <= self.force_before


def train(order: Order, stop: StopFlag, progress: Progress) -> Outcome | None:
    """Train one run as ordered; None if it was time to stop before that.

    Raises:
        ReproError: as `Runner.run_all`.
    """
    options = replace(order.options, force=order.is_forced)
    runner = Runner(Store(order.results), options, stop, progress)
    return runner.run_all([order.run]).get(order.run.id)
