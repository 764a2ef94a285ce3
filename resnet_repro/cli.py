"""The command line: parse, call, print. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from resnet_repro import __version__
from resnet_repro.errors import ReproError

if TYPE_CHECKING:
    from resnet_repro.report.tables import Table
    from resnet_repro.runner import Outcome
    from resnet_repro.spec import Experiment, Run
    from resnet_repro.store import Store, StoredRun

__all__ = ["app", "main"]

USED_UP, INTERRUPTED = 75, 130

app = typer.Typer(
    help='Reproduce "Deep Residual Learning for Image Recognition" (He et al., CVPR 2016).',
    epilog="Start with: resnet-repro list, then resnet-repro run fig1 --preset demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(
    help="The data sets: what is here, bringing one, checking it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(data_app, name="data")

Name = Annotated[str, typer.Argument(help="An experiment (see `list`) or a YAML file.")]
Names = Annotated[list[str], typer.Argument(help="Experiments (see `list`) or YAML files.")]
PresetOption = Annotated[
    str | None, typer.Option("--preset", help="paper, short (a tenth) or demo (minutes).")
]
DatasetOption = Annotated[str | None, typer.Option("--dataset", help="cifar10 or synthetic.")]
NetworksOption = Annotated[
    str | None, typer.Option("--networks", help="Only these, as in plain-20,resnet-20.")
]
SeedsOption = Annotated[
    str | None, typer.Option("--seeds", help="A count (3: seeds 0, 1, 2) or a list (0,4,7).")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Change a field: recipe.batch_size=64.")
]
PrecisionOption = Annotated[
    str | None, typer.Option("--precision", help="auto (bf16 where native), fp32 or bf16.")
]
ResultsOption = Annotated[
    Path,
    typer.Option("--results", help="The results folder.", envvar="RESNET_REPRO_RESULTS"),
]
DataDirOption = Annotated[
    Path, typer.Option("--data-dir", help="The data folder.", envvar="RESNET_REPRO_DATA")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="More log, and tracebacks of errors.")
]

RESULTS, DATA = Path("results"), Path("data")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"resnet-repro {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it and exit.")
    ] = False,
) -> None:
    pass


def _choice(option: str, value: str | None, known: Sequence[str]) -> Any:
    """`value` if it is one of `known`.

    Raises:
        ConfigError: it is not.
    """
    from resnet_repro.errors import ConfigError, nearest

    if value is not None and value not in known:
        raise ConfigError(f"{option} {value[:60]!r}: {nearest(value, list(known))}")
    return value


def _experiment(
    name: str,
    preset: str | None = None,
    dataset: str | None = None,
    networks: str | None = None,
    seeds: str | None = None,
    precision: str | None = None,
    changes: Iterable[str] | None = None,
) -> Experiment:
    """Load an experiment and lay the command line's choices over it."""
    from typing import get_args

    from resnet_repro.recipe import PRESETS
    from resnet_repro.spec import Choices, DatasetName, Precision, load_experiment, parse_seeds

    choices = Choices(
        preset=_choice("--preset", preset, PRESETS),
        dataset=_choice("--dataset", dataset, get_args(DatasetName)),
        precision=_choice("--precision", precision, get_args(Precision)),
        networks=[n.strip() for n in networks.split(",")] if networks is not None else None,
        seeds=parse_seeds(seeds) if seeds is not None else None,
    )
    return load_experiment(name, changes or (), choices)


def _distinct_runs(experiments: Sequence[Experiment]) -> list[Run]:
    """The runs of several experiments, shared ones once."""
    return list({run.id: run for e in experiments for run in e.resolve()}.values())


def _store(results: Path) -> Store:
    from resnet_repro.store import Store

    return Store(results)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2))


def _print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns that fold inside a terminal's width, and are as wide as they need to be elsewhere."""
    from rich.console import Console
    from rich.table import Table as RichTable

    console = Console(width=None if sys.stdout.isatty() else 1_000, highlight=False)
    table = RichTable(box=None, pad_edge=False, show_header=True, header_style="bold")
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    with console.capture() as captured:
        console.print(table, markup=False)
    for line in captured.get().splitlines():
        typer.echo(line.rstrip())


@app.command("list")
def list_command(results: ResultsOption = RESULTS, as_json: JsonOption = False) -> None:
    """Every experiment: what it reproduces, runs done and needed, cost of the rest here.

    Costs marked ~ are guesses, the others come from runs measured on this machine.

    \b
    Example:
      resnet-repro list
    """
    from resnet_repro.overview import list_experiments
    from resnet_repro.spec import load_experiment, shipped_experiments

    experiments = [load_experiment(name) for name in shipped_experiments()]
    lines = list_experiments(_store(results), experiments)
    if as_json:
        _print_json([vars(line) for line in lines])
        return
    costs: dict[str, dict[str, str]] = {}
    for line in lines:
        costs.setdefault(line.experiment, {})[line.preset] = line.cost
    rows = [
        [e.name, e.reference, *(costs[e.name][preset] for preset in ("paper", "short", "demo"))]
        for e in experiments
    ]
    _print_table(["experiment", "reproduces", "paper", "short", "demo"], rows)


