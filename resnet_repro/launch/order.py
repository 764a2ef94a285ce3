"""What a process is told that trains one run for another one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from resnet_repro.base.stop import StopFlag
from resnet_repro.runner.options import Options, Outcome, Progress
from resnet_repro.runner.runner import Runner
from resnet_repro.spec.run import Run
from resnet_repro.store.store import Store

__all__ = ["Order", "train"]


class Order(BaseModel):
    """Train a run into a results folder.

    A result that was begun up to `force_before` (UTC) is trained again; what was begun later comes
    from this very order, given for the second time after a process died or a job was requeued.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: Run
    results: Path
    options: Options  # its `force` is False: `force_before` decides
    force_before: str | None = None

    @classmethod
    def of(cls, run: Run, store: Store, options: Options, force_before: str | None) -> Order:
        """Train a run with the options of the command that wants it."""
        watched = options.observe_gradients & {run.id}
        own = replace(options, force=False, observe_gradients=watched)
        return cls(run=run, results=store.root, options=own, force_before=force_before)

    def to_json(self) -> str:
        """As one line; paths may be no UTF-8, which pydantic's own JSON does not allow."""
        return json.dumps(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, text: str) -> Order:
        """What `to_json` wrote."""
        return cls.model_validate(json.loads(text))

    def with_whole_paths(self) -> Order:
        """The same for another machine, or another working directory."""
        folders = {name: path.resolve() for name, path in self.options.folders.items()}
        options = replace(self.options, data_dir=self.options.data_dir.resolve(), folders=folders)
        return self.model_copy(update={"results": self.results.resolve(), "options": options})

    @property
    def is_forced(self) -> bool:
        """Whether what is stored is from before the order, which asks to train it again."""
        if self.force_before is None:
            return False
        summary = Store(self.results).get(self.run).summary
        return summary is None or summary.provenance.started <= self.force_before


def train(order: Order, stop: StopFlag, progress: Progress) -> Outcome | None:
    """Train one run as ordered; None if it was time to stop before it was looked at.

    Raises:
        ReproError: as `Runner.run_all`.
    """
    options = replace(order.options, force=order.is_forced)
    runner = Runner(Store(order.results), options, stop, progress)
    return runner.run_all([order.run]).get(order.run.id)
