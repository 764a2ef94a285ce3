"""`resnet-repro run`: train what is missing, then write the experiment's CSV."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_repro.base.files import results_option
from resnet_repro.base.machine import process_rank
from resnet_repro.base.plain_text import plural
from resnet_repro.cli import options as opt
from resnet_repro.cli.common import (
    INTERRUPTED,
    chosen_experiment,
    open_store,
    print_json,
    print_table,
    say,
    start_logging,
)
from resnet_repro.cli.launching import plan_line, submit

if TYPE_CHECKING:
    from resnet_repro.launch.where import Where
    from resnet_repro.plan.estimator import Estimator
    from resnet_repro.runner.options import Options
    from resnet_repro.spec.experiment import Experiment
    from resnet_repro.spec.run import Run
    from resnet_repro.store.store import Store

__all__ = ["run"]

USED_UP = 75  # exit code where work is left after the time budget
_LEFT = ("waiting", "stopped")  # states of runs with work left


def run(
    names: opt.Names,
    preset: opt.Preset = None,
    dataset: opt.Dataset = None,
    networks: opt.Networks = None,
    seeds: opt.Seeds = None,
    changes: opt.Set = None,
    precision: opt.Precision = None,
    device: opt.Device = "auto",
    compiled: opt.Compile = False,
    data_dir: opt.DataDir = opt.DATA,
    results: opt.Results = opt.RESULTS,
    time_budget: Annotated[
        str | None, typer.Option(help="Stop after this long, saved: 25m, 1h30m.")
    ] = None,
    checkpoint_every: Annotated[str, typer.Option(help="How often to save: 60s, 5m.")] = "60s",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan only.")] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Begin all anew, finished runs too (to go on: without it)."),
    ] = False,
    fail_fast: Annotated[
        bool,
        typer.Option("--fail-fast", help="Stop at the first run that fails, measuring nothing."),
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard event files as well.")
    ] = False,
    jobs: opt.Jobs = "1",
    launcher: opt.Launcher = None,
    cpus_per_run: opt.Cpus = None,
    gpus_per_run: opt.Gpus = None,
    slurm: opt.Slurm = None,
    wait: opt.Wait = False,
    as_json: opt.Json = False,
    quiet: opt.Quiet = False,
    verbose: opt.Verbose = False,
) -> None:
    """Train what is missing, then write the experiment's CSV.

    Finished runs are skipped, unfinished ones continue where they stopped. Ctrl-C saves and stops.

    \b
    Examples:
      resnet-repro run fig1 --preset demo --results mine
      resnet-repro run table6 --preset short --seeds 3 --time-budget 1h30m
      resnet-repro run fig6 --dry-run
      resnet-repro run fig6 --preset short --jobs auto
      resnet-repro run table6 --launcher slurm --slurm partition=gpu
    """
    from resnet_repro.base.durations import parse_duration
    from resnet_repro.base.errors import ConfigError
    from resnet_repro.base.machine import check_device
    from resnet_repro.base.provenance import code_version
    from resnet_repro.launch.where import parse_where
    from resnet_repro.runner.options import Options
    from resnet_repro.spec.before_training import check_measurements
    from resnet_repro.spec.dataset_names import choose_dataset
    from resnet_repro.spec.loading import load_experiment
    from resnet_repro.spec.recorded_command import command_line

    check_device(device)
    experiments = [
        chosen_experiment(name, preset, dataset, networks, seeds, precision, changes)
        for name in names
    ]
    whole = [load_experiment(name, checked=False) for name in names]
    for one, unchanged in zip(experiments, whole, strict=True):
        if one.name != unchanged.name:
            raise ConfigError("--set name: a CSV is called by its file's name; change it in a copy")
        if new := [n for n in one.networks if n not in unchanged.networks]:
            csv = f"the CSV of {one.name} would have no {', '.join(new)}"
            raise ConfigError(f"--set runs: {csv}; name them in a copy with a name of its own")
    check_measurements(experiments)
    runs = _distinct_runs(experiments)
    store = open_store(results)
    folders = {}
    if dataset is not None:
        known = choose_dataset(dataset)
        folders = known.folders
        whole = [experiment.also_on(known.name) for experiment in whole]
    budget = parse_duration(time_budget) if time_budget is not None else None
    saving = parse_duration(checkpoint_every)
    where = parse_where(
        jobs, launcher, cpus_per_run, gpus_per_run, slurm or (), wait, fail_fast, budget
    )
    if process_rank() and (dry_run or not runs):
        return  # the first process does that
    if dry_run:
        from resnet_repro.plan.estimator import Estimator
        from resnet_repro.store.lines import check_paths

        check_paths(experiments, store)
        images: dict[str, int] = {}
        if own := {run.dataset for run in runs if ":" in run.dataset}:
            from resnet_repro.data.datasets import known_test_images  # takes half a second

            images = known_test_images(own, data_dir, folders)
        estimator = Estimator(store, device, test_images=images, compiled=compiled)
        _print_plan(store, experiments, whole, runs, estimator, force, as_json, plan_line(where))
        return
    if tensorboard:
        from resnet_repro.measure.tensorboard import check_tensorboard

        check_tensorboard()
    start_logging(verbose, quiet)
    code_version()  # that of what runs, whatever is committed until something is measured
    watched = _distinct_runs([e for e in experiments if "gradients" in e.measure])
    options = Options(
        data_dir=data_dir,
        folders=folders,
        device=device,
        compiled=compiled,
        force=force,
        fail_fast=fail_fast,
        checkpoint_every=saving,
        command=command_line(sys.argv[1:]),
        observe_gradients=frozenset(run.id for run in watched),
        tensorboard=tensorboard,
    )
    raise typer.Exit(_run(store, experiments, whole, runs, where, options, quiet, as_json))


def _distinct_runs(experiments: Sequence[Experiment]) -> list[Run]:
    """The runs of several experiments, shared ones once."""
    return list({run.id: run for e in experiments for run in e.resolve()}.values())


def _print_plan(
    store: Store,
    experiments: Sequence[Experiment],
    whole: Sequence[Experiment],
    runs: Sequence[Run],
    estimator: Estimator,
    force: bool,
    as_json: bool,
    place: str | None,
) -> None:
    """Print what `run` would do and how long it would take; change nothing."""
    from resnet_repro.base.durations import format_duration
    from resnet_repro.plan.overview import plan_measuring, plan_runs, run_table, without_weights

    lines = plan_runs(store, runs, estimator, force)
    measuring = plan_measuring(store, experiments, estimator, force)
    gone = set() if force else without_weights(store, measuring)
    measuring = [line for line in measuring if line.run not in gone]
    if as_json:
        by_run = {line.run: line for line in measuring}
        found = [by_run.get(run.id) for run in runs]
        print_json(
            [
                vars(line)
                | {"to_measure": own.measurements if own else ()}
                | {"measuring_seconds": own.seconds if own else 0.0}
                | {"without_weights": run.id in gone}
                for run, line, own in zip(runs, lines, found, strict=True)
            ]
        )
        return
    if lines:
        print_table(*run_table(lines))
    todo = [line for line in lines if line.seconds_left is not None]
    doubts = [line.doubt for line in todo if line.doubt]
    total = format_duration(sum(line.seconds_left or 0.0 for line in todo))
    how = f" (a guess: {doubts[0]})" if doubts else ""
    cost = f", about {total} here{how}" if todo else ""
    typer.echo(f"{len(todo)} of {len(lines)} runs to train{cost}")
    if place:
        say(f"(one after another; you asked for them {place})")
    if gone:
        say(
            f"not measured, for want of their weights here: {', '.join(sorted(gone))}; bring the "
            "checkpoints from where they were trained, or train them again (without --dry-run each "
            "is told how)"
        )
    if measuring:
        kinds = " and ".join(sorted({name for line in measuring for name in line.measurements}))
        total = format_duration(sum(line.seconds for line in measuring))
        networks = plural(len(measuring), "trained network")
        typer.echo(f"then measure {kinds} on {networks}, about {total} more")
    for experiment in filter(_has_csv, whole):
        say(f"then write {store.csv_path(experiment.name)}")


def _run(
    store: Store,
    experiments: Sequence[Experiment],
    whole: Sequence[Experiment],
    runs: Sequence[Run],
    where: Where,
    options: Options,
    quiet: bool,
    as_json: bool,
) -> int:
    """Train, measure, write the CSVs of the whole experiments; returns the exit code."""
    from resnet_repro.base.stop import StopFlag

    with StopFlag(None if where.is_slurm else where.time_budget) as stop:
        if not runs:
            return _finish(store, whole, {}, stop.reason, quiet, as_json)
        from resnet_repro.launch.training import train_at
        from resnet_repro.measure.tensorboard import write_events
        from resnet_repro.plan.progress import make_progress
        from resnet_repro.runner.runner import Runner
        from resnet_repro.runner.together import follow
        from resnet_repro.store.lines import check_paths
        from resnet_repro.training.processes import process_group

        with process_group() as processes:
            if not processes.first:
                return follow(processes, options, stop)
            check_paths(experiments, store)
            if where.submits:
                runner = Runner(store, options, stop, make_progress(quiet=True))
                return submit(where, runner, runs, as_json, quiet)
            with make_progress(quiet) as progress:
                runner = Runner(store, options, stop, progress, processes)
                outcomes: dict[str, str] = dict(train_at(where, runner, runs))
                if not (options.fail_fast and "failed" in outcomes.values()):
                    outcomes |= runner.measurer.measure(experiments)
                if options.tensorboard:
                    write_events(store, runs)
            states = {
                run.id: outcomes.get(run.id) or runner.settled(run) or "waiting" for run in runs
            }
            code = _finish(store, whole, states, stop.reason, quiet, as_json)
            left = sum(state in _LEFT for state in states.values())
            if left and stop.reason and not quiet:
                why = "interrupted" if stop.reason == "signal" else "the time budget is used up"
                how = "go on by the same command"
                if where.kind == "slurm":  # it would submit them a second time now
                    status = f"resnet-repro status{results_option(store.root)}"
                    how = f"when the job has ended ({status}), {how}"
                if options.force:
                    how += " without --force, with which all begin anew"
                    waiting = [run for run in runs if states[run.id] == "waiting"]
                    if kept := [run.id for run in waiting if store.get(run).finished]:
                        how += f"; it leaves as they were, as not yet begun: {', '.join(kept)}"
                say(f"{why}, {plural(left, 'run')} left: {how}", err=True)
            return processes.broadcast(code)


def _finish(
    store: Store,
    experiments: Sequence[Experiment],
    states: Mapping[str, str],
    reason: str | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Write the CSVs and print their paths; returns the exit code."""
    with_csv = [e for e in experiments if _has_csv(e)]
    written = _write_csvs(store, with_csv) if with_csv else []
    if as_json:
        print_json({"runs": states, "files": written, "stopped": reason})
    elif not quiet:
        for path in written:
            say(f"wrote {path}")
        for experiment in (e for e in experiments if e not in with_csv):
            show = "plot" if experiment.plot else "table" if experiment.table else None
            if show is None:
                say(f"{experiment.name} has no runs, no table and no figure")
            else:
                source = shlex.quote(experiment.source.text)
                command = f"resnet-repro {show} {source}{results_option(store.root)}"
                say(f"{experiment.name} needs no run: {command}")
    left = set(_LEFT) & set(states.values())
    failed = {"failed", "unmeasured"} & set(states.values())
    if reason == "signal":
        return INTERRUPTED
    # Work may be left though this process was not stopped: another one was.
    if left and (reason == "budget" or not failed):
        return USED_UP
    if failed:
        return 1
    return 4 if "locked" in states.values() else 0


def _has_csv(experiment: Experiment) -> bool:
    """Whether it has a tidy CSV: of runs or of costs; drawings have none."""
    return bool(experiment.runs or (experiment.table and experiment.table.kind == "cost"))


def _write_csvs(store: Store, experiments: Sequence[Experiment]) -> list[str]:
    """Write experiments' tidy files from the whole store; returns their paths.

    They have all networks of the experiments, not only those of this command.
    """
    from resnet_repro.report.results import Results
    from resnet_repro.report.tidy import tidy_csv

    with store.summing_up():
        results = Results(store)
        return [str(store.write_csv(e.name, tidy_csv(e, results))) for e in experiments]
