"""Functions that commands share: from options to experiments, and printing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer

from resnet_repro.base.plain_text import printable, printable_lines

if TYPE_CHECKING:
    from resnet_repro.base.stop import StopFlag
    from resnet_repro.spec.experiment import Experiment
    from resnet_repro.store.store import Store

__all__ = [
    "INTERRUPTED",
    "choice",
    "chosen_experiment",
    "dataset_name",
    "interruptible",
    "open_store",
    "print_json",
    "print_table",
    "say",
    "start_logging",
    "teller",
]

INTERRUPTED = 130  # exit code after Ctrl-C or another signal


def choice(option: str, value: str | None, known: Sequence[str]) -> Any:
    """`value`, which has to be one of `known` or None.

    Raises:
        ConfigError: it is not.
    """
    from resnet_repro.base.errors import ConfigError, nearest

    if value is not None and value not in known:
        raise ConfigError(f"{option} {value[:60]!r}: {nearest(value, list(known))}")
    return value


def chosen_experiment(
    name: str,
    preset: str | None = None,
    dataset: str | None = None,
    networks: str | None = None,
    seeds: str | None = None,
    precision: str | None = None,
    changes: Iterable[str] | None = None,
) -> Experiment:
    """Load an experiment with the command line's choices."""
    from typing import get_args

    from resnet_repro.spec.experiment import Choices
    from resnet_repro.spec.loading import load_experiment, parse_seeds
    from resnet_repro.spec.presets import PRESETS
    from resnet_repro.spec.run import Precision

    choices = Choices(
        preset=choice("--preset", preset, PRESETS),
        dataset=dataset_name(dataset),
        precision=choice("--precision", precision, get_args(Precision)),
        networks=[n.strip() for n in networks.split(",")] if networks is not None else None,
        seeds=parse_seeds(seeds) if seeds is not None else None,
    )
    return load_experiment(name, changes or (), choices)


def dataset_name(dataset: str | None) -> str | None:
    """The name of the data set that `--dataset` asks for, None if it was not given.

    Raises:
        ConfigError: no such data set, or a folder whose name cannot be stored.
    """
    from resnet_repro.spec.dataset_names import choose_dataset

    return choose_dataset(dataset).name if dataset is not None else None


def open_store(results: Path) -> Store:
    """The results folder, which need not exist yet."""
    from resnet_repro.store.store import Store

    return Store(results)


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout."""
    typer.echo(json.dumps(value, indent=2))


def say(text: str, err: bool = False) -> None:
    """Print one or more lines, which may contain untrusted names and notes."""
    typer.echo(printable_lines(text), err=err)


def teller(quiet: bool) -> Callable[[str], None]:
    """A function that prints messages on stderr, or none of them."""
    return (lambda text: None) if quiet else partial(say, err=True)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns, folded to a terminal's width; not folded if stdout is not a terminal."""
    cells = [[printable(cell) for cell in row] for row in (header, *rows)]
    if not sys.stdout.isatty():
        widths = [max(map(_wide, column)) for column in zip(*cells, strict=True)]
        for row in cells if any(header) else cells[1:]:
            padded = (cell + " " * (w - _wide(cell)) for cell, w in zip(row, widths, strict=True))
            typer.echo("  ".join(padded).rstrip())
        return
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(highlight=False)
    narrow = _widths(cells, console.width - 2 * (len(header) - 1))
    if narrow is None:
        _print_blocks(cells, console.width)
        return
    table = RichTable(box=None, pad_edge=False, show_header=any(header), header_style="bold")
    for name, width in zip(header, narrow, strict=True):
        table.add_column(name, overflow="fold", width=width)
    for row in cells[1:]:
        table.add_row(*map(Text, row))
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        typer.echo(line.rstrip())


def _wide(text: str) -> int:
    """How many places of a terminal a text takes: Chinese characters take two each."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len  # takes a while

    return cell_len(text)


def _widths(cells: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """Widths of columns, `room` together at most; None if a word, as a run's name, would break."""
    columns = list(zip(*cells, strict=True))
    widths = [max(map(_wide, column)) for column in columns]
    words = [max(_wide(word) for cell in c for word in (cell.split() or [""])) for c in columns]
    if sum(words) > room:
        return None
    while sum(widths) > room:
        spare = [width - word for width, word in zip(widths, words, strict=True)]
        widths[spare.index(max(spare))] -= 1
    return widths


def _print_blocks(cells: Sequence[Sequence[str]], width: int) -> None:
    """A row's first cell on a line of its own, below it the others with their headers."""
    import textwrap

    header, *rows = cells
    for first, *others in rows:
        typer.echo(first)
        named = zip(header[1:], others, strict=True)
        text = "; ".join(f"{name} {cell}".strip() for name, cell in named if cell)
        wide = max(width, 20)
        for line in textwrap.wrap(text, wide - 2, break_long_words=False, break_on_hyphens=False):
            typer.echo(f"  {line}")


@contextmanager
def interruptible() -> Iterator[StopFlag]:
    """A flag for work that raises `Stopped`, which ends the command as an interrupted one."""
    from resnet_repro.base.stop import StopFlag, Stopped

    with StopFlag() as stop:
        try:
            yield stop
        except Stopped:
            typer.echo("resnet-repro: interrupted", err=True)
            raise typer.Exit(INTERRUPTED) from None


def start_logging(verbose: bool, quiet: bool) -> None:
    """Send the log to stderr."""
    import logging

    class Plain(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return printable_lines(super().format(record))

    class ToStderr(logging.StreamHandler[TextIO]):
        def emit(self, record: logging.LogRecord) -> None:
            self.stream = sys.stderr  # in whose place a live view puts its own
            super().emit(record)

    level = logging.DEBUG if verbose else logging.ERROR if quiet else logging.INFO
    handler = ToStderr()
    handler.setFormatter(Plain("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("resnet_repro").setLevel(level)
