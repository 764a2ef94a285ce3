"""Tables as data, and as text for a terminal, Markdown, CSV or LaTeX."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from resnet_repro.base.files import csv_text
from resnet_repro.base.plain_text import printable, spreadsheet_safe
from resnet_repro.report import markdown
from resnet_repro.report.cells import Sample
from resnet_repro.report.latex import latex_table

__all__ = ["Column", "Row", "Shown", "Table", "Value", "csv_only", "render_table", "spread"]

TableFormat = Literal["text", "md", "csv", "latex"]
UNLIMITED = 10_000
NARROWEST = 20


@dataclass(frozen=True)
class Shown:
    """A value that is a text in print and one or several values in CSV."""

    text: str
    values: tuple[int | float | None, ...]

    def __str__(self) -> str:
        return self.text


Value = str | int | float | Sample | Shown | None
Row = Mapping[str, Value]


@dataclass(frozen=True)
class Column:
    """A column. If a table is too wide, those with the highest `spare` are left out, 0 never."""

    key: str
    header: str = ""
    number: bool = True
    form: str = ""  # of a number, as in "{:.2f}" without the braces; of a Sample's mean alone
    scale: float = 1  # by which a number is divided in print
    spare: int = 0
    printed: bool = True  # else it is in CSV only
    csv: tuple[str, ...] | None = None  # its columns in CSV: by default the key's; (): print only


def spread(key: str, header: str, **more: Any) -> Column:
    """A column of Samples: `8.61 ± 0.10` in print, mean and standard deviation in CSV."""
    return Column(key, header, csv=(key, f"{key}_std"), **more)


def csv_only(*keys: str) -> tuple[Column, ...]:
    """Columns that print does not have."""
    return tuple(Column(key, printed=False) for key in keys)


ColumnOfText = tuple[Column, list[str]]  # with its cells


@dataclass(frozen=True)
class Table:
    """A table: title, columns, rows (a value per column key) and notes.

    `own` are the notes that it keeps in the report, where groups and columns are explained once for
    all tables; None if it keeps all. `below` is a table with the same columns, of what must not
    stand beside the numbers of this one.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    own: Sequence[str] | None = None
    below: Table | None = None


def render_table(table: Table, form: TableFormat, width: int | None = None) -> str:
    """A table as text that ends in a newline, without escape codes.

    `width` (columns of the terminal, None for no limit) is for `text` only: if it is too small,
    less important columns are left out, and then rows become blocks of lines. A table `below`
    follows after an empty line; in CSV, its rows follow in the same table.
    """
    parts = [_harmless(part) for part in (table, table.below) if part]
    if form == "csv":
        return _csv(table.columns, [row for part in parts for row in part.rows])
    return "\n\n".join(_rendered(part, form, width).rstrip() for part in parts) + "\n"


def _rendered(table: Table, form: TableFormat, width: int | None) -> str:
    """A table for print, without columns in which nothing stands."""
    columns = [(c, [_show(row, c) for row in table.rows]) for c in table.columns if c.printed]
    columns = [(column, cells) for column, cells in columns if any(cells)]
    if form == "text":
        return _text(table, columns, max(width or UNLIMITED, NARROWEST))
    header = [column.header for column, _ in columns]
    rows = list(zip(*(cells for _, cells in columns), strict=True))
    numbers = [column.number for column, _ in columns]
    if form == "latex":
        return latex_table(table.title, header, rows, numbers, table.notes)
    literal = [[markdown.literal(cell) for cell in row] for row in rows]
    right = [i for i, number in enumerate(numbers) if number]
    body = [*markdown.table(header, literal, right), ""] if columns else []
    notes = markdown.bullets(_commands_as_code(note) for note in table.notes)
    return "\n".join([f"**{markdown.literal(table.title)}**", "", *body, *notes])


