"""What the results folder knows of one run."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_repro.errors import StoreError
from resnet_repro.spec import Run
from resnet_repro.store.measurements import (
    read_curve,
    read_evaluations,
    read_gradients,
    read_origins,
    read_responses,
)
from resnet_repro.store.models import (
    CurveRow,
    EvaluationRow,
    GradientRow,
    Measured,
    MeasurementOrigin,
    State,
    Summary,
)
from resnet_repro.store.run_folder import RunFolder

__all__ = ["StoredRun"]


@dataclass(frozen=True)
class StoredRun:
    """What the results folder knows of one run. `problem` says why it cannot be used, if so.

    A problem is `repairable` if a good checkpoint makes up for it: a file is torn or gone, rather
    than another run's or a newer program's.
    """

    id: str
    folder: RunFolder
    run: Run | None
    summary: Summary | None
    problem: str | None = None
    repairable: bool = False

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
    # file is torn or not what it should be.

    def curve(self) -> list[CurveRow]:
        """The training curve."""
        return read_curve(self.folder.curve)

    def responses(self) -> list[tuple[int, str, float]]:
        """(layer, module, standard deviation) as `fig7` measured them."""
        return read_responses(self.folder.responses)

    def gradients(self) -> list[GradientRow]:
        """Signals and gradients by iteration and layer."""
        return read_gradients(self.folder.gradients)

    def evaluations(self) -> list[EvaluationRow]:
        """Errors over the val part, by kind of views (centre, 10-crop, multi-scale)."""
        return read_evaluations(self.folder.evaluations)

    def origins(self) -> dict[Measured, MeasurementOrigin]:
        """What made the measurements on the trained network, where that is on record."""
        return read_origins(self.folder.origins)

    def discard_torn_measurements(self) -> None:
        """Remove measurements on the trained network that cannot be read, to be made anew.

        Raises:
            StoreError: one cannot be removed.
        """
        for path, read in (
            (self.folder.responses, self.responses),
            (self.folder.gradients, self.gradients),
            (self.folder.evaluations, self.evaluations),
            (self.folder.origins, self.origins),
        ):
            try:
                read()
            except StoreError:
                self.folder.remove(path)
