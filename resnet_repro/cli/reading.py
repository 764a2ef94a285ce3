"""Commands that neither train nor measure: list, show, status, table, plot, report.

None of them imports torch.
"""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from resnet_repro.base.files import results_option
from resnet_repro.cli import options as opt
from resnet_repro.cli.common import (
    choice,
    chosen_experiment,
    dataset_name,
    open_store,
    print_json,
    print_table,
    say,
)
from resnet_repro.cli.completing import complete_experiments, one_of

if TYPE_CHECKING:
    from resnet_repro.spec.experiment import Experiment

__all__ = ["list_command", "plot", "report", "show", "status", "table"]

TABLE_FORMATS = ("text", "md", "csv", "latex")
FIGURE_FORMATS = ("png", "svg", "pdf", "html")
REPORTS = ("md", "html")


def list_command(
    results: opt.Results = opt.RESULTS,
    as_json: opt.Json = False,
    verbose: opt.Traceback = False,
) -> None:
    """Every experiment: runs done and needed, cost of the rest here.

    Costs marked ~ are guesses. The others come from runs measured on this machine, or are scaled by
    multiply-adds from those of networks of the same family.

    \b
    Example:
      resnet-repro list
    """
    from resnet_repro.plan.overview import experiment_table, list_experiments
    from resnet_repro.spec.loading import load_experiment, shipped_experiments

    experiments = [load_experiment(name) for name in shipped_experiments()]
    lines = list_experiments(open_store(results), experiments)
    if as_json:
        print_json([vars(line) for line in lines])
        return
    print_table(*experiment_table(lines))
    say("Runs done of those needed, and the time for the rest on this machine (~: a guess).")
    if any(line.cost.endswith("no weights") for line in lines):
        say("no weights: what is unmeasured needs checkpoints that are not here.")
    if any(line.cost.endswith("unmeasured") for line in lines):
        say("unmeasured: `run` has only to measure what is trained.")


def show(
    name: opt.Name,
    preset: opt.Preset = None,
    dataset: opt.Dataset = None,
    networks: opt.Networks = None,
    seeds: opt.Seeds = None,
    precision: opt.Precision = None,
    changes: opt.Set = None,
    verbose: opt.Traceback = False,
) -> None:
    """Print an experiment with all settings, as YAML for `run`.

    \b
    Example:
      resnet-repro show table6 --preset short > mine.yaml
      resnet-repro run mine.yaml
    """
    experiment = chosen_experiment(name, preset, dataset, networks, seeds, precision, changes)
    typer.echo(experiment.to_yaml(), nl=False)


def status(
    name: Annotated[
        str | None,
        typer.Argument(
            help="An experiment; all runs if left out.", autocompletion=complete_experiments
        ),
    ] = None,
    preset: opt.Preset = None,
    dataset: opt.Dataset = None,
    networks: opt.Networks = None,
    seeds: opt.Seeds = None,
    results: opt.Results = opt.RESULTS,
    as_json: opt.Json = False,
    verbose: opt.Traceback = False,
) -> None:
    """Every run: state, iteration, errors in percent, time left.

    Works while `run` runs.

    \b
    Examples:
      resnet-repro status
      resnet-repro status fig1 --preset short
      resnet-repro status table2 --preset short --dataset imagenette
    """
    from resnet_repro.base.errors import ConfigError
    from resnet_repro.plan.overview import list_runs, run_table

    runs = None
    if name is not None:
        runs = list(chosen_experiment(name, preset, dataset, networks, seeds).resolve())
    elif preset or dataset or networks or seeds:
        raise ConfigError(
            "--preset, --dataset, --networks and --seeds go with an experiment: "
            "resnet-repro status fig1 --preset short"
        )
    lines = list_runs(open_store(results), runs)
    if as_json:
        print_json([vars(line) for line in lines])
    elif lines:
        print_table(*run_table(lines))
    elif name is not None:
        say(f"{name} needs no run")
    else:
        start = f"resnet-repro run fig1 --preset demo{results_option(results)}"
        say(f"no runs in {results}; start with `{start}`")


def _shown(name: str, preset: str | None, dataset: str | None, networks: str | None) -> Experiment:
    """An experiment to show: as chosen, or if neither preset nor networks are, of all presets."""
    from resnet_repro.spec.loading import load_experiment

    if preset is not None or networks is not None:
        return chosen_experiment(name, preset, dataset, networks)
    known = dataset_name(dataset)
    if known is None:
        return load_experiment(name)
    chosen_experiment(name, dataset=dataset)  # its runs are checked there, not on its own data set
    return load_experiment(name, checked=False).on_dataset(known)


