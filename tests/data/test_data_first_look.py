"""Looking through a folder for the first time can be stopped, wherever it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up_boxes import write_coco, write_voc
from made_up_photos import WritePhotos
from short_runs import Quiet, short_runner

from resnet_repro.base.stop import Stopped
from resnet_repro.data import datasets
from resnet_repro.measure.evaluate.evaluation import Request
from resnet_repro.spec.experiment import Choices
from resnet_repro.spec.loading import load_experiment


@pytest.fixture
def data(write_photos: WritePhotos, tmp_path: Path) -> Path:
    """A data folder with birds, VOC 2007 and COCO."""
    data = write_photos(name="data/birds").parent
    lists = {"trainval": {"000005": [("cat", (1, 1, 40, 30), 0)]}, "test": {"000001": []}}
    write_voc(data / "VOCdevkit" / "VOC2007", lists)
    write_coco(data / "coco2014")
    return data


# Birds: 10 photographs; boxes: both lists; all: contents are hashed.
@pytest.mark.parametrize(("name", "questions"), [("folder:birds", 11), ("voc07", 3), ("coco", 3)])
def test_a_first_look_can_be_stopped(data: Path, name: str, questions: int) -> None:
    for count in range(questions):
        answers = iter([False] * count + [True])
        with pytest.raises(Stopped):
            datasets.load(name, data, should_stop=lambda answers=answers: next(answers))
    assert not list(data.glob(".*/*"))
    datasets.load(name, data, should_stop=iter([False] * questions).__next__)


def test_a_run_does_not_begin_then(data: Path, tmp_path: Path) -> None:
    runs = load_experiment("fig4").choose(Choices("short", dataset="folder:birds")).resolve()
    quiet = Quiet(stop_after=1)  # it is asked for each run as well
    assert short_runner(tmp_path, None, quiet).run_all(runs[:2]) == {}
    assert not (tmp_path / "runs").exists()
    assert not list(data.glob(".*/*"))


def test_nor_does_an_evaluation(data: Path) -> None:
    request = Request(data, (), "resnet-repro evaluate", should_stop=lambda: True)
    with pytest.raises(Stopped):
        request.load("folder:birds", None)
