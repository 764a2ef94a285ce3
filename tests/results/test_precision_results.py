"""What docs/performance.md says of bf16 and fp32 is what the stored trainings give."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

from resnet_repro.store.store import Store

ROOT = Path(__file__).parents[2]
MEASURED = ROOT / "benchmarks" / "precision"

pytestmark = pytest.mark.skipif(not MEASURED.exists(), reason="nothing was measured here")


@pytest.fixture(scope="module")
def compare() -> Any:
    """`compare` of benchmarks/precision.py."""
    return runpy.run_path(str(ROOT / "benchmarks" / "precision.py"))["compare"]


@pytest.mark.parametrize(
    ("first", "second"),
    [(MEASURED / "fp32", MEASURED / "bf16"), (MEASURED / "fp32", ROOT / "results")],
)
def test_the_page_has_the_tables_of_the_runs(compare: Any, first: Path, second: Path) -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    tables = compare((first, second), ("fp32", "bf16")).split("\n\n")
    assert all(table in page for table in tables), "\n\n".join(tables)


def test_the_runs_differ_in_precision_only() -> None:
    stored = {p: Store(MEASURED / p).all_runs() for p in ("fp32", "bf16")}
    for precision, runs in stored.items():
        assert runs
        for run in runs:
            assert run.summary is not None
            assert run.problem is None
            assert run.summary.provenance.precision == precision
            assert run.summary.provenance.threads == 1
    finished = {p: [r for r in runs if r.finished] for p, runs in stored.items()}
    assert {r.run.seed for r in finished["fp32"] if r.run} == {0, 1, 2}
    assert len(finished["fp32"]) == len(finished["bf16"]) == 3
