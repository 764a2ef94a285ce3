"""Where `resnet-repro run` trains, in words; submitting array jobs; `train-run`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_repro.base.errors import ConfigError
from resnet_repro.base.files import results_option
from resnet_repro.base.plain_text import plural
from resnet_repro.base.stop import StopFlag
from resnet_repro.cli.common import INTERRUPTED, print_json, say

if TYPE_CHECKING:
    from resnet_repro.launch.where import Where
    from resnet_repro.runner.runner import Runner
    from resnet_repro.spec.run import Run

__all__ = ["plan_line", "submit", "train_run"]


def plan_line(where: Where) -> str | None:
    """Where the runs are trained, for `--dry-run`; None for this process."""
    if where.plain:
        return None
    if where.kind == "here":
        number = (
            "as many as there are GPUs or cores for" if where.jobs == "auto" else f"{where.jobs}"
        )
        return f"side by side on this machine: {number}"
    if where.kind == "ray":
        return f"on the Ray cluster at {where.address}" if where.address else "with Ray"
    options = " ".join(word for item in where.slurm.items() for word in _as_typed(*item))
    where_to = "by submitit on this machine" if where.kind == "slurm-local" else "by Slurm"
    return f"as the tasks of one array job, {where_to}" + (f" ({options})" if options else "")


def _as_typed(name: str, value: str | list[str] | bool) -> list[str]:
    """What `--slurm` takes for an option of sbatch."""
    key = name.replace("_", "-")
    if isinstance(value, bool):
        return [key]
    return [shlex.quote(f"{key}={one}") for one in ([value] if isinstance(value, str) else value)]


def _left_out_later(where: Where, force: bool) -> str:
    """The options given that the later command, which measures here, leaves out, in words."""
    given = {
        "--launcher": True,
        "--slurm": where.slurm,
        "--cpus-per-run": where.cpus_per_run,
        "--gpus-per-run": where.gpus_per_run is not None,
        "--force": force,
    }
    *most, last = [name for name, value in given.items() if value]
    return f"{', '.join(most)} and {last}" if most else last


def submit(where: Where, runner: Runner, runs: Sequence[Run], as_json: bool, quiet: bool) -> int:
    """Submit the runs to Slurm and print how to follow them; returns the exit code.

    Those that only `--force` trains again are named, as `run` does where it trains itself.

    Raises:
        ConfigError: detectors and what they start from are to be trained again, or as `submit_job`.
        DataError: as `Runner.check`.
    """
    from resnet_repro.launch.slurm import job_number, submit_job
    from resnet_repro.launch.training import in_turn

    store, force = runner.store, runner.options.force
    first, later = in_turn(runs)
    if later and force:  # submitted again, it would train anew what they start from
        raise ConfigError(
            f"--force trains what {plural(len(later), 'detector')} would start from as well: "
            "add --wait, which submits them after it"
        )
    if not runner.check(runs, elsewhere=True):
        say("interrupted, nothing is submitted", err=True)
        return INTERRUPTED
    unfinished = {run.id for run in first if not store.get(run).finished}
    waiting = [run for run in later if run.recipe.starts_from in unfinished]
    jobs = submit_job(where, runner, [run for run in runs if run not in waiting])
    left = [run for run in runs if run.id not in jobs and run not in waiting]
    failed = {run.id: why for run in left if (why := store.get(run).given_up)}
    for why in failed.values():
        say(why, err=True)
    number = job_number(jobs)
    less = _left_out_later(where, force)
    if as_json:
        states = {run.id: "submitted" if run.id in jobs else "done" for run in runs}
        states |= {run.id: "waiting" for run in waiting} | dict.fromkeys(failed, "failed")
        print_json({"runs": states, "files": [], "stopped": None, "job": number})
    elif quiet:
        pass
    elif not jobs:
        typer.echo(f"nothing to train; run it without {less} to write its files")
    else:
        typer.echo(f"submitted job {number}: {plural(len(jobs), 'run')}")
        if waiting:
            detectors = plural(len(waiting), "detector")
            typer.echo(f"{detectors} to start from these: submit again when they are done")
        status = f"resnet-repro status{results_option(store.root)}"
        typer.echo(f"{status} shows how far they are; when they are done, run the same")
        typer.echo(f"without {less}: it measures what is left and writes the CSV files")
    return 1 if failed else 0


def train_run(
    order: Annotated[str, typer.Argument(help="What to train and how, as JSON.")],
    threads: Annotated[int, typer.Option(min=1)] = 1,
    cores: Annotated[str, typer.Option(help="To run on: 0,1.")] = "",
) -> None:
    """Train one run for the process that starts this one; not for people."""
    if cores and hasattr(os, "sched_setaffinity"):
        # Before torch is imported, which reads how many cores there are.
        os.sched_setaffinity(0, map(int, cores.split(",")))
    with StopFlag() as stop:
        from resnet_repro.launch import worker

        raise typer.Exit(worker.train_order(order, threads, stop))
