"""Tables of average precision beside the paper's, where a run follows the paper's protocol."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from resnet_repro.report.document.missing import gaps_of
from resnet_repro.report.groups import Group
from resnet_repro.report.rendering import render_table
from resnet_repro.report.results import Cell
from resnet_repro.report.tables import make_table
from resnet_repro.spec.experiment import Choices
from resnet_repro.spec.loading import load_experiment
from resnet_repro.spec.run import Run

NETWORK = "faster-rcnn-resnet-101"
FAITHFUL = Group(
    family="detection",
    base="paper",
    changes=(),
    iterations=80_000,
    crop=600,
    dataset="voc07+12",
    official=True,
    sha256="",
    precision="fp32",
    resolved="fp32",
    pretraining="imagenet-paper",
)


@pytest.fixture
def results() -> Any:
    """A detector of the paper's protocol, tested on two classes."""
    run = SimpleNamespace(id="a", summary=SimpleNamespace(parameters=47_000_000, seed=0))
    precisions = pd.DataFrame(
        {
            "run": "a",
            "class_name": ["cat", "dog"],
            "ap_11point": [80.0, 70.0],
            "ap_area": [84.0, 72.0],
            "objects": [358, 489],
        }
    )
    cell = Cell(NETWORK, FAITHFUL, done=(run,), failed=(), unfinished=())  # type: ignore[arg-type]
    return SimpleNamespace(cells=lambda networks: [cell], precisions=precisions, numbers={})


@pytest.mark.parametrize(
    ("table", "row", "first", "second"),
    [("table7", "ResNet-101", 75.0, 78.0), ("table10", "cat", 80.0, 84.0)],
)
def test_both_forms_stand_beside_the_papers(
    results: Any, table: str, row: str, first: float, second: float
) -> None:
    lines = render_table(make_table(load_experiment(table), results), "csv").splitlines()
    cells = [dict(zip(lines[0].split(","), line.split(","), strict=False)) for line in lines[1:]]
    ours = next(each for each in cells if row in each.values() and each["ours"])
    assert float(ours["ours"]) == first
    assert float(ours["ours_too"]) == second
    assert ours["reduced"] == ours["reduced_too"] == ""


def test_a_missing_backbone_is_trained_with_its_detector() -> None:
    """The backbones are not among the networks that `--networks` knows."""
    experiment = load_experiment("table8")
    first, detector, *others = experiment.choose(Choices()).resolve()
    assert detector.recipe.starts_from == first.id

    def gaps(*lacking: Run) -> list[tuple[str, str]]:
        done = {first, detector, *others} - set(lacking)
        stored = [SimpleNamespace(id=r.id, finished=True, has=lambda _: False) for r in done]
        results: Any = SimpleNamespace(numbers={}, stored=stored, ensembles=[])
        return [(gap.what, gap.command) for gap in gaps_of(experiment, results)]

    both = "Faster R-CNN with VGG-16, Faster R-CNN with ResNet-101"
    measurements = ("average precision", "detections")
    assert gaps() == [(f"{m} of {both}", "resnet-repro run table8") for m in measurements]
    alone = "resnet-repro run table8 --networks faster-rcnn-vgg-16"
    assert gaps(first) == [("1 of 4 runs: VGG-16", alone)]
    assert gaps(detector) == [("1 of 4 runs: Faster R-CNN with VGG-16", alone)]
    assert gaps(first, detector, *others)[0][1] == "resnet-repro run table8"
