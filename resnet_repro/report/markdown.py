"""Small pieces of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["bullets", "cell", "plural", "table"]


def cell(text: str) -> str:
    """Text that stays within one table cell."""
    return " ".join(text.split()).replace("|", "\\|")


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()
) -> list[str]:
    """A table as lines; the columns counted in `numbers` (from 0) are aligned right."""
    right = set(numbers)
    rule = "|".join("--:" if index in right else ":--" for index in range(len(header)))
    return [_row(header), f"|{rule}|", *(_row(row) for row in rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell(text) for text in cells)} |"


def bullets(texts: Iterable[str]) -> list[str]:
    """A list as lines."""
    return [f"- {' '.join(text.split())}" for text in texts]


def plural(count: int, word: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"
