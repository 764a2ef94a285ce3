"""The command line: parse, call, print. Slow imports wait until a command needs them."""

from __future__ import annotations

import atexit
import gc
import re
import signal
import sys
from typing import Annotated, Never

import typer

from resnet_repro.base.errors import ReproError
from resnet_repro.base.machine import process_rank, take_back_settings
from resnet_repro.base.plain_text import printable, printable_lines
from resnet_repro.base.provenance import code_version
from resnet_repro.cli import detecting, evaluating, launching, machine, reading, running
from resnet_repro.cli.common import INTERRUPTED
from resnet_repro.cli.data import data_app
from resnet_repro.cli.outputs import prepare_outputs

__all__ = ["app", "main"]

READING = {"list", "show", "status", "table", "plot", "report"}  # neither train nor measure

app = typer.Typer(
    help='Reproduce "Deep Residual Learning for Image Recognition" (He et al., CVPR 2016).',
    epilog="Start with: resnet-repro list, then resnet-repro run fig1 --preset demo --results mine",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        code, changed = code_version()
        typer.echo(f"resnet-repro {code}" + (", with uncommitted changes" if changed else ""))
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it and exit.")
    ] = False,
) -> None:
    pass


app.command("list")(reading.list_command)
app.command()(reading.show)
app.command()(running.run)
app.command()(reading.status)
app.command()(reading.table)
app.command()(reading.plot)
app.command()(reading.report)
app.command()(evaluating.evaluate)
app.command()(detecting.detect)
app.add_typer(data_app, name="data")
app.command()(machine.bench)
app.command()(machine.doctor)
app.command(hidden=True)(launching.train_run)


def main() -> None:
    """Run the command line; errors of users end in one or two lines and an exit code."""
    prepare_outputs()
    take_back_settings()
    if set(sys.argv[1:2]) <= READING:
        atexit.register(gc.disable)  # a last search for garbage takes 20 ms
    verbose = any(re.fullmatch(r"-[qv]*v[qv]*|--verbose", word) for word in sys.argv[1:])
    for name in ("SIGTERM", "SIGUSR1"):  # like Ctrl-C, until a training saves when they come
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    try:
        app(prog_name="resnet-repro")
    except ReproError as error:
        if verbose:
            raise
        _tell(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _exit_interrupted()
    except SystemExit as ended:
        # Typer makes of a Ctrl-C its own exit.
        if isinstance(getattr(ended.__context__, "__cause__", None), KeyboardInterrupt):
            _exit_interrupted()
        raise
    except OSError as error:
        if verbose:
            raise
        where = printable(str(error.filename or "output"))
        what = f"{where}: {error.strerror}" if error.strerror else printable(str(error))
        print(f"resnet-repro: {what}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        # pydantic raises its SchemaError for a Ctrl-C that comes while it prepares a model.
        if type(error).__name__ != "SchemaError" or "KeyboardInterrupt" not in str(error):
            raise
        _exit_interrupted()


def _exit_interrupted() -> Never:
    _tell("interrupted")
    sys.exit(INTERRUPTED)


def _tell(text: str) -> None:
    """Print a line to stderr; if several processes train together, only in the first."""
    if not (process_rank() and sys.argv[1:2] == ["run"]):
        print(f"resnet-repro: {printable_lines(text)}", file=sys.stderr)
