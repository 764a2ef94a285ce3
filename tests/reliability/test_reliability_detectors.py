"""Detectors that are killed, that start from other runs, and what is said where these are not."""

from __future__ import annotations

import hashlib
import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest
import torch
from narrow_networks import narrow_networks
from short_runs import Quiet, short_runner, small_synthetic
from small_detectors import SETTINGS, few_scenes
from stoppable import Driver, assert_whole, the_run
from training_outcome import outcome

from resnet_repro.base.errors import ConfigError, DataError
from resnet_repro.launch.training import in_turn, train_at
from resnet_repro.launch.where import Where
from resnet_repro.networks.network import build_network
from resnet_repro.networks.weights import weights_sha256
from resnet_repro.plan.estimator import Estimator
from resnet_repro.plan.overview import plan_measuring
from resnet_repro.runner.measuring import METHODS, Work
from resnet_repro.runner.resuming import resume
from resnet_repro.runner.runner import Runner
from resnet_repro.runner.sources import memory_advice
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.loading import parse_experiment
from resnet_repro.spec.yaml_io import parse_yaml, write_yaml
from resnet_repro.store.models import BackboneRecord
from resnet_repro.training.checkpoint import pack, unpack
from resnet_repro.training.order import Shard
from resnet_repro.training.processes import Processes

RECIPE = {"iterations": 12, "milestones": [], "evaluate_every": 4, "detection": SETTINGS}
SCRATCH = {
    "name": "tiny",
    "title": "A tiny detector",
    "preset": "demo",
    "dataset": "scenes",
    "precision": "fp32",
    "recipe": RECIPE,
    "runs": [{"networks": ["faster-rcnn-plain-18"]}],
}
FROZEN = {"batch_norm": "frozen", "frozen_stages": 2}
SHORTEST = {"iterations": 2, "milestones": [], "evaluate_every": 2, "bn_average_iterations": 1}
PRETRAINED = SCRATCH | {
    "recipe": RECIPE | {"iterations": 2, "detection": SETTINGS | FROZEN},
    "pretraining": {"dataset": "synthetic", "preset": "demo", "recipe": SHORTEST},
    "measure": ["average-precision", "detections"],
}


def experiment_of(content: dict[str, Any]) -> Experiment:
    return parse_experiment(parse_yaml(write_yaml(content), "tiny.yaml"))


@pytest.fixture
def _narrow() -> Iterator[None]:
    with narrow_networks():
        yield


@pytest.fixture(scope="module")
def argv(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, ...]:
    """The training that is stopped; the folder of its results is to follow."""
    path = tmp_path_factory.mktemp("experiment") / "tiny.yaml"
    path.write_text(write_yaml(SCRATCH), encoding="utf-8")
    return "run", path, "--device", "cpu", "--checkpoint-every", "0.02s", "--results"


@pytest.fixture(scope="module")
def twin(
    driver: Driver, argv: tuple[object, ...], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], float]:
    """What comes out without a stop, and the seconds that it took."""
    results, begun = tmp_path_factory.mktemp("twin"), time.monotonic()
    assert driver.run(*argv, results, narrow=True)[0] == 0
    return outcome(the_run(results)), time.monotonic() - begun


@pytest.mark.usefixtures("_narrow")
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_stops_change_nothing(
    driver: Driver,
    argv: tuple[object, ...],
    twin: tuple[dict[str, Any], float],
    tmp_path: Path,
    kind: signal.Signals,
) -> None:
    expected, seconds = twin
    assert [row["iteration"] for row in expected["curve"]] == ["4", "8", "12"]
    assert set(expected["curve"][0]) >= {"objectness_loss", "class_loss", "box_loss"}
    moments, results, told = random.Random(3), tmp_path / "results", ""
    for lap in range(3):
        job = driver.start(*argv, results, narrow=True)
        if lap:
            job.await_training()
            time.sleep(moments.uniform(0, 0.3 * seconds))
        else:
            job.await_point(results)
        job.kill(kind)
        code = job.wait()
        told += job.stderr
        assert_whole(results)
        if code == 0:  # sooner than expected: another lap
            assert outcome(the_run(results)) == expected
            shutil.rmtree(results / "runs")
    code, last = driver.run(*argv, results, narrow=True)
    assert code == 0
    assert outcome(the_run(results)) == expected
    assert "continues at" in told + last.stderr


