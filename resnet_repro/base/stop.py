"""Stopping early: signals and time budgets, checked between iterations."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Literal, TypeVar

__all__ = ["StopFlag", "Stopped", "signals_blocked", "until_stopped", "working_time"]

Item = TypeVar("Item")


class Stopped(Exception):  # noqa: N818
    """Work stopped because of a signal or because the time budget is used up."""


def until_stopped(items: Iterable[Item], should_stop: Callable[[], bool]) -> Iterator[Item]:
    """The items; raises Stopped where `should_stop`, asked before each is given out, says so."""
    for item in items:
        if should_stop():
            raise Stopped
        yield item


class _Clock:
    """A clock that stands still while the process is held (SIGSTOP, Ctrl-Z)."""

    held = 0.0  # seconds so far
    read_at = time.perf_counter()

    def read(self) -> float:
        self.read_at = time.perf_counter()
        return self.read_at - self.held

    def on_continue(self, *_: object) -> None:
        """Leave out the time since the last reading: when the process was held is not known."""
        now = time.perf_counter()
        self.held += now - self.read_at
        self.read_at = now


_clock = _Clock()


def working_time() -> float:
    """Seconds on a clock without the time in which this process was held, inside a `StopFlag`.

    Work since the last reading before it was held is lost with it: at most an iteration or a test.
    """
    return _clock.read()


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Hold signals back until the block ends; processes that begin in it have them blocked, too."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(
        signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1}
    )
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class StopFlag:
    """Whether and why work should stop. As a context manager, it handles signals.

    SIGINT, SIGTERM and SIGUSR1 (a cluster's preemption warning) set it. A second SIGINT ends the
    process at once, which is safe because files are replaced atomically. A launcher repeats the
    SIGINT that the terminal sends to all processes: a repetition within `echo` seconds is ignored.
    """

    def __init__(self, time_budget: float | None = None) -> None:
        self.deadline = None if time_budget is None else time.monotonic() + time_budget
        self.signalled: str | None = None
        self.echo = 0.0
        self._signalled_at = float("-inf")
        self._before: dict[int, object] = {}

    @property
    def reason(self) -> Literal["signal", "budget"] | None:
        """Why to stop; None to continue."""
        if self.signalled:
            return "signal"
        if self.deadline is not None and time.monotonic() >= self.deadline:
            return "budget"
        return None

    def stop_for(self, reason: Literal["signal", "budget"]) -> None:
        """Stop because a process that trains together with this one stops."""
        if reason == "signal":
            self.signalled = self.signalled or "another process"
            self._signalled_at = time.monotonic()
        else:
            self.deadline = time.monotonic()

    def __enter__(self) -> StopFlag:
        names = ("SIGINT", "SIGTERM", "SIGUSR1")
        handlers: dict[str, Callable[..., None]] = dict.fromkeys(names, self._handle)
        for name, handler in (handlers | {"SIGCONT": _clock.on_continue}).items():
            number = getattr(signal, name, None)  # Windows lacks some
            if number is not None:
                before = signal.signal(number, handler)
                self._before[number] = signal.SIG_DFL if before is None else before
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if number == signal.SIGINT and now - self._signalled_at < self.echo:
            return
        if self.signalled and number == signal.SIGINT:
            # Not through sys.stderr, whose buffer may be in use. The live view hides the cursor.
            shown = b"\x1b[?25h" if sys.stderr.isatty() else b""
            with contextlib.suppress(OSError):
                os.write(2, shown + b"\ninterrupted again: stopping at once\n")
            os._exit(130)
        self._signalled_at = now
        # By SIGUSR1 a cluster says that the job will run again; SIGTERM may come beside it.
        if self.signalled != "SIGUSR1":
            self.signalled = signal.Signals(number).name
