"""What the results folder knows of one run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from resnet_repro.base.errors import StoreError
from resnet_repro.spec.measurements import EvaluationRow, GradientRow, ResponseRow
from resnet_repro.spec.run import Run
from resnet_repro.store.measurements import FILES, Table, read_file
from resnet_repro.store.models import (
    CurveRow,
    MeasurementOrigin,
    State,
    Summary,
)
from resnet_repro.store.run_folder import RunFolder

__all__ = ["StoredRun"]


@dataclass(frozen=True)
class StoredRun:
    """What the results folder knows of one run. `problem` says why it cannot be used, if so.

    A problem is `repairable` if a good checkpoint makes up for it: a file is torn or gone, or says
    something else than the rest, rather than being another run's or a newer program's.
    """

    id: str
    folder: RunFolder
    run: Run | None
    summary: Summary | None
    problem: str | None = None
    repairable: bool = False
    damaged: Collection[str] = ()  # of `measurements.FILES`, those that cannot be used
    digests: Mapping[str, str] = field(default_factory=dict)  # SHA-256 of what was measured on it
    # What was read of `measurements.FILES` so far: contents, or the error that reading gave.
    contents: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def state(self) -> State:
        """How far the run is; a run whose process died counts as stopped."""
        if self.summary is None:
            return "missing"
        if self.summary.state == "running" and not self.folder.has_live_owner():
            return "stopped"
        return self.summary.state

    @property
    def finished(self) -> bool:
        """Whether there is a final result that can be used."""
        return self.problem is None and self.state == "done"

    @property
    def holds_result(self) -> bool:
        """Whether starting over would destroy what is left of a finished training."""
        if self.summary is not None and self.summary.state == "done":
            return True
        try:
            rows = self.curve()
        except StoreError:
            return False
        if not rows or self.run is None:
            return False
        return rows[-1].iteration >= self.run.recipe.iterations

    # Each of these is empty where there is no such file yet, and raises a StoreError where the
    # file is torn or not what it should be. Each file is read once.

    def curve(self) -> list[CurveRow]:
        """The training curve."""
        return self.rows("curve")

    def responses(self) -> list[ResponseRow]:
        """Standard deviations of layer responses, as `fig7` measured them."""
        return self.rows("responses")

    def gradients(self) -> list[GradientRow]:
        """Signals and gradients by iteration and layer."""
        return self.rows("gradients")

    def evaluations(self) -> list[EvaluationRow]:
        """Errors over the val part, by kind of views (centre, 10-crop, multi-scale)."""
        return self.rows("evaluations")

    def rows(self, name: str) -> list[Any]:
        """The rows of one of `measurements.TABLES`."""
        table: Table | None = self._read(name)
        return table.rows if table else []

    def origins(self) -> dict[str, MeasurementOrigin]:
        """What made the measurements on the trained network, where that is on record."""
        return self._read("origins") or {}

    def _read(self, name: str) -> Any:
        if name not in self.contents:
            file_name, parse = FILES[name]
            try:
                self.contents[name] = read_file(self.folder.path / file_name, parse)
            except StoreError as error:
                self.contents[name] = error
        found = self.contents[name]
        if isinstance(found, StoreError):
            raise found
        return found

    def discard_torn_measurements(self) -> None:
        """Remove measurements on the trained network that cannot be used, to be made anew.

        Raises:
            StoreError: one cannot be removed.
        """
        for name in self.damaged:
            if name != "curve":  # which the training writes anew
                self.folder.discard(name)
