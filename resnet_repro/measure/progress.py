"""Telling from time to time how far a measurement is."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["NEWS", "progress_teller", "seldom"]

NEWS = 60.0  # seconds between two messages about a run's measurement


def seldom(tell: Callable[[str], None], every: float) -> Callable[[str], None]:
    """A callback that passes a message on at most once in so many seconds."""
    told = time.monotonic()

    def on_message(message: str) -> None:
        nonlocal told
        if time.monotonic() - told >= every:
            told = time.monotonic()
            tell(message)

    return on_message


def progress_teller(
    tell: Callable[[str], None], what: str, every: float
) -> Callable[[int, int], None]:
    """A callback that reports how many percent of `what` are done, once in so many seconds."""
    on_message = seldom(tell, every)

    def on_progress(done: int, total: int) -> None:
        if done < total:
            on_message(f"{what}: {100 * done // total}%")

    return on_progress
