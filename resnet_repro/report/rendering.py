"""Tables as data, and as text for a terminal, Markdown, CSV or LaTeX."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from resnet_repro.base.files import csv_text
from resnet_repro.base.plain_text import printable, spreadsheet_safe
from resnet_repro.report import markdown
from resnet_repro.report.latex import latex_table
from resnet_repro.report.results import Sample

__all__ = ["Column", "Row", "Table", "Value", "render_table"]

TableFormat = Literal["text", "md", "csv", "latex"]
Value = str | int | float | Sample | None
Row = Mapping[str, Value]
UNLIMITED = 10_000
NARROWEST = 20


@dataclass(frozen=True)
class Column:
    """A column. If a table is too wide, columns with the highest `spare` are left out, 0 never."""

    key: str
    header: str = ""
    number: bool = True
    form: str = ""  # format of a number, as in "{:.2f}" without the braces
    spare: int = 0
    shown: Literal["everywhere", "print", "csv"] = "everywhere"
    csv: str = ""  # its name in CSV, if that is not the key
    spread: bool = False  # of a Sample: `8.61 ± 0.10` in print, two columns in CSV


@dataclass(frozen=True)
class Table:
    """A table: title, columns, rows (a value per column key) and notes.

    `own` are the notes that it has in the report as well, which explains groups and columns once;
    None for all.
    `below` is a table of what must not stand beside the numbers of this one.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    own: tuple[str, ...] | None = None
    below: Table | None = None


def render_table(table: Table, form: TableFormat, width: int | None = None) -> str:
    """A table as text that ends in a newline, without escape codes.

    `width` (columns of the terminal, None for no limit) is for `text` only: if it is too small,
    less important columns are left out, and then rows become blocks of lines. A table `below`
    follows after an empty line, with columns of its own.
    """
    text = _rendered(_harmless(table), form, width)
    if table.below is None:
        return text
    return f"{text.rstrip()}\n\n{render_table(table.below, form, width)}"


def _rendered(table: Table, form: TableFormat, width: int | None) -> str:
    if form == "csv":
        return _csv(table)
    columns = [
        column
        for column in table.columns
        if column.shown != "csv" and any(_show(row, column) for row in table.rows)
    ]
    if form == "text":
        return _text(table, columns, max(width or UNLIMITED, NARROWEST))
    cells = _cells(table, columns)
    header = [column.header for column in columns]
    numbers = [column.number for column in columns]
    if form == "latex":
        return latex_table(table.title, header, cells, numbers, table.notes)
    literal = [[markdown.literal(cell) for cell in row] for row in cells]
    body = markdown.table(header, literal, [i for i, number in enumerate(numbers) if number])
    notes = markdown.bullets(_commands_as_code(note) for note in table.notes)
    return "\n".join([f"**{markdown.literal(table.title)}**", "", *body, "", *notes]) + "\n"


def _harmless(table: Table) -> Table:
    """The table without control characters, which untrusted texts may have."""
    rows = [
        {key: printable(v) if isinstance(v, str) else v for key, v in row.items()}
        for row in table.rows
    ]
    notes = tuple(map(printable, table.notes))
    return replace(table, title=printable(table.title), rows=tuple(rows), notes=notes)


def _show(row: Row, column: Column) -> str:
    """A cell for print: numbers in the column's format, an empty text for None."""
    value = row.get(column.key)
    if isinstance(value, int | float):
        return format(value, column.form)
    return "" if value is None else str(value)


def _cells(table: Table, columns: Sequence[Column]) -> list[list[str]]:
    return [[_show(row, column) for column in columns] for row in table.rows]


def _commands_as_code(note: str) -> str:
    words, colon, command = note.partition(": resnet-repro ")
    shown = markdown.literal(words)
    return f"{shown}: {markdown.code(f'resnet-repro {command}')}" if colon else shown


def _text(table: Table, every: Sequence[Column], width: int) -> str:
    columns = list(every)
    while _needed_width(table, columns) > width and any(c.spare for c in columns):
        columns.remove(max(columns, key=lambda column: column.spare))
    fits = _needed_width(table, columns) <= width
    body = _grid(table, columns) if fits else _blocks(table, every, width)
    margin = min(width, 100)
    notes = [line for note in table.notes for line in _wrapped(note, margin)]
    title = textwrap.wrap(table.title, margin)
    return "\n".join([*title, *body, *notes]) + "\n"


def _wrapped(note: str, width: int) -> list[str]:
    """A note wrapped to the width; a command at its end stays whole on a line of its own."""
    words, colon, command = note.partition(": resnet-repro ")
    lines = textwrap.wrap(words + (":" if colon else ""), width, subsequent_indent="    ")
    return [*lines, f"    resnet-repro {command}"] if colon else lines


def _needed_width(table: Table, columns: Sequence[Column]) -> int:
    header = [column.header for column in columns]
    widths = [max(map(len, texts)) for texts in zip(header, *_cells(table, columns), strict=True)]
    return sum(widths) + 2 * (len(widths) - 1)


def _grid(table: Table, columns: Sequence[Column]) -> list[str]:
    """Aligned columns under a header."""
    grid = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.number else "left"
        grid.add_column(Text(column.header), justify=justify, no_wrap=True)
    for cells in _cells(table, columns):
        grid.add_row(*(Text(cell) for cell in cells))
    out = io.StringIO()
    console = Console(file=out, width=UNLIMITED, color_system=None, legacy_windows=False)
    console.print(grid)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def _blocks(table: Table, columns: Sequence[Column], width: int) -> list[str]:
    """One block of `header  value` lines per row, for narrow terminals."""
    label = max(len(column.header) for column in columns[1:]) + 2
    lines = []
    for cells in _cells(table, columns):
        lines += ["", cells[0]]
        for column, cell in zip(columns[1:], cells[1:], strict=True):
            if cell:
                lines += textwrap.wrap(f"  {column.header:<{label}}{cell}", width)
    return [*lines, ""]


def _csv(table: Table) -> str:
    columns = [column for column in table.columns if column.shown != "print"]
    header = [name for column in columns for name in _csv_names(column)]
    rows = [[value for column in columns for value in _csv_values(row.get(column.key), column)]
            for row in table.rows]  # fmt: skip
    return csv_text(header, rows)


def _csv_names(column: Column) -> list[str]:
    name = column.csv or column.key
    return [name, f"{name}_std"] if column.spread else [name]


def _csv_values(value: Value, column: Column) -> list[str | int | float | None]:
    if isinstance(value, str):
        return [spreadsheet_safe(value)]
    values = [value.mean, value.std] if isinstance(value, Sample) else [value]
    values += [None] * (len(_csv_names(column)) - len(values))
    return [round(v, 6) if isinstance(v, float) else v for v in values]
