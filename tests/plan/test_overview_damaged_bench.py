"""A `bench.csv` that was cut, or is no such file, counts as none."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from resnet_repro.base.errors import StoreError
from resnet_repro.bench.files import record
from resnet_repro.bench.measure import TrainingMeasurement
from resnet_repro.plan import estimator
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
def test_a_cut_file_counts_as_none(
    tmp_path: Path, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    whole = COMMITTED.read_bytes()
    *_, row = csv.DictReader(whole.decode().splitlines())
    monkeypatch.setattr(estimator, "cpu_name", lambda: row["hardware"])
    monkeypatch.setattr(estimator, "gpu_name", lambda: None)
    results = tmp_path / "results"
    results.mkdir()
    expected = command(what, "--results", results)
    header, last = whole.find(b"\n") + 1, whole.rstrip(b"\n").rfind(b"\n") + 1
    in_a_speed = whole.index(f",{row['images_per_second']},".encode(), last) + 2
    cut = [whole[:at] for at in (0, 1, header, in_a_speed, len(whole) - 1)]
    for content in (*cut, whole[: last + 20] + b"\n", b"\0\n", b"\xff\n", b"a\n\n1\n"):
        (results / "bench.csv").write_bytes(content)
        shown = command(what, "--results", results)
        assert (shown.code, shown.out) == (0, expected.out), content
    (results / "bench.csv").write_bytes(whole)
    assert what == "status" or command(what, "--results", results).out != expected.out
