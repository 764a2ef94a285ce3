"""What could not be trained is refused before hours of training the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from short_runs import short_runner, small_synthetic
from small_detectors import SETTINGS
from tiny_experiment import tiny_experiment

from resnet_repro.base.errors import ConfigError, DataError
from resnet_repro.launch.training import train_at
from resnet_repro.launch.where import Where
from resnet_repro.spec.loading import parse_experiment
from resnet_repro.spec.run import Run
from resnet_repro.spec.yaml_io import parse_yaml, write_yaml

FIRST = parse_experiment(parse_yaml(tiny_experiment("synthetic", 4, 2), "tiny.yaml")).resolve()[0]
DETECTORS = {
    "name": "detectors",
    "title": "A detector and what it starts from",
    "preset": "demo",
    "dataset": "voc:gone",
    "recipe": {"iterations": 2, "milestones": [], "detection": SETTINGS},
    "pretraining": {"dataset": "synthetic", "preset": "demo"},
    "runs": [{"networks": ["faster-rcnn-plain-18"]}],
}


def detectors(**changes: Any) -> list[Run]:
    return parse_experiment(parse_yaml(write_yaml(DETECTORS | changes), "x.yaml")).resolve()


def of_a_missing_file() -> list[Run]:
    backbone = {"file": "gone.pth", "sha256": "0" * 64}
    recipe = DETECTORS["recipe"] | {"detection": SETTINGS | {"backbone": backbone}}  # type: ignore[operator]
    return detectors(dataset="scenes", recipe=recipe, pretraining=None)


def of_large_batches() -> list[Run]:
    recipe = FIRST.recipe.model_copy(update={"batch_size": 101})
    return [FIRST.model_copy(update={"recipe": recipe})]


@pytest.mark.parametrize("where", [Where(), Where(jobs=2)], ids=["alone", "jobs"])
@pytest.mark.parametrize(
    ("runs", "options", "error", "said"),
    [
        (detectors(), {}, DataError, "gone"),
        (of_large_batches(), {}, ConfigError, "recipe.batch_size: 101 is more than the 100"),
        (of_a_missing_file(), {}, DataError, "its backbone's weights are not here"),
        (detectors(dataset="scenes"), {"compiled": True}, ConfigError, "--compile is for plain"),
    ],
    ids=["data", "batch", "weights", "compile"],
)
def test_it_is_refused_before_any_training(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: Where,
    runs: list[Run],
    options: dict[str, Any],
    error: type[Exception],
    said: str,
) -> None:
    monkeypatch.setattr("resnet_repro.training.subject.check_compiler", lambda _: None)
    runner = short_runner(tmp_path, small_synthetic(), **options)
    with pytest.raises(error, match=said):
        train_at(where, runner, [FIRST, *runs])
    assert not runner.store.runs_folder.exists()