def runner_of(root: Path) -> tuple[Runner, Quiet]:
    quiet = Quiet()
    runner = short_runner(root, small_synthetic(), quiet)
    runner.sources.datasets["scenes"] = few_scenes()
    return runner, quiet


@pytest.mark.usefixtures("_narrow")
def test_a_detector_starts_from_the_run_that_its_experiment_trains_first(tmp_path: Path) -> None:
    experiment = experiment_of(PRETRAINED)
    backbone, detector = experiment.resolve()
    assert (backbone.network, detector.network) == ("plain-18", "faster-rcnn-plain-18")
    assert detector.recipe.starts_from == backbone.id
    assert in_turn([detector, backbone]) == ([backbone], [detector])
    runner, quiet = runner_of(tmp_path)
    assert set(runner.run_all([backbone, detector]).values()) == {"done"}
    first, second = (
        unpack(runner.store.folder(run).checkpoint.read_bytes()) for run in (backbone, detector)
    )
    before, after = first["network"], second["network"]
    for name in ("conv1.weight", "layer1.1.conv2.weight", "bn1.running_mean", "layer3.0.bn1.bias"):
        assert torch.equal(after[f"rcnn.backbone.{name}"], before[name])
    changed = "layer3.1.conv2.weight"  # which is trained further
    assert not torch.equal(after[f"rcnn.backbone.{changed}"], before[changed])
    summary = runner.store.get(backbone).summary
    assert summary is not None
    averages = summary.provenance.normalisation["channel_averages"]
    assert after["pixel_mean"].flatten().tolist() == pytest.approx(averages)

    assert runner.measurer.measure([experiment]) == {}
    stored = runner.store.get(detector)
    assert stored.problem is None
    assert [row.images for row in stored.rows("average_precision")] == [4] * 5
    shown = stored.rows("detections")
    assert any(row.score is None for row in shown)  # the objects themselves
    with np.load(stored.folder.photographs) as images:
        assert len(images.files) == len({row.image for row in shown}) == 4
    assert any("mAP" in note for note in quiet.notes)


@pytest.mark.usefixtures("_narrow")
def test_two_tables_on_one_detector_search_its_images_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = [{"kind": "detection", "paper": paper} for paper in ("table7", "table8")]
    more = {"measure": ["average-precision"]}
    experiments = [experiment_of(SCRATCH | more | {"table": table}) for table in tables]
    (run,) = experiments[0].resolve()
    runner, _ = runner_of(tmp_path)
    assert runner.run_all([run]) == {run.id: "done"}
    searched: list[str] = []
    method = METHODS["average-precision"]

    def counted(work: Work) -> Any:
        searched.append(work.stored.id)
        return method(work)

    monkeypatch.setitem(METHODS, "average-precision", counted)
    assert runner.measurer.measure(experiments) == {}
    assert searched == [run.id]
    estimator = Estimator(runner.store, "cpu")
    assert plan_measuring(runner.store, experiments, estimator, force=False) == []


@pytest.mark.usefixtures("_narrow")
@pytest.mark.skipif(not find_spec("pycocotools"), reason="pycocotools is not installed")
def test_cocos_numbers_come_later_from_the_detections_that_were_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table8 = {"kind": "detection", "paper": "table8"}
    of_coco = experiment_of(SCRATCH | {"table": table8, "measure": ["average-precision"]})
    of_voc = experiment_of(SCRATCH | {"table": {"kind": "detection"}, "measure": of_coco.measure})
    (run,) = of_coco.resolve()
    runner, quiet = runner_of(tmp_path)
    assert runner.run_all([run]) == {run.id: "done"}
    kept = runner.store.folder(run).unfinished_arrays("average_precision")

    def has_coco() -> bool:
        rows = runner.store.get(run).rows("average_precision")
        return any(row.coco_ap is not None for row in rows)

    with monkeypatch.context() as without:
        for part in ("", ".coco", ".cocoeval"):
            without.setitem(sys.modules, f"pycocotools{part}", None)
        assert runner.measurer.measure([of_coco]) == {}
        assert (has_coco(), kept.exists()) == (False, True)
        quiet.notes.clear()
        assert runner.measurer.measure([of_coco]) == {}
        assert quiet.notes == [], "nothing would come of it"
    assert runner.measurer.measure([of_voc]) == {}
    assert not has_coco(), "Table 7 does not ask for them"
    (line,) = plan_measuring(runner.store, [of_coco], Estimator(runner.store, "cpu"), force=False)
    assert line.measurements == ("average-precision",), "the plan says what `run` would do"

    def none_is_searched(*_: Any) -> Any:
        raise AssertionError("an image was searched again")

    monkeypatch.setattr("resnet_repro.measure.detection.detect", none_is_searched)
    assert runner.measurer.measure([of_coco]) == {}
    assert (has_coco(), kept.exists()) == (True, False)