def table(
    name: opt.Name,
    form: Annotated[str, one_of(TABLE_FORMATS, "--format", "text, md, csv or latex.")] = "text",
    preset: opt.Preset = None,
    dataset: opt.Dataset = None,
    networks: opt.Networks = None,
    others: Annotated[
        bool, typer.Option("--others", help="Show what public reproductions report as well.")
    ] = False,
    results: opt.Results = opt.RESULTS,
    verbose: opt.Traceback = False,
) -> None:
    """The paper's table beside ours.

    \b
    Examples:
      resnet-repro table table6
      resnet-repro table table6 --others
      resnet-repro table table6 --preset short --format latex
      resnet-repro table table2 --dataset imagenette
    """
    from resnet_repro.report.rendering import render_table
    from resnet_repro.report.results import Results
    from resnet_repro.report.tables import make_table, others_table
    from resnet_repro.spec.tables_figures import ErrorTable

    chosen = choice("--format", form, TABLE_FORMATS)
    experiment = _shown(name, preset, dataset, networks)
    store = open_store(results)
    found = Results(store, preset, dataset_name(dataset), results_option(results))
    made = make_table(experiment, found, others=others)
    for line in found.left_out(experiment):
        say(line, err=True)
    typer.echo(render_table(made, chosen, _terminal_width()).rstrip("\n"))
    if others and isinstance(experiment.table, ErrorTable) and form != "csv":
        sources = others_table(experiment.shown_networks)
        if sources.rows:
            typer.echo("\n" + render_table(sources, chosen, _terminal_width()).rstrip("\n"))


def _terminal_width() -> int | None:
    """The terminal's width, or None where there is no terminal to fit into."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def plot(
    names: opt.Names,
    form: Annotated[
        str, one_of(FIGURE_FORMATS, "--format", "png, svg, pdf; html for `surface`.")
    ] = "png",
    preset: opt.Preset = None,
    dataset: opt.Dataset = None,
    networks: opt.Networks = None,
    results: opt.Results = opt.RESULTS,
    verbose: opt.Traceback = False,
) -> None:
    """The paper's figure from our data.

    \b
    Examples:
      resnet-repro plot fig1
      resnet-repro plot fig6 --preset short --format pdf
      resnet-repro plot surface --format html
    """
    from resnet_repro.base.errors import ConfigError, ReproError, StoreError
    from resnet_repro.report.figures.figures import draw
    from resnet_repro.report.results import Results
    from resnet_repro.spec.loading import load_experiment
    from resnet_repro.spec.presets import PRESETS

    chosen = choice("--format", form, FIGURE_FORMATS)
    store = open_store(results)
    experiments = [_shown(name, preset, dataset, networks) for name in names]
    for name, experiment in zip(names, experiments, strict=True):
        if experiment.plot is None and experiment.table is None:
            raise ConfigError(f"{experiment.name} has neither table nor figure")
        if experiment.plot is None:
            command = f"resnet-repro table {shlex.quote(name)}{results_option(results)}"
            raise ConfigError(f"{experiment.name} is a table: {command}")
    known = dataset_name(dataset)
    if networks is None:  # pictures of a preset or a data set are the same as among those of all
        experiments = [load_experiment(name, checked=known is None) for name in names]
        if known is not None:
            experiments = [experiment.also_on(known) for experiment in experiments]
    whole = Results(store, option=results_option(results))
    for line in dict.fromkeys(line for one in experiments for line in whole.left_out(one)):
        say(line, err=True)
    only = choice("--preset", preset, PRESETS)
    not_drawn = []
    for experiment in experiments:
        try:
            pictures = draw(experiment, whole, chosen, preset=only, dataset=known)
            for file_name, content in pictures:
                say(f"wrote {store.write_figure(file_name, form, content)}")
        except (ConfigError, StoreError):
            raise
        except ReproError as error:
            not_drawn.append(str(error))
    if not_drawn:
        raise ReproError("\n".join(not_drawn))


def report(
    form: Annotated[str, one_of(REPORTS, "--format", "md, or html: one file.")] = "md",
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 if the report is out of date.")
    ] = False,
    results: opt.Results = opt.RESULTS,
    verbose: opt.Traceback = False,
) -> None:
    """Write verdicts, tables and figures of all runs to report.md.

    Prints its first lines, and the verdict on each of the papers' claims that could be judged.

    \b
    Examples:
      resnet-repro report
      resnet-repro report --format html
      resnet-repro report --check
    """
    import textwrap

    from resnet_repro.base.errors import StoreError
    from resnet_repro.report.document.document import compose_report
    from resnet_repro.report.document.html import as_html
    from resnet_repro.report.document.opening import findings

    chosen = choice("--format", form, REPORTS)
    store = open_store(results)
    text, verdicts = compose_report(store)
    content = as_html(text, store.read_figure) if chosen == "html" else text
    content = content.encode("utf-8", "replace").decode("utf-8")  # as it is written
    path = store.report_file(chosen)
    if not check:
        store.write_report(content, chosen)
        width = _terminal_width()
        for line in text.partition("\n## ")[0].rstrip().splitlines():
            typer.echo("\n".join(textwrap.wrap(line, width)) if width else line)
        for line in findings(verdicts, width):
            say(line)
        say(f"\nwrote {path}")
        return
    stored = store.read_report(chosen)
    if stored != content:
        for run in store.all_runs():
            if run.problem:
                say(f"{run.id}: {run.problem}; left out", err=True)
        state = "missing" if stored is None else "not what the results and figures give"
        option = " --format html" if chosen == "html" else ""
        command = f"resnet-repro report{option}{results_option(results)}"
        raise StoreError(f"{path} is {state}; write it with: {command}")
    say(f"{path} is what the results give")
