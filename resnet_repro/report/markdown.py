"""Markdown: tables, lists, escaped text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from resnet_repro.base.plain_text import printable

__all__ = ["bullets", "code", "literal", "table"]

# Our own marks `[1]` are not escaped, nor is `_` within a word, where it has no meaning.
_MARKUP = re.compile(
    r"(?P<ours>\[\d+\](?![(\[:]))|(?P<html><(?=\S)|&(?=[#\w]))|[\\`*\[\]~$]|(?<![^\W_])_|_(?![^\W_])"
)


def literal(text: str) -> str:
    """Untrusted text, from files, names or settings, with markup and control characters escaped."""
    return _MARKUP.sub(_escaped, printable(" ".join(text.split())))


def _escaped(match: re.Match[str]) -> str:
    if match["ours"]:
        return match["ours"]
    return {"<": "&lt;", "&": "&amp;"}.get(match[0]) or f"\\{match[0]}"


def code(text: str) -> str:
    """Untrusted text as code; its backquotes are replaced."""
    return f"`{printable(' '.join(text.split())).replace('`', chr(39)) or ' '}`"


def table(
    header: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()
) -> list[str]:
    """A table as lines; the columns with the indices `numbers` are aligned right."""
    right = set(numbers)
    rule = "|".join("--:" if index in right else ":--" for index in range(len(header)))
    return [_row(header), f"|{rule}|", *(_row(row) for row in rows)]


def _row(cells: Sequence[str]) -> str:
    texts = (" ".join(text.split()).replace("|", "\\|") for text in cells)
    return f"| {' | '.join(texts)} |"


def bullets(texts: Iterable[str]) -> list[str]:
    """A list as lines."""
    return [f"- {' '.join(text.split())}" for text in texts]
