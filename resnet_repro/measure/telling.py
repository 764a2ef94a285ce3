"""Telling from time to time how far a measurement is."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["progress_teller"]


def progress_teller(
    tell: Callable[[str], None], what: str, every: float
) -> Callable[[int, int], None]:
    """A callback that reports how many percent of `what` are done, once in so many seconds."""
    told = time.monotonic()

    def on_progress(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told >= every and done < total:
            told = time.monotonic()
            tell(f"{what}: {100 * done // total}%")

    return on_progress
