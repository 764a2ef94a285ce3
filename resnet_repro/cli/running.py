"""Commands that work: run, bench and doctor."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from resnet_repro.cli.common import (
    choice,
    chosen_experiment,
    distinct_runs,
    open_store,
    print_json,
    print_table,
    start_logging,
)
from resnet_repro.cli.options import (
    DATA,
    RESULTS,
    DataDirOption,
    DatasetOption,
    DeviceOption,
    JsonOption,
    Names,
    NetworksOption,
    PrecisionOption,
    PresetOption,
    QuietOption,
    ResultsOption,
    SeedsOption,
    SetOption,
    VerboseOption,
)
from resnet_repro.names import parse_network

if TYPE_CHECKING:
    from resnet_repro.runner import Outcome
    from resnet_repro.spec import Experiment, Run
    from resnet_repro.store import Store

__all__ = ["bench", "doctor", "run"]

USED_UP, INTERRUPTED = 75, 130


def run(
    names: Names,
    preset: PresetOption = None,
    dataset: DatasetOption = None,
    networks: NetworksOption = None,
    seeds: SeedsOption = None,
    changes: SetOption = None,
    precision: PrecisionOption = None,
    device: DeviceOption = "auto",
    data_dir: DataDirOption = DATA,
    results: ResultsOption = RESULTS,
    time_budget: Annotated[
        str | None, typer.Option(help="Stop after this long, saved: 25m, 1h30m.")
    ] = None,
    checkpoint_every: Annotated[str, typer.Option(help="How often to save: 60s, 5m.")] = "60s",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan only.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Train finished runs again.")] = False,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first run that fails.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard event files as well.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Train what is missing, then write the experiment's CSV.

    Finished runs are skipped, unfinished ones continue where they stopped. Ctrl-C saves and stops.

    \b
    Examples:
      resnet-repro run fig1 --preset demo
      resnet-repro run table6 --preset short --seeds 3 --time-budget 1h30m
      resnet-repro run fig6 --dry-run
    """
    from resnet_repro.durations import parse_duration

    experiments = [
        chosen_experiment(name, preset, dataset, networks, seeds, precision, changes)
        for name in names
    ]
    runs = distinct_runs(experiments)
    store = open_store(results)
    budget = parse_duration(time_budget) if time_budget is not None else None
    saving = parse_duration(checkpoint_every)
    if dry_run:
        _print_plan(store, experiments, runs, device, force, as_json)
        return
    if tensorboard:
        from resnet_repro.observe import check_tensorboard

        check_tensorboard()
    start_logging(verbose, quiet)
    raise typer.Exit(
        _run(
            store, experiments, runs, budget, quiet, as_json,
            data_dir=data_dir, device=device, force=force, fail_fast=fail_fast,
            checkpoint_every=saving, tensorboard=tensorboard,
        )
    )  # fmt: skip


def _print_plan(
    store: Store,
    experiments: Sequence[Experiment],
    runs: Sequence[Run],
    device: str,
    force: bool,
    as_json: bool,
) -> None:
    """What `run` would do and how long it would take; touches nothing."""
    from resnet_repro.durations import format_duration
    from resnet_repro.overview import plan_runs

    lines = plan_runs(store, runs, device, force)
    if as_json:
        print_json([line.to_dict() for line in lines])
        return
    if lines:
        print_table(
            ["run", "state", "iteration", "train %", "test %", "left"],
            [line.cells() for line in lines],
        )
    todo = [line for line in lines if line.seconds_left is not None and line.state != "failed"]
    guessed = any(line.estimate == "guessed" for line in todo)
    total = format_duration(sum(line.seconds_left or 0.0 for line in todo))
    how = " (a guess: nothing has been measured on this machine yet)" if todo and guessed else ""
    typer.echo(f"{len(todo)} of {len(lines)} runs to train, about {total} here{how}")
    for experiment in experiments:
        typer.echo(f"then write {store.csv_path(experiment.name)}")