def _harmless(table: Table) -> Table:
    """The table without control characters, which untrusted texts may have."""
    rows = [
        {key: printable(v) if isinstance(v, str) else v for key, v in row.items()}
        for row in table.rows
    ]
    notes = [printable(note) for note in table.notes]
    return replace(table, title=printable(table.title), rows=rows, notes=notes)


def _show(row: Row, column: Column) -> str:
    """A cell for print: numbers in the column's format, an empty text for None."""
    value = row.get(column.key)
    if isinstance(value, Sample) and column.form:
        value = value.mean
    if isinstance(value, int | float):
        return format(value if column.scale == 1 else value / column.scale, column.form)
    return "" if value is None else str(value)


def _commands_as_code(note: str) -> str:
    words, colon, command = note.partition(": resnet-repro ")
    shown = markdown.literal(words)
    return f"{shown}: {markdown.code(f'resnet-repro {command}')}" if colon else shown


def _text(table: Table, every: Sequence[ColumnOfText], width: int) -> str:
    columns, notes = list(every), list(table.notes)
    while _needed_width(columns) > width and (rank := max(c.spare for c, _ in columns)):
        columns = [shown for shown in columns if shown[0].spare < rank]
    if _needed_width(columns) > width:
        body = _blocks(every, width)
    else:
        body = _grid(columns)
        if gone := [shown[0].header for shown in every if shown not in columns]:
            notes.append(f"Left out for want of room (--format md has all): {', '.join(gone)}.")
    margin = min(width, 100)
    notes = [line for note in notes for line in _wrapped(note, margin)]
    return "\n".join([*textwrap.wrap(table.title, margin), *body, *notes])


def _wrapped(note: str, width: int) -> list[str]:
    """A note wrapped to the width; a command at its end stays whole on a line of its own."""
    words, colon, command = note.partition(": resnet-repro ")
    lines = textwrap.wrap(words + (":" if colon else ""), width, subsequent_indent="    ")
    return [*lines, f"    resnet-repro {command}"] if colon else lines


def _needed_width(columns: Sequence[ColumnOfText]) -> int:
    widths = [max(map(len, (column.header, *cells))) for column, cells in columns]
    return sum(widths) + 2 * (len(widths) - 1)


def _grid(columns: Sequence[ColumnOfText]) -> list[str]:
    """Aligned columns under a header."""
    grid = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for column, _ in columns:
        justify: Literal["left", "right"] = "right" if column.number else "left"
        grid.add_column(Text(column.header), justify=justify, no_wrap=True)
    for row in zip(*(cells for _, cells in columns), strict=True):
        grid.add_row(*map(Text, row))
    out = io.StringIO()
    console = Console(file=out, width=UNLIMITED, color_system=None, legacy_windows=False)
    console.print(grid)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def _blocks(columns: Sequence[ColumnOfText], width: int) -> list[str]:
    """One block of `header  value` lines per row, for narrow terminals."""
    headers = [column.header for column, _ in columns[1:]]
    label = max(map(len, headers)) + 2
    lines = []
    for first, *others in zip(*(cells for _, cells in columns), strict=True):
        lines += ["", first]
        for header, cell in zip(headers, others, strict=True):
            if cell:
                lines += textwrap.wrap(f"  {header:<{label}}{cell}", width)
    return [*lines, ""]


def _csv(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    names = [(c, (c.key,) if c.csv is None else c.csv) for c in columns]
    header = [name for _, own in names for name in own]
    lines = [[v for c, own in names for v in _csv_values(row.get(c.key), len(own))] for row in rows]
    return csv_text(header, lines)


def _csv_values(value: Value, count: int) -> list[str | int | float | None]:
    """So many cells of CSV; those for which there is no value are empty."""
    values: tuple[str | int | float | None, ...]
    match value:
        case Sample():
            values = (value.mean, value.std)
        case Shown():
            values = value.values
        case str():
            values = (spreadsheet_safe(value),)
        case _:
            values = (value,)
    padded = [*values, *[None] * count][:count]
    return [round(v, 6) if isinstance(v, float) else v for v in padded]
