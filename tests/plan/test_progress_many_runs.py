"""The one view of many runs at a time."""

from __future__ import annotations

import io

import pytest
from made_up_origin import running_summary
from rich.console import Console

from resnet_repro.plan import progress as progress_module
from resnet_repro.plan.progress import LiveProgress, PlainProgress, make_progress
from resnet_repro.spec.presets import preset_recipe
from resnet_repro.spec.run import Run

STARTED = "2026-01-01T00:00:00Z"


@pytest.fixture
def runs() -> list[Run]:
    recipe = preset_recipe("demo", "resnet-20", "cifar10")
    return [Run(network="resnet-20", dataset="cifar10", recipe=recipe, seed=n) for n in range(30)]


def _last_view(progress: LiveProgress, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(progress._view())
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_running_runs_keep_their_places_below_what_has_ended(runs: list[Run]) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=140, height=20)
    progress = LiveProgress(console)
    first, second, third = runs[:3]
    for run in (first, second, third):
        progress.started(run, 0)
    for run in (third, first):
        progress.advanced(run, running_summary(run, STARTED))
    shown = _last_view(progress, 140)
    assert [line.split()[0] for line in shown[:3]] == [first.id, second.id, third.id]
    assert shown[3] == "3 running, 0 ended, 200 images/s in total"
    progress.ended(second, "done", None)
    shown = _last_view(progress, 140)
    assert [line.split()[0] for line in shown[:3]] == [second.id, first.id, third.id]
    assert shown[3].startswith("2 running, 1 ended")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (140, 24), (80, 10)])
def test_the_view_fits_the_terminal(runs: list[Run], width: int, height: int) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height)
    progress = LiveProgress(console)
    for run in runs:
        progress.started(run, 0)
        progress.advanced(run, running_summary(run, STARTED))
    shown = _last_view(progress, width)
    assert "more above" in shown[0]
    assert shown[-1].startswith("30 running")
    assert len(shown) <= max(height, 2 * 6 + 2)


@pytest.mark.parametrize("width", [60, 66, 80, 110, 118, 124, 150])
def test_the_view_fits_with_whole_lines(runs: list[Run], width: int) -> None:
    """A run takes one line where there is room, or else two, or three."""
    errors = {"final_train_error": 12.34, "final_test_error": 12.34}
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=24)
    progress = LiveProgress(console)
    for run in runs:
        progress.started(run, 0)
        summary = running_summary(run, STARTED).model_copy(update={"seconds": 300.0, **errors})
        progress.advanced(run, summary)
    shown = _last_view(progress, width)
    assert len(shown) <= 24
    assert runs[-1].id in "".join(shown)
    assert shown[-1].startswith("30 running")
    assert sum("left" in line for line in shown) >= 6
    assert (runs[-1].id in shown[-2]) is (width > 120)


@pytest.mark.parametrize(
    ("variables", "terminal", "live"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "dumb"}, True, False),
        ({"TERM": "xterm", "FORCE_COLOR": "1"}, False, False),
        ({"TERM": "xterm"}, False, False),
    ],
)
def test_a_view_is_drawn_on_terminals_that_can_be_drawn_on(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], terminal: bool, live: bool
) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    stderr = io.StringIO()
    monkeypatch.setattr(stderr, "isatty", lambda: terminal, raising=False)
    monkeypatch.setattr("sys.stderr", stderr)
    progress = make_progress()
    assert isinstance(progress, LiveProgress) is live
    if not live:
        with progress:
            progress.note("an epoch")
        assert stderr.getvalue() == "an epoch\n"


def test_plain_lines_come_for_every_run_but_not_too_often(
    runs: list[Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: clock[0])
    out = io.StringIO()
    progress = PlainProgress(Console(file=out, width=500))

    def lines(chosen: list[Run], seconds: int) -> int:
        before = out.getvalue().count("\n")
        for _ in range(seconds):
            clock[0] += 1.0
            for run in chosen:
                progress.advanced(run, running_summary(run, STARTED))
        return out.getvalue().count("\n") - before

    for run in runs[:2]:
        progress.started(run, 0)
    assert lines(runs[:2], 60) == 4, "each of two runs twice a minute"
    for run in runs[2:]:
        progress.started(run, 0)
    assert lines(runs, 240) <= 40, "thirty runs together hardly more than eight"