def _run(
    store: Store,
    experiments: Sequence[Experiment],
    runs: Sequence[Run],
    budget: float | None,
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> int:
    """Train, measure, write the CSVs; returns the exit code."""
    from resnet_repro.progress import make_progress
    from resnet_repro.provenance import command_line
    from resnet_repro.stop import StopFlag

    outcomes: dict[str, Outcome] = {}
    with StopFlag(budget) as stop:
        if runs:
            from resnet_repro.runner import Options, Runner

            with make_progress(quiet) as progress:
                command = command_line(sys.argv[1:])
                watched = distinct_runs([e for e in experiments if "gradients" in e.measure])
                watched_ids = frozenset(run.id for run in watched)
                chosen = Options(command=command, observe_gradients=watched_ids, **options)
                runner = Runner(store, chosen, stop, progress)
                outcomes = runner.run_all(runs)
                responding = [e for e in experiments if "responses" in e.measure]
                unmeasured = runner.measure_responses(distinct_runs(responding))
                unmeasured += runner.measure_gradients(watched)
                for run_id in dict.fromkeys(unmeasured):
                    progress.note(f"{run_id}: its weights are not here, not measured")
                if chosen.tensorboard:
                    runner.write_events(runs)
        written = [str(_write_csv(store, experiment)) for experiment in experiments]
        states = {r.id: outcomes.get(r.id, "waiting") for r in runs}
        if as_json:
            print_json({"runs": states, "files": written, "stopped": stop.reason})
        elif not quiet:
            for path in written:
                typer.echo(f"wrote {path}")
        return _exit_code(list(states.values()), stop.reason)


def _exit_code(states: Sequence[str], reason: str | None) -> int:
    """The contract's exit codes, the most urgent first."""
    left = any(state in ("waiting", "stopped") for state in states)
    if reason == "signal":
        return INTERRUPTED
    if reason == "budget" and left:
        return USED_UP
    if "failed" in states:
        return 1
    return 4 if "locked" in states else 0


def _write_csv(store: Store, experiment: Experiment) -> Path:
    """Write an experiment's tidy file from everything that the store has."""
    if experiment.table and experiment.table.kind == "cost":
        from resnet_repro.costing import cost_csv

        return store.write_csv(experiment.name, cost_csv(experiment.table.networks))
    from resnet_repro.report.tidy import tidy_csv

    return store.write_csv(experiment.name, tidy_csv(experiment, store.all_runs()))


def bench(
    networks: NetworksOption = "resnet-20,resnet-110",
    dataset: DatasetOption = "synthetic",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "auto",
    rounds: Annotated[
        int, typer.Option(min=1, max=1000, help="How often the contenders take turns.")
    ] = 5,
    seconds: Annotated[
        float, typer.Option(min=0.1, max=3600, help="How long each turn takes at least.")
    ] = 4.0,
    textbook: Annotated[
        bool, typer.Option("--textbook/--no-textbook", help="Time the textbook loop as well.")
    ] = True,
    data_dir: DataDirOption = DATA,
    results: ResultsOption = RESULTS,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure training speed here, beside a textbook loop and the hardware's limit.

    Everything that training does is timed, data included; evaluation is not. `list` and
    `run --dry-run` estimate from what this measured.

    \b
    Examples:
      resnet-repro bench
      resnet-repro bench --networks resnet-20 --rounds 9 --json
    """
    from typing import get_args

    from resnet_repro.bench import bench_csv, measure_network
    from resnet_repro.data import load
    from resnet_repro.estimate import BENCH
    from resnet_repro.spec import DatasetName, Precision

    choice("--dataset", dataset, get_args(DatasetName))
    chosen: Any = choice("--precision", precision, get_args(Precision))
    names = [str(parse_network(name)) for name in str(networks).split(",")]
    images = load(str(dataset), data_dir)
    store = open_store(results)

    def tell(text: str) -> None:
        if not quiet:
            typer.echo(text, err=True)

    measured = [
        measure_network(
            name,
            images,
            device,
            chosen,
            rounds=rounds,
            seconds=seconds,
            textbook=textbook,
            progress=tell,
        )
        for name in names
    ]
    path = store.csv_path(BENCH)
    before = path.read_text() if path.is_file() else ""
    store.write_csv(BENCH, bench_csv(before, measured))
    if as_json:
        print_json([m.to_dict() for m in measured])
        return
    first = measured[0]
    typer.echo(
        f"{first.hardware}, {first.precision}: matrix products {first.matrix_tflops:.3f} TFLOP/s, "
        f"memory {first.memory_gb_per_second:.0f} GB/s"
    )
    print_table(
        ["network", "images/s", "textbook", "ratio", "of matrix rate", "peak memory"],
        [m.cells() for m in measured],
    )
    typer.echo(f"wrote {path}")
    _print_projection(store)


def _print_projection(store: Store) -> None:
    """What every experiment costs here at every preset, from nothing."""
    from resnet_repro.overview import project_experiments
    from resnet_repro.spec import load_experiment, shipped_experiments

    experiments = [load_experiment(name) for name in shipped_experiments()]
    typer.echo("\nevery experiment on this machine, from nothing:")
    print_table(["experiment", "paper", "short", "demo"], project_experiments(store, experiments))


def doctor(
    device: DeviceOption = "auto",
    data_dir: DataDirOption = DATA,
    results: ResultsOption = RESULTS,
    as_json: JsonOption = False,
) -> None:
    """Is this machine ready? Device, precision, data, disk, versions.

    \b
    Example:
      resnet-repro doctor
    """
    from resnet_repro.doctor import examine

    checks = examine(open_store(results), data_dir, device)
    if as_json:
        print_json([vars(check) for check in checks])
    else:
        print_table(["", "", ""], [[c.name, c.verdict, c.text] for c in checks])
    raise typer.Exit(1 if any(check.verdict == "problem" for check in checks) else 0)
