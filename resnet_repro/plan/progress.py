"""Progress on stderr: a live view on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from resnet_repro.base.durations import format_duration
from resnet_repro.base.plain_text import printable, printable_lines
from resnet_repro.spec.schedule import learning_rate

if TYPE_CHECKING:
    from resnet_repro.spec.run import Run
    from resnet_repro.store.models import Summary

__all__ = ["LiveProgress", "PlainProgress", "Progress", "QuietProgress", "make_progress"]

PLAIN_EVERY = 30.0  # seconds between two lines of one run
PLAIN_RUNS = 4  # with more runs at a time, each gets a line less often
FEWEST_SHOWN = 6  # runs, however low the terminal
BAR = 16  # columns


def _errors(summary: Summary) -> str:
    """The errors so far; where images are held out, over these in place of the test set."""
    if summary.final_test_error is None or summary.final_train_error is None:
        loss = summary.final_train_loss  # all that a detector's curve tells
        return "" if loss is None else f"loss {loss:.3f}"
    error, images = summary.final_validation_error, "held out"
    if error is None:
        error, images = summary.final_test_error, "test"
    return f"train {summary.final_train_error:.2f}%, {images} {error:.2f}%"


def _facts(run: Run, summary: Summary) -> list[str]:
    """The progress of a run: iteration, learning rate, errors, speed, time left."""
    divisions = summary.lr_divisions or ()
    last = max(0, summary.iteration - 1)
    rate = learning_rate(run.recipe, last, summary.warmup_end, divisions)
    speed = summary.images_per_second
    facts = [
        f"{summary.iteration:,}/{summary.iterations:,}",
        f"lr {rate:g}",
        _errors(summary),
        f"{speed:,.0f} images/s" if speed else "",
        f"{format_duration(summary.seconds_left or 0.0)} left",
    ]
    return [fact for fact in facts if fact]


def _said(run: Run, state: str, summary: Summary | None) -> str:
    """How a run ended, or its progress."""
    if state != "running":
        return _ending(state, summary)
    return "  ".join(_facts(run, summary)) if summary else "starting"


def _ending(outcome: str, summary: Summary | None) -> str:
    if outcome == "failed":
        return f"failed: {printable(summary.failure)}" if summary and summary.failure else "failed"
    if outcome == "locked":
        return "another process is at work on it"
    if outcome == "stopped" and summary and summary.state != "stopped":
        return outcome  # before it went on: the summary is that of a process that was killed
    if outcome == "stopped" and summary:
        return f"stopped at iteration {summary.iteration:,}, saved"
    return f"done, {_errors(summary)}" if summary else outcome


class Progress:
    """Gets reports of progress, and does nothing with them."""

    def started(self, run: Run, iteration: int) -> None:
        """A run starts, or continues after `iteration`."""

    def advanced(self, run: Run, summary: Summary) -> None:
        """A run has got further; reported a few times a second at most."""

    def ended(self, run: Run, outcome: str, summary: Summary | None) -> None:
        """A run ended, or is left to another process."""

    def note(self, text: str) -> None:
        """What the user should know."""

    def news(self, text: str) -> None:
        """How far something is, or how it went well: nothing for `--quiet`."""


class QuietProgress(ExitStack, Progress):
    """Prints only failures and notes."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def note(self, text: str) -> None:
        self.console.print(Text(printable_lines(text)), soft_wrap=True)

    def ended(self, run: Run, outcome: str, summary: Summary | None) -> None:
        if outcome == "failed":
            self.note(f"{run.id}: {_ending(outcome, summary)}")


