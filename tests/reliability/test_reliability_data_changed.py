"""A run that was begun on one copy of a data set does not go on with another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from resnet_repro.base.errors import DataError
from resnet_repro.base.stop import StopFlag
from resnet_repro.data import datasets
from resnet_repro.runner.options import Options
from resnet_repro.runner.runner import Runner
from resnet_repro.spec.presets import preset_recipe
from resnet_repro.spec.run import Run
from resnet_repro.store.store import Store


class _Silent:
    def started(self, *_: object) -> None: ...
    def advanced(self, *_: object) -> None: ...
    def ended(self, *_: object) -> None: ...
    def note(self, *_: object) -> None: ...


class _AfterTwoIterations(StopFlag):
    asked = 0

    @property
    def reason(self):  # type: ignore[no-untyped-def]
        self.asked += 1
        return "budget" if self.asked > 3 else None


def test_other_data_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = preset_recipe("demo", "resnet-8", "cifar10").model_copy(
        update={"iterations": 6, "milestones": (3,), "batch_size": 4, "evaluate_every": 6}
    )
    run = Run(network="resnet-8", dataset="synthetic", recipe=recipe, seed=0)
    store = Store(tmp_path)
    options = Options(data_dir=tmp_path)
    outcome = Runner(store, options, _AfterTwoIterations(), _Silent()).run_all([run])
    assert outcome[run.id] == "stopped"

    here = datasets.load("synthetic", tmp_path)
    other = replace(here, identity=replace(here.identity, sha256="0" * 64))
    monkeypatch.setattr(datasets, "load", lambda *_: other)
    with pytest.raises(DataError, match="another copy"):
        Runner(store, options, StopFlag(), _Silent()).run_all([run])
    again = Runner(store, replace(options, force=True), StopFlag(), _Silent()).run_all([run])
    assert again[run.id] == "done"
