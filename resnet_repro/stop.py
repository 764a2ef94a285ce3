"""Ending early on purpose: signals and time budgets, noticed at the next iteration."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from types import FrameType
from typing import Literal

from resnet_repro.errors import ConfigError

__all__ = ["StopFlag", "parse_duration"]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LONGEST = 366 * 86400


def parse_duration(text: str) -> float:
    """Seconds of `90`, `90s`, `25m`, `1h30m` or `2d`.

    Raises:
        ConfigError: not a duration, zero, or more than a year.
    """
    clean = text.strip().lower()
    if re.fullmatch(r"\d{1,9}(\.\d{1,6})?", clean):
        seconds = float(clean)
    elif re.fullmatch(r"(\d{1,9}(\.\d{1,6})?[smhd])+", clean):
        pieces = re.findall(r"([\d.]+)([smhd])", clean)
        seconds = sum(float(number) * _UNITS[unit] for number, unit in pieces)
    else:
        raise ConfigError(f"{text[:40]!r} is not a duration: write 90s, 25m or 1h30m")
    if not 0 < seconds <= _LONGEST:
        raise ConfigError(f"{text[:40]!r}: a duration from a second to a year")
    return seconds


class StopFlag:
    """Whether, and why, work should stop. Usable as a context that catches signals.

    SIGINT, SIGTERM and SIGUSR1 (a cluster's preemption warning) set it; a second SIGINT ends the
    process at once, which is safe because files are only ever replaced whole.
    """

    def __init__(self, time_budget: float | None = None) -> None:
        self.deadline = None if time_budget is None else time.monotonic() + time_budget
        self.signalled: str | None = None
        self._before: dict[int, object] = {}

    @property
    def reason(self) -> Literal["signal", "budget"] | None:
        """Why to stop, or None to go on."""
        if self.signalled:
            return "signal"
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return "budget"
        return None

    def __enter__(self) -> StopFlag:
        for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
            number = getattr(signal, name, None)  # SIGUSR1 is unknown to Windows
            if number is not None:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.signalled and number == signal.SIGINT:
            sys.stderr.write("\ninterrupted again: stopping at once\n")
            sys.stderr.flush()
            os._exit(130)
        self.signalled = signal.Signals(number).name
