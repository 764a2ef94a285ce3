"""A training gives signs of life between the points of its curve: what it has done, and its claim.

Without them another machine would take the run over, and `status` would show it as dead.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from short_runs import Quiet, short_runner, small_synthetic

from resnet_repro.runner import session
from resnet_repro.spec.recipe import Recipe
from resnet_repro.spec.run import Run
from resnet_repro.store.models import Summary
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.training import trainer
from resnet_repro.training.evaluate import evaluate

RUN = Run(
    network="resnet-8",
    dataset="synthetic",
    recipe=Recipe(iterations=4, batch_size=10, milestones=[], evaluate_every=4),
    seed=0,
)


@pytest.mark.parametrize(("seconds", "signs"), [(0.0, [1, 2, 3, 4, 4]), (3600.0, [4])])
def test_between_points_a_training_tells_what_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, signs: list[int]
) -> None:
    monkeypatch.setattr(session, "HEARTBEAT", seconds)
    told: list[int] = []
    claims: list[float] = []

    class Watching(Quiet):
        def advanced(self, run: Run, summary: Summary) -> None:
            folder = runner.store.folder(run)
            stored = Summary.model_validate_json(folder.summary.read_text(encoding="utf-8"))
            assert (stored.state, stored.iteration) == ("running", summary.iteration)
            told.append(summary.iteration)
            claims.append(json.loads(folder.owner.read_text(encoding="utf-8"))["time"])

    runner = short_runner(tmp_path, small_synthetic(), Watching())
    assert runner.run_all([RUN])[RUN.id] == "done"
    assert told == signs
    assert claims == sorted(set(claims)), "each sign renews the claim"


def test_a_test_that_takes_long_renews_the_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "HEARTBEAT", 0.0)
    claims: list[bool] = []  # of each, whether the network was being tested
    testing, claim = False, RunFolder.claim

    def noted(*arguments: Any) -> tuple[float, float]:
        nonlocal testing
        testing = True
        try:
            return evaluate(*arguments)
        finally:
            testing = False

    def counted(folder: RunFolder) -> None:
        claims.append(testing)
        claim(folder)

    monkeypatch.setattr(trainer, "evaluate", noted)
    monkeypatch.setattr(RunFolder, "claim", counted)
    runner = short_runner(tmp_path, small_synthetic())
    assert runner.run_all([RUN])[RUN.id] == "done"
    assert any(claims)