@pytest.mark.usefixtures("_narrow")
def test_what_a_detector_starts_from_has_to_be_there_and_done(tmp_path: Path) -> None:
    backbone, detector = experiment_of(PRETRAINED).resolve()
    runner, _ = runner_of(tmp_path)
    with pytest.raises(DataError, match=f"starts from {backbone.id}, which is missing"):
        runner.run_all([detector])
    assert not runner.store.folder(detector).path.exists()
    runner.run_all([backbone])
    for field, value in (("zero_channels", "both-sides"), ("bn_epsilon", 1e-3)):
        recipe = detector.recipe.model_copy(update={field: value})
        with pytest.raises(DataError, match=rf"as recipe\.{field}, and its weights"):
            runner.run_all([detector.model_copy(update={"recipe": recipe})])
    kept = runner.store.folder(backbone).checkpoints()
    for path in kept:
        path.write_bytes(b"torn")
    with pytest.raises(DataError, match=r"are not here \(checkpoint is not a checkpoint of this"):
        runner.run_all([detector])
    for path in kept:
        path.unlink()
    with pytest.raises(DataError, match=f"^{backbone.id}, from .*there is no checkpoint"):
        runner.run_all([detector])
    assert not runner.store.folder(detector).path.exists()


DIVERGING = SHORTEST | {"iterations": 9, "learning_rate": 100, "weight_decay": 1}


@pytest.mark.usefixtures("_narrow")
def test_where_a_backbone_failed_its_detector_fails_and_others_go_on(tmp_path: Path) -> None:
    pretraining = PRETRAINED["pretraining"] | {"recipe": DIVERGING}
    backbone, detector = experiment_of(PRETRAINED | {"pretraining": pretraining}).resolve()
    short = RECIPE | {"iterations": 1}
    (other,) = experiment_of(SCRATCH | {"recipe": short}).resolve()
    runner, quiet = runner_of(tmp_path)
    expected: dict[str, Any] = {backbone.id: "failed", detector.id: "failed", other.id: "done"}
    assert runner.run_all([backbone, detector, other]) == expected
    assert f"{detector.id} starts from {backbone.id}, which failed: not trained" in quiet.notes
    assert not runner.store.folder(detector).path.exists()
    assert train_at(Where(jobs=2), runner, [backbone, detector, other]) == expected
    assert not runner.store.folder(detector).path.exists()


@pytest.mark.usefixtures("_narrow")
def test_a_detector_waits_while_another_process_trains_its_backbone(tmp_path: Path) -> None:
    backbone, detector = experiment_of(PRETRAINED).resolve()
    runner, _ = runner_of(tmp_path)
    runner.store.folder(backbone).make()
    with filelock.FileLock(runner.store.folder(backbone).lock):
        outcomes = runner.run_all([backbone, detector])
    assert outcomes == {backbone.id: "locked", detector.id: "locked"}
    assert set(runner.run_all([backbone, detector]).values()) == {"done"}


@pytest.mark.usefixtures("_narrow")
def test_a_detector_that_has_begun_goes_on_without_its_backbone(tmp_path: Path) -> None:
    backbone, detector = experiment_of(PRETRAINED).resolve()
    runner, quiet = runner_of(tmp_path)
    runner.run_all([backbone])
    trained = runner.store.get(backbone)
    assert trained.summary is not None
    state = unpack(trained.folder.checkpoint.read_bytes())
    started = BackboneRecord(
        sha256=weights_sha256(state["network"]), test_error=trained.summary.final_test_error
    )
    for iteration in (0, 1):  # with nothing done yet, the next session is the first
        quiet.stop_after = quiet.asked + 2 + iteration
        assert runner.run_all([detector]) == {detector.id: "stopped"}
        summary = runner.store.get(detector).summary
        assert summary is not None
        assert summary.iteration == iteration < detector.recipe.iterations
    shutil.rmtree(runner.store.folder(backbone).path)
    quiet.stop_after = None
    assert runner.run_all([detector]) == {detector.id: "done"}
    summary = runner.store.get(detector).summary
    assert summary is not None
    first, second = summary.provenance.trained_by
    assert summary.provenance.bn_images is None, "its batch normalisation is frozen"
    assert first.backbone == started
    assert second.backbone is None


