"""Errors that a user can cause, each with the exit code it ends in.

The library raises these with one or two plain lines that say what is wrong and what to do; the
command line prints the lines and exits with the code. Anything else that escapes is a bug.
"""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "DataError",
    "ReproError",
    "StoreError",
    "nearest",
    "plain",
]


_MOST_OFFERED = 8


class ReproError(Exception):
    """Base of all errors meant for the user's eyes (exit code 1)."""

    exit_code = 1


class ConfigError(ReproError):
    """Wrong usage or configuration: an unknown name, an impossible value, a malformed file."""

    exit_code = 2


class DataError(ReproError):
    """A data set is missing, incomplete or not what it claims to be."""

    exit_code = 3


class StoreError(ReproError):
    """The results folder cannot be read or written."""

    exit_code = 1


def plain(text: str, longest: int) -> str:
    """Untrusted text for an error message: cut to a length, without control characters."""
    cut = text if len(text) <= longest else f"{text[: longest - 3]}..."
    return cut if cut.isprintable() else ascii(cut)[1:-1]


def nearest(word: str, known: list[str]) -> str:
    """A phrase with the known names closest to `word`, or a few of them if none is close."""
    import difflib

    close = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known: {', '.join(known[:_MOST_OFFERED])}" + (", ..." if known[_MOST_OFFERED:] else "")