class PlainProgress(QuietProgress):
    """One line now and then, for logs."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._last: dict[str, float] = {}  # when each of the running runs had its last line

    def news(self, text: str) -> None:
        self.note(text)

    def started(self, run: Run, iteration: int) -> None:
        self.note(f"{run.id}: " + (f"continues at {iteration:,}" if iteration else "starts"))
        self._last[run.id] = time.monotonic()

    def advanced(self, run: Run, summary: Summary) -> None:
        now = time.monotonic()
        every = PLAIN_EVERY * max(1.0, len(self._last) / PLAIN_RUNS)
        if now - self._last.setdefault(run.id, now) < every:
            return
        self._last[run.id] = now
        self.note(f"{run.id}: {', '.join(_facts(run, summary))}")

    def ended(self, run: Run, outcome: str, summary: Summary | None) -> None:
        self._last.pop(run.id, None)
        self.note(f"{run.id}: {_ending(outcome, summary)}")


class LiveProgress(QuietProgress):
    """A table of runs that redraws itself: bar, iteration, rate, errors, speed, time left."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._rows: dict[str, tuple[Run, str, Summary | None]] = {}
        self._live = Live(console=console, refresh_per_second=4)

    def __enter__(self) -> Self:
        self.enter_context(self._live)
        return super().__enter__()

    def news(self, text: str) -> None:
        self.note(text)

    def started(self, run: Run, iteration: int) -> None:
        self._show(run, "running", None)

    def advanced(self, run: Run, summary: Summary) -> None:
        self._show(run, "running", summary)

    def ended(self, run: Run, outcome: str, summary: Summary | None) -> None:
        self._show(run, outcome, summary)

    def _show(self, run: Run, state: str, summary: Summary | None) -> None:
        if state != "running":
            self._rows.pop(run.id, None)  # ended runs are in the order of their ends
        self._rows[run.id] = (run, state, summary)
        self._live.update(self._view())

    def _view(self) -> Group:
        """Runs that have ended, then running ones in the order in which they began.

        A run takes one line, or two where one of them would be too long for the terminal.
        """
        rows = sorted(self._rows.values(), key=lambda row: row[1] == "running")
        room = self.console.height - 3
        last = rows[-max(FEWEST_SHOWN, room) :]
        longest = max((len(row[0].id) + len(_said(*row)) for row in last), default=0)
        narrow = longest + BAR + 2 > self.console.width
        shown = [Group(*self._lines(*row, narrow=narrow)) for row in last]
        heights = [len(self.console.render_lines(run)) for run in shown]
        while len(shown) > FEWEST_SHOWN and sum(heights[-len(shown) :]) > room:
            del shown[0]
        hidden = len(rows) - len(shown)
        lines: list[RenderableType] = [f"... {hidden} more above"] if hidden else []
        lines += shown
        running = [summary for _, state, summary in rows if state == "running"]
        if len(running) > 1:
            total = sum(s.images_per_second or 0.0 for s in running if s)
            ended = len(rows) - len(running)
            lines.append(f"{len(running)} running, {ended} ended, {total:,.0f} images/s in total")
        return Group(*lines)

    def _lines(
        self, run: Run, state: str, summary: Summary | None, *, narrow: bool
    ) -> list[RenderableType]:
        """One run: how it ended, or a bar and its progress."""
        said = _said(run, state, summary)
        if state != "running" or summary is None:
            return [Text(f"{run.id}  {said}", overflow="fold")]
        bar = ProgressBar(summary.iterations, summary.iteration, width=BAR)
        line = Table.grid(padding=(0, 1))
        if not narrow:
            line.add_row(run.id, bar, said)
            return [line]
        fits = self.console.width > BAR + len(said) + 3
        line.add_row("", *([bar] if fits else []), Text(said, overflow="fold"))
        return [Text(run.id, overflow="fold"), line]


def make_progress(quiet: bool = False) -> QuietProgress:
    """The view that fits: nothing, plain lines, or a live table on a terminal."""
    console = Console(stderr=True)
    if quiet:
        return QuietProgress(console)
    # rich takes FORCE_COLOR for a terminal, and TERM=dumb for one that can be drawn on.
    live = sys.stderr.isatty() and console.is_terminal and not console.is_dumb_terminal
    return LiveProgress(console) if live else PlainProgress(console)
