"""A results folder to put made-up runs into."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_results import Bench

from resnet_repro.store import stored_run


@pytest.fixture(autouse=True)
def _made_up_results_are_simple(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve points, two layers, edited at will.

    That a curve ends as its summary says, and that no file was changed, is tested in `tests/store`.
    """
    monkeypatch.setattr(stored_run._Reading, "_check_end", lambda *_: None)
    monkeypatch.setattr(stored_run, "changed", lambda *_: ())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "results")
