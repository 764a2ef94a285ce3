"""A results folder to put made-up runs into."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_results import Bench

from resnet_repro.store import checking


@pytest.fixture(autouse=True)
def _made_up_results_are_simple(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve points, two layers: that files agree with each other is what `tests/store` tests."""
    monkeypatch.setattr(checking, "contradictions", lambda *_: ())


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "results")
