"""A results folder to put made-up runs into."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_results import Bench

from resnet_repro.store import stored_run


@pytest.fixture(autouse=True)
def _made_up_results_are_simple(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve points, two layers, the same in all runs, edited at will.

    That a run's files agree with each other and with their sums is what `tests/store` tests.
    """
    monkeypatch.setattr(stored_run, "contradictions", lambda *_: ())
    monkeypatch.setattr(stored_run, "changed", lambda *_: ())
    monkeypatch.setattr(stored_run, "measurements_in", lambda _: ())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "results")
