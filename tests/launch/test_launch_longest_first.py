"""`--jobs` starts the longest trainings first, so that no core idles at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from launch_helpers import Silent, options

from resnet_repro.base.stop import StopFlag
from resnet_repro.launch import side_by_side
from resnet_repro.runner.options import Outcome
from resnet_repro.spec.experiment import Choices
from resnet_repro.spec.loading import load_experiment
from resnet_repro.spec.run import Run
from resnet_repro.store.store import Store


def test_the_longest_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    class RecordingPool:
        def __init__(self, *_: Any) -> None:
            pass

        def run_all(self, runs: Sequence[Run]) -> dict[str, Outcome]:
            order.extend(run.network for run in runs)
            return {}

    monkeypatch.setattr(side_by_side, "Pool", RecordingPool)
    runs = load_experiment("fig6", choices=Choices(preset="demo")).resolve()
    assert [run.network for run in runs] == ["plain-20", "plain-56", "resnet-20", "resnet-56"]
    place = side_by_side.SideBySide(2, Store(tmp_path), options(tmp_path), StopFlag(), Silent())
    place.run_all(runs)
    assert order == ["plain-56", "resnet-56", "plain-20", "resnet-20"]
