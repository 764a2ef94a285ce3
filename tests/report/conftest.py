"""A results folder to put made-up runs into."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_results import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "results")
