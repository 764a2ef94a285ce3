"""`benchmarks/second_opinion.py` computes what the package measured, from the raw files."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from narrow_networks import narrow_networks

from resnet_repro.spec.dataset_names import DATASETS

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "second_opinion.py"
EXPERIMENT = """
name: small
title: A small network
precision: fp32
recipe: {iterations: 30, batch_size: 32, learning_rate: 0.01, milestones: [20], evaluate_every: 30}
runs: [{networks: [resnet-8], seeds: 2}]
measure: [surface, path]
surface: {points: [3, 5], limit: 0.2, images: 40, directions: [1]}
path: {points: 5, images: 40}
"""


@pytest.fixture(autouse=True)
def few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for a network to learn from and for errors to be compared."""
    known = DATASETS["cifar10"]._replace(train_images=2_000, test_images=2_000)
    monkeypatch.setitem(DATASETS, "cifar10", known)


@pytest.mark.skipif(not SCRIPT.exists(), reason="only in a checkout")
def test_a_second_opinion_agrees_with_the_runs_own_error(
    command: Any, binary_copy: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in binary_copy.glob("*.bin"):  # images of which a network learns something at once
        records = np.fromfile(path, np.uint8).reshape(-1, 3073)
        records[:, 1:] = records[:, 1:] // 2 + 12 * records[:, :1]
        records.tofile(path)
    (tmp_path / "small.yaml").write_text(EXPERIMENT, encoding="utf-8")
    assert command("data", "prepare", "cifar10", "--from", binary_copy).code == 0
    with narrow_networks():
        assert command("run", "small.yaml").code == 0
    (folder,) = (tmp_path / "results" / "runs").glob("*-s0-*")
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), str(folder), str(binary_copy)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    first, *points = capsys.readouterr().out.splitlines()
    here, own = map(float, re.findall(r"([\d.]+)%", first))
    assert here == pytest.approx(own, abs=0.06)  # an image of 2,000
    assert here < 80  # chance is 90
    assert len({point.partition(":")[0] for point in points}) == 9 + 5
    for point in points:
        here, own = map(float, re.findall(r"([\d.e+]+) and", point))
        assert here == pytest.approx(own, rel=1e-3)
