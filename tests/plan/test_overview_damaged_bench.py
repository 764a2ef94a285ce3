"""A `bench.csv` that was cut, or is no such file, counts as none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

COMMITTED = Path(__file__).parents[2] / "results" / "bench.csv"


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