@pytest.mark.usefixtures("_narrow")
@pytest.mark.parametrize(("before", "processes", "now"), [([2], 2, 1), ([2, 1], 1, 2)])
def test_frozen_batch_normalisation_sees_no_images_of_which_to_tell(
    tmp_path: Path, before: list[int], processes: int, now: int
) -> None:
    """Begun by one or two processes, another number continues it, each with its whole share."""
    backbone, detector = experiment_of(PRETRAINED).resolve()
    runner, quiet = runner_of(tmp_path)
    runner.run_all([backbone])
    quiet.stop_after = quiet.asked + 3
    assert runner.run_all([detector]) == {detector.id: "stopped"}
    stored, notes = runner.store.get(detector), list[str]()
    state = unpack(stored.folder.checkpoint.read_bytes())
    stored.folder.write_checkpoint(pack({**state, "bn_sizes": before}))
    runner.sources.processes = Processes(Shard(0, processes))
    quiet.stop_after = None
    resumed = resume(detector, stored, runner.sources, notes.append)
    assert resumed is not None
    assert (resumed.trainer.iteration, resumed.trainer.bn_images, notes) == (1, now, [])
    assert "batch normalisation" not in memory_advice(resumed.trainer)


@pytest.mark.usefixtures("_narrow")
def test_a_file_of_weights_is_looked_at_as_evaluate_does(tmp_path: Path) -> None:
    runner, quiet = runner_of(tmp_path)
    path = runner.options.data_dir / "resnet50.pth"
    path.parent.mkdir(parents=True, exist_ok=True)

    def train(weights: dict[str, torch.Tensor]) -> str:
        torch.save(weights, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        settings = SETTINGS | FROZEN | {"backbone": {"file": path.name, "sha256": digest}}
        recipe = RECIPE | {"iterations": 1, "detection": settings}
        runs = [{"networks": ["faster-rcnn-resnet-50"]}]
        (run,) = experiment_of(SCRATCH | {"recipe": recipe, "runs": runs}).resolve()
        return runner.run_all([run])[run.id]

    weights = build_network("resnet-50", 7).state_dict()
    assert train(weights) == "done"
    assert any("torchvision's weights want faster-rcnn-resnet-50-v1.5" in n for n in quiet.notes)
    weights["bn1.running_var"][0] = torch.inf
    with pytest.raises(ConfigError, match="not finite"):
        train(weights)


@pytest.mark.usefixtures("_narrow")
def test_a_file_of_weights_is_held_against_its_checksum(tmp_path: Path) -> None:
    weights = build_network("plain-18", 7).state_dict()
    (tmp_path / "data").mkdir()
    torch.save(weights, tmp_path / "data" / "plain18.pth")
    digest = hashlib.sha256((tmp_path / "data" / "plain18.pth").read_bytes()).hexdigest()

    def run_with(sha256: str, name: str = "plain18.pth") -> Any:
        settings = SETTINGS | FROZEN | {"backbone": {"file": name, "sha256": sha256}}
        content = SCRATCH | {"recipe": RECIPE | {"iterations": 1, "detection": settings}}
        return experiment_of(content).resolve()

    runner, _ = runner_of(tmp_path)
    with pytest.raises(DataError, match="another file than it starts from"):
        runner.run_all(run_with("0" * 64))
    with pytest.raises(DataError, match="weights are not here"):
        runner.run_all(run_with(digest, "gone.pth"))
    (run,) = run_with(digest)
    assert runner.run_all([run]) == {run.id: "done"}
    summary = runner.store.get(run).summary
    assert summary is not None
    assert summary.provenance.backbone == BackboneRecord(sha256=digest)
    state = unpack(runner.store.folder(run).checkpoint.read_bytes())
    assert torch.equal(state["network"]["rcnn.backbone.conv1.weight"], weights["conv1.weight"])
