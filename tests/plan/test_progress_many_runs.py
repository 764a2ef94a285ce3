"""The one view of many runs at a time."""

from __future__ import annotations

import io

import pytest
from made_up_origin import running_summary
from rich.console import Console

from resnet_repro.plan import progress as progress_module
from resnet_repro.plan.progress import LiveProgress, PlainProgress
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
