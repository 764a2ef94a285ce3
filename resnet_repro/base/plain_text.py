"""Text to print: untrusted text, from files, names and settings, made safe; counts in words."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

__all__ = ["either", "plural", "printable", "printable_lines", "spreadsheet_safe"]

# Control characters, invisible ones that reorder text or hide it, lone surrogates, line ends.
_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_JOINERS = "\u200c\u200d"  # Persian and Indian scripts, and emoji, are written with them
_FORMULA = ("=", "+", "-", "@")


def plural(count: int, word: str) -> str:
    """`1 run`, `2 runs`, `5 classes`."""
    ending = "" if count == 1 else "es" if word.endswith("s") else "s"
    return f"{count:,} {word}{ending}"


def either(words: Sequence[str]) -> str:
    """`1`, `1 or 3`, `1, 3 or 5`."""
    return " or ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def printable(text: str) -> str:
    """`text` with control and invisible characters as backslash escapes: `\\x1b`, `\\u202e`.

    Showing the result in a terminal, an editor or a browser has no other effect.
    """
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character in _JOINERS:
        return character
    code = ord(character)
    nothing = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF  # which XML does not allow
    if nothing or unicodedata.category(character) in _HIDDEN:
        return character.encode("unicode_escape").decode()
    return character


def printable_lines(text: str) -> str:
    """`printable` for each line of a text."""
    return "\n".join(map(printable, text.split("\n")))


def spreadsheet_safe(text: str) -> str:
    """`printable`, with an apostrophe before what a spreadsheet would read as a formula."""
    shown = printable(text)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown
