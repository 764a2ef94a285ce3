"""The command line: parse, call, print."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from resnet_repro.errors import ReproError

app = typer.Typer(
    name="resnet-repro",
    help='Reproduce "Deep Residual Learning for Image Recognition" (He et al., CVPR 2016).',
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _main() -> None:
    pass


@app.command()
def run(
    names: Annotated[list[str], typer.Argument()],
    preset: Annotated[str | None, typer.Option()] = None,
    data_dir: Annotated[Path, typer.Option(envvar="RESNET_REPRO_DATA")] = Path("data"),
    results: Annotated[Path, typer.Option(envvar="RESNET_REPRO_RESULTS")] = Path("results"),
    networks: Annotated[str | None, typer.Option()] = None,
    seeds: Annotated[str | None, typer.Option()] = None,
    time_budget: Annotated[str | None, typer.Option()] = None,
) -> None:
    """Train what is missing."""
    from resnet_repro.progress import make_progress
    from resnet_repro.provenance import command_line
    from resnet_repro.runner import Options, Runner
    from resnet_repro.spec import load_experiment, parse_seeds
    from resnet_repro.stop import StopFlag, parse_duration
    from resnet_repro.store import Store

    runs = []
    for name in names:
        e = load_experiment(name).choose(
            preset=preset,
            networks=networks.split(",") if networks else None,
            seeds=parse_seeds(seeds) if seeds else None,
        )
        runs += list(e.resolve())
    runs = list({r.id: r for r in runs}.values())
    stop = StopFlag(parse_duration(time_budget) if time_budget else None)
    with stop, make_progress() as progress:
        Runner(Store(results), Options(data_dir, command=command_line(sys.argv[1:])), stop, progress).run_all(runs)


def main() -> None:
    app()
