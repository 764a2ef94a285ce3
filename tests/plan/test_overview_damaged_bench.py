"""A `bench.csv` that was cut, or is no such file, counts as none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from resnet_repro.base.errors import StoreError
from resnet_repro.bench.files import record
from resnet_repro.bench.measure import TrainingMeasurement
from resnet_repro.store.store import Store

COMMITTED = Path(__file__).parents[2] / "results" / "bench.csv"


@pytest.mark.parametrize("content", [b"\xff\n", b"a" * 200_000 + b"\n"])
def test_one_that_cannot_be_read_is_not_written_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bench.csv").write_bytes(content)
    measured = TrainingMeasurement(**dict.fromkeys(f.name for f in fields(TrainingMeasurement)))  # type: ignore[arg-type]
    with pytest.raises(StoreError, match=r"bench\.csv cannot be read; move it away"):
        record(Store(tmp_path), "bench", [measured])
    assert (tmp_path / "bench.csv").read_bytes() == content


@pytest.mark.parametrize("what", ["status", "list"])
def test_a_cut_file_counts_as_none(tmp_path: Path, command: Callable[..., Any], what: str) -> None:
    whole = COMMITTED.read_bytes()
    results = tmp_path / "results"
    results.mkdir()
    expected = command(what, "--results", results)
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    cuts = [0, 1, whole.find(b"\n") + 1, *range(last, len(whole) - 1, 7), len(whole) - 1]
    cut = [whole[:at] for at in cuts] + [
        whole[: last + 20] + b"\n",
        b"\0\n",
        b"\xff\n",
        b"a\n\n1\n",
    ]
    for content in cut:
        (results / "bench.csv").write_bytes(content)
        shown = command(what, "--results", results)
        if content[-1:] == b"\n" and content == whole[: len(content)]:
            assert shown.code == 0  # whole lines: the first measurements count
        else:
            assert (shown.code, shown.out) == (0, expected.out), content