@app.command()
def show(
    name: Name,
    preset: PresetOption = None,
    dataset: DatasetOption = None,
    networks: NetworksOption = None,
    seeds: SeedsOption = None,
    precision: PrecisionOption = None,
    changes: SetOption = None,
) -> None:
    """Print the fully resolved configuration: a YAML file that `run` takes.

    \b
    Example:
      resnet-repro show table6 --preset short > mine.yaml
      resnet-repro run mine.yaml
    """
    experiment = _experiment(name, preset, dataset, networks, seeds, precision, changes)
    typer.echo(experiment.to_yaml(), nl=False)


@app.command()
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
        _experiment(name, preset, dataset, networks, seeds, precision, changes) for name in names
    ]
    runs = _distinct_runs(experiments)
    store = _store(results)
    budget = parse_duration(time_budget) if time_budget is not None else None
    saving = parse_duration(checkpoint_every)
    if dry_run:
        _print_plan(store, experiments, runs, device, force, as_json)
        return
    _logging(verbose, quiet)
    raise typer.Exit(
        _run(
            store, experiments, runs, budget, quiet, as_json,
            data_dir=data_dir, device=device, force=force, fail_fast=fail_fast,
            checkpoint_every=saving,
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
        _print_json([line.to_dict() for line in lines])
        return
    if lines:
        _print_table(
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

    store.check_writable()
    outcomes: dict[str, Outcome] = {}
    with StopFlag(budget) as stop:
        if runs:
            from resnet_repro.runner import Options, Runner

            with make_progress(quiet) as progress:
                command = command_line(sys.argv[1:])
                runner = Runner(store, Options(command=command, **options), stop, progress)
                outcomes = runner.run_all(runs)
                for experiment in experiments:
                    if "responses" in experiment.measure and not stop.reason:
                        for run_id in runner.measure_responses(experiment.resolve()):
                            progress.note(f"{run_id}: its weights are not here, not measured")
        written = [str(_write_csv(store, experiment)) for experiment in experiments]
        states = {r.id: outcomes.get(r.id, "waiting") for r in runs}
        if as_json:
            _print_json({"runs": states, "files": written, "stopped": stop.reason})
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


@app.command()
def status(
    name: Annotated[str | None, typer.Argument(help="An experiment; all runs if left out.")] = None,
    preset: PresetOption = None,
    dataset: DatasetOption = None,
    networks: NetworksOption = None,
    seeds: SeedsOption = None,
    results: ResultsOption = RESULTS,
    as_json: JsonOption = False,
) -> None:
    """Every run: state, iteration, errors so far (percent), time left. Works while `run` runs.

    \b
    Examples:
      resnet-repro status
      resnet-repro status fig1 --preset short
    """
    from resnet_repro.overview import list_runs

    runs = None
    if name is not None:
        runs = list(_experiment(name, preset, dataset, networks, seeds).resolve())
    lines = list_runs(_store(results), runs)
    if as_json:
        _print_json([line.to_dict() for line in lines])
    elif lines:
        _print_table(
            ["run", "state", "iteration", "train %", "test %", "left"],
            [line.cells() for line in lines],
        )
    else:
        typer.echo(f"no runs in {results}; start with `resnet-repro run fig1 --preset demo`")


def _selected(
    store: Store, preset: str | None, dataset: str | None, networks: str | None
) -> list[StoredRun]:
    """The store's runs, only those of one preset, data set or list of networks if asked for."""
    from typing import get_args

    from resnet_repro.names import parse_network
    from resnet_repro.recipe import PRESETS
    from resnet_repro.spec import DatasetName

    _choice("--preset", preset, (*PRESETS, "custom"))
    _choice("--dataset", dataset, get_args(DatasetName))
    wanted = {str(parse_network(n)) for n in networks.split(",")} if networks else None
    return [
        stored
        for stored in store.all_runs()
        if (preset is None or (stored.run and stored.run.preset == preset))
        and (dataset is None or (stored.run and stored.run.dataset == dataset))
        and (wanted is None or (stored.run and stored.run.network in wanted))
    ]


@app.command()
def table(
    name: Name,
    form: Annotated[str, typer.Option("--format", help="text, md, csv or latex.")] = "text",
    preset: PresetOption = None,
    dataset: DatasetOption = None,
    networks: NetworksOption = None,
    results: ResultsOption = RESULTS,
) -> None:
    """The paper's table beside ours.

    \b
    Examples:
      resnet-repro table table6
      resnet-repro table table6 --preset short --format latex
    """
    from resnet_repro.errors import ConfigError
    from resnet_repro.report.rendering import render_table
    from resnet_repro.report.tables import cost_table, error_table

    _choice("--format", form, ("text", "md", "csv", "latex"))
    experiment = _experiment(name)
    store = _store(results)
    made: Table
    if experiment.table is None:
        raise ConfigError(f"{experiment.name} is a figure: resnet-repro plot {name}")
    if experiment.table.kind == "cost":
        made = cost_table(experiment, store)
    else:
        made = error_table(experiment, _selected(store, preset, dataset, networks))
    chosen: Any = form
    typer.echo(render_table(made, chosen, _terminal_width()).rstrip("\n"))


def _terminal_width() -> int | None:
    """The terminal's width, or None where there is no terminal to fit into."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


@app.command()
def plot(
    names: Names,
    form: Annotated[str, typer.Option("--format", help="png, svg or pdf.")] = "png",
    preset: PresetOption = None,
    dataset: DatasetOption = None,
    networks: NetworksOption = None,
    results: ResultsOption = RESULTS,
) -> None:
    """The paper's figure from our data.

    \b
    Examples:
      resnet-repro plot fig1
      resnet-repro plot fig6 --preset short --format pdf
    """
    from resnet_repro.errors import ConfigError
    from resnet_repro.report.figures import draw

    _choice("--format", form, ("png", "svg", "pdf"))
    store = _store(results)
    chosen: Any = form
    for name in names:
        experiment = _experiment(name)
        if experiment.plot is None:
            raise ConfigError(f"{experiment.name} is a table: resnet-repro table {name}")
        for file_name, content in draw(
            experiment, _selected(store, preset, dataset, networks), chosen
        ):
            typer.echo(f"wrote {store.write_figure(file_name, form, content)}")


@app.command()
def report(results: ResultsOption = RESULTS) -> None:
    """Write the summary of everything measured, with figures and verdicts, to report.md.

    \b
    Example:
      resnet-repro report
    """
    from resnet_repro.report.document import write_report
    from resnet_repro.spec import load_experiment, shipped_experiments

    store = _store(results)
    experiments = [load_experiment(name) for name in shipped_experiments()]
    text = write_report(store, experiments)
    path = store.write_report(text)
    typer.echo(text.partition("\n## ")[0].rstrip())
    typer.echo(f"\nwrote {path}")


@app.command()
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

    checks = examine(_store(results), data_dir, device)
    if as_json:
        _print_json([vars(check) for check in checks])
    else:
        _print_table(["", "", ""], [[c.name, c.verdict, c.text] for c in checks])
    raise typer.Exit(1 if any(check.verdict == "problem" for check in checks) else 0)


@data_app.command("list")
def data_list(data_dir: DataDirOption = DATA, as_json: JsonOption = False) -> None:
    """The data sets, and which are here.

    \b
    Example:
      resnet-repro data list
    """
    from resnet_repro.data import describe

    statuses = describe(data_dir)
    if as_json:
        _print_json([vars(s) for s in statuses])
        return
    rows = []
    for s in statuses:
        what = "not here"
        if s.prepared:
            what = f"{'official' if s.official else 'unofficial'}, {s.images:,} images, {s.source}"
        rows.append([s.name, what, s.description, s.note])
    _print_table(["data set", "here", "what it is", "note"], rows)


@data_app.command("prepare")
def data_prepare(
    dataset: Annotated[str, typer.Argument(help="cifar10 or synthetic.")],
    source: Annotated[
        Path | None,
        typer.Option(
            "--from",
            help="A copy: the python or the binary version, a folder of images "
            "(train/<class>/*, test/<class>/*), or an archive of one.",
        ),
    ] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch the official copy.")] = False,
    data_dir: DataDirOption = DATA,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Turn a copy of a data set into one verified cache.

    \b
    Examples:
      resnet-repro data prepare cifar10 --download
      resnet-repro data prepare cifar10 --from ~/cifar-10-batches-bin
    """
    from resnet_repro.data import prepare

    _logging(verbose, quiet)

    def tell(text: str) -> None:
        if not quiet:
            typer.echo(text, err=True)

    _print_identity(prepare(dataset, data_dir, source, download=download, progress=tell))


@data_app.command("verify")
def data_verify(
    dataset: Annotated[str, typer.Argument(help="cifar10 or synthetic.")],
    data_dir: DataDirOption = DATA,
    verbose: VerboseOption = False,
) -> None:
    """Read a prepared data set again and compare it with its checksums.

    \b
    Example:
      resnet-repro data verify cifar10
    """
    from resnet_repro.data import verify

    _logging(verbose, False)
    _print_identity(verify(dataset, data_dir))


def _print_identity(dataset: Any) -> None:
    identity = dataset.identity
    kind = "official" if identity.official else "unofficial"
    train, test = len(dataset.train_images), len(dataset.test_images)
    typer.echo(f"{identity.name}: {kind}, {train:,} training and {test:,} test images")
    typer.echo(f"sha256 {identity.sha256}, {identity.source}")
    if identity.note:
        typer.echo(identity.note)


def _logging(verbose: bool, quiet: bool) -> None:
    import logging

    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.INFO
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("resnet_repro").setLevel(level)


def main() -> None:
    """Run the command line; errors that a user can cause end in a line or two and an exit code."""
    verbose = bool({"-v", "--verbose"} & set(sys.argv[1:]))
    try:
        app(prog_name="resnet-repro")
    except ReproError as error:
        if verbose:
            raise
        print(f"resnet-repro: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("resnet-repro: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
