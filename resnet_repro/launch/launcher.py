"""The seam: whoever trains runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from resnet_repro.base.stop import StopFlag
    from resnet_repro.launch.where import Where
    from resnet_repro.runner.options import Options, Outcome, Progress
    from resnet_repro.spec.run import Run
    from resnet_repro.store.store import Store

__all__ = ["Launcher", "make_launcher"]


class Launcher(Protocol):
    """Trains runs into a results folder; `runner.Runner` is one."""

    def run_all(self, runs: Sequence[Run]) -> dict[str, Outcome]:
        """Train what is missing; returns the outcome of every run that was looked at.

        Raises:
            ReproError: as `runner.Runner.run_all`; what others were at is saved then.
        """


def make_launcher(
    where: Where, store: Store, options: Options, stop: StopFlag, progress: Progress
) -> Launcher:
    """The launcher for a place that is not simply this process.

    Raises:
        ConfigError: there is no such place, or not what is asked of it.
    """
    if where.kind == "ray":
        from resnet_repro.launch.ray_cluster import RayLauncher

        return RayLauncher(where, store, options, stop, progress)
    if where.kind == "here":
        from resnet_repro.launch.side_by_side import SideBySide

        return SideBySide(where.jobs, store, options, stop, progress)
    from resnet_repro.launch.slurm import SlurmLauncher

    return SlurmLauncher(where, store, options, stop, progress)
