"""Training runs where the options of `run` say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from resnet_repro.launch.where import Where

if TYPE_CHECKING:
    from resnet_repro.runner.options import Outcome
    from resnet_repro.runner.runner import Runner
    from resnet_repro.spec.run import Run

__all__ = ["in_turn", "train_at"]


def in_turn(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Runs that can be trained at once, and detectors that start from one of them."""
    wanted = {run.id for run in runs}
    later = [run for run in runs if run.recipe.starts_from in wanted]
    return [run for run in runs if run not in later], later


def train_at(where: Where, runner: Runner, runs: Sequence[Run]) -> dict[str, Outcome]:
    """Train the runs that are not done; returns the outcomes of all runs that were considered.

    Args:
        where: where to train.
        runner: trains runs in this process, one after another.
        runs: the runs.

    Raises:
        ReproError: as `Runner.run_all`, or the runs cannot be trained there. Other processes have
            saved their state then.
    """
    if where.plain:
        return runner.run_all(runs)
    if not runner.check(runs, elsewhere=where.kind != "here"):
        return {}
    outcomes: dict[str, Outcome] = {}
    for turn in in_turn(runs):
        blocked: dict[str, Outcome] = {}
        for run in turn:
            if outcome := runner.blocked_outcome(run, outcomes):
                blocked[run.id] = outcome
        turn = [run for run in turn if run.id not in blocked]
        given_up = runner.options.fail_fast and "failed" in outcomes.values()
        outcomes |= blocked
        if turn and not given_up and not runner.stop.reason:
            outcomes |= _train_elsewhere(where, runner, turn)
    return outcomes


def _train_elsewhere(where: Where, runner: Runner, runs: Sequence[Run]) -> dict[str, Outcome]:
    if where.kind == "here":
        from resnet_repro.launch.side_by_side import train_side_by_side

        return train_side_by_side(where.jobs, runner, runs)
    if where.kind == "ray":
        from resnet_repro.launch.ray_cluster import train_with_ray

        return train_with_ray(where, runner, runs)
    from resnet_repro.launch.slurm import train_by_slurm

    return train_by_slurm(where, runner, runs)
