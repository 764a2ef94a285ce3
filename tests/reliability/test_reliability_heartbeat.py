"""A training gives signs of life between the points of its curve: what it has done, and its claim.

Without them another machine would take the run over, and `status` would show it as dead.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from short_runs import Quiet, short_runner, small_synthetic

from resnet_repro.runner import session
from resnet_repro.spec.recipe import Recipe
from resnet_repro.spec.run import Run
from resnet_repro.store.models import Summary

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
