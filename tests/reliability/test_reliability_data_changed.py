"""A run that was begun on one copy of a data set does not go on with another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from short_runs import Quiet, short_runner

from resnet_repro.base.errors import DataError
from resnet_repro.data import datasets
from resnet_repro.spec.presets import preset_recipe
from resnet_repro.spec.run import Run


def test_other_data_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = preset_recipe("demo", "resnet-8", "cifar10").model_copy(
        update={"iterations": 6, "milestones": (3,), "batch_size": 4, "evaluate_every": 6}
    )
    run = Run(network="resnet-8", dataset="synthetic", recipe=recipe, seed=0)
    first = short_runner(tmp_path, None, Quiet(stop_after=3))
    assert first.run_all([run])[run.id] == "stopped"

    here = datasets.load("synthetic", tmp_path)
    other = replace(here, identity=replace(here.identity, sha256="0" * 64))
    monkeypatch.setattr(datasets, "load", lambda *_: other)
    with pytest.raises(DataError, match="another copy"):
        short_runner(tmp_path, None).run_all([run])
    assert short_runner(tmp_path, None, force=True).run_all([run])[run.id] == "done"
