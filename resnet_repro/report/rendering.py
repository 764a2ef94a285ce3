"""Tables as text for a terminal, Markdown, CSV or LaTeX."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from resnet_repro.base.files import csv_text
from resnet_repro.base.plain_text import printable, spreadsheet_safe
from resnet_repro.report import markdown
from resnet_repro.report.latex import latex_table
from resnet_repro.report.tables import Column, Table, Value

__all__ = ["TableFormat", "render_table"]

TableFormat = Literal["text", "md", "csv", "latex"]
UNLIMITED = 10_000
NARROWEST = 20


def render_table(table: Table, form: TableFormat, width: int | None = None) -> str:
    """A table as text that ends in a newline and holds no escape codes.

    `width` (columns of the terminal, None for no limit) matters to `text` only: where it is too
    small, less important columns are left out, and then rows become blocks of lines.
    """
    table = _harmless(table)
    writers = {"md": _markdown, "csv": _csv, "latex": _latex}
    if form == "text":
        return _text(table, max(width or UNLIMITED, NARROWEST))
    return writers[form](table)


def _harmless(table: Table) -> Table:
    """The table without control characters, wherever its texts come from."""
    rows = [
        {key: printable(v) if isinstance(v, str) else v for key, v in row.items()}
        for row in table.rows
    ]
    notes = tuple(map(printable, table.notes))
    return replace(table, title=printable(table.title), rows=tuple(rows), notes=notes)


def show(value: Value, column: Column) -> str:
    """A cell for print: numbers in the column's format, nothing for None."""
    if value is None:
        return ""
    return value if isinstance(value, str) else format(value, column.form)


def _printed_columns(table: Table) -> list[Column]:
    """The columns for print, less those that are empty in every row."""
    return [
        column
        for column in table.columns
        if column.shown != "csv" and any(row.get(column.key) is not None for row in table.rows)
    ]


def _cells(table: Table, columns: Sequence[Column]) -> list[list[str]]:
    return [[show(row.get(c.key), c) for c in columns] for row in table.rows]


def _text(table: Table, width: int) -> str:
    every = _printed_columns(table)
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
    """A note folded to the width, but a command at its end on a line of its own, unbroken."""
    words, colon, command = note.partition(": resnet-repro ")
    lines = textwrap.wrap(words + (":" if colon else ""), width, subsequent_indent="    ")
    return [*lines, f"    resnet-repro {command}"] if colon else lines


def _needed_width(table: Table, columns: Sequence[Column]) -> int:
    widths = [len(column.header) for column in columns]
    for cells in _cells(table, columns):
        widths = [max(width, len(cell)) for width, cell in zip(widths, cells, strict=True)]
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


def _markdown(table: Table) -> str:
    columns = _printed_columns(table)
    right = [index for index, column in enumerate(columns) if column.number]
    header = [column.header for column in columns]
    cells = [[markdown.literal(cell) for cell in row] for row in _cells(table, columns)]
    body = markdown.table(header, cells, right)
    notes = markdown.bullets(_commands_as_code(note) for note in table.notes)
    return "\n".join([f"**{markdown.literal(table.title)}**", "", *body, "", *notes]) + "\n"


def _commands_as_code(note: str) -> str:
    words, colon, command = note.partition(": resnet-repro ")
    shown = markdown.literal(words)
    return f"{shown}: {markdown.code(f'resnet-repro {command}')}" if colon else shown


def _csv(table: Table) -> str:
    columns = [column for column in table.columns if column.shown != "print"]
    rows = [[_rounded(row.get(column.key)) for column in columns] for row in table.rows]
    return csv_text([_csv_name(column) for column in columns], rows)


def _csv_name(column: Column) -> str:
    return {"preset_name": "preset", "finished": "seeds"}.get(column.key, column.key)


def _rounded(value: Value) -> Value:
    if isinstance(value, str):
        return spreadsheet_safe(value)
    return round(value, 6) if isinstance(value, float) else value


def _latex(table: Table) -> str:
    columns = _printed_columns(table)
    return latex_table(table, columns, _cells(table, columns))
