"""Testing finished runs on more views of each photograph, and their ensembles."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_up_origin import ORIGIN
from short_runs import Quiet, short_runner, small_synthetic

from resnet_repro.base.errors import StoreError
from resnet_repro.data.dataset import Dataset
from resnet_repro.measure.scores import read_scores, store_views, write_scores
from resnet_repro.runner.measuring import METHODS, VIEWS
from resnet_repro.runner.runner import Runner
from resnet_repro.spec.experiment import Choices, Experiment
from resnet_repro.spec.measurements import MEASUREMENTS, EvaluationRow
from resnet_repro.spec.recipe_parts import Photographs
from resnet_repro.store.models import EnsembleResult
from resnet_repro.store.store import Store

pytestmark = pytest.mark.usefixtures("narrow")

EXPERIMENT: dict[str, Any] = {
    "name": "tiny",
    "title": "Two tiny networks",
    "dataset": "imagenet",  # not that of its runs
    "precision": "fp32",
    "recipe": {
        "iterations": 4,
        "batch_size": 4,
        "milestones": [],
        "plateau": None,
        "evaluate_every": 2,
        "learning_rate": 0.001,
        "bn_average_iterations": 3,
        "photographs": Photographs.for_crop(16).model_dump(mode="json"),
    },
    "runs": [{"networks": ["plain-18", "plain-34"], "dataset": "synthetic"}],
    "measure": ["10-crop"],
    "ensemble": {"networks": ["plain-18", "plain-34"], "views": "10-crop"},
}


@pytest.fixture(scope="module")
def small() -> Dataset:
    return small_synthetic(40, 25)


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return Experiment.model_validate(EXPERIMENT)


def runner_of(store: Store, small: Dataset) -> tuple[Runner, Quiet]:
    quiet = Quiet()
    return short_runner(store.root, small, quiet), quiet


@pytest.fixture(scope="module")
def store(
    tmp_path_factory: pytest.TempPathFactory, small: Dataset, experiment: Experiment
) -> Store:
    """Both networks trained and measured."""
    store = Store(tmp_path_factory.mktemp("views"))
    runner, _ = runner_of(store, small)
    assert set(runner.run_all(experiment.resolve()).values()) == {"done"}
    assert runner.measurer.measure([experiment]) == {}
    return store


def copy_without_ensemble(store: Store, folder: Path) -> Store:
    shutil.copytree(store.root, folder / "results")
    (ensemble,) = folder.rglob("tiny-custom-synthetic.json")
    ensemble.unlink()
    return Store(folder / "results")


def rows(store: Store, experiment: Experiment) -> list[dict[str, EvaluationRow]]:
    runs = map(store.get, experiment.resolve())
    return [{row.views: row for row in run.rows("evaluations")} for run in runs]


def test_the_centre_is_measured_as_well_and_is_what_training_ended_with(
    store: Store, small: Dataset, experiment: Experiment
) -> None:
    for run, measured in zip(experiment.resolve(), rows(store, experiment), strict=True):
        assert set(measured) == {"centre", "10-crop"}
        summary = store.get(run).summary
        assert summary is not None
        assert measured["centre"].top1_error == summary.final_test_error
        for row in measured.values():
            assert (row.images, row.bn) == (25, "average")
            assert row.dataset_sha256 == small.identity.sha256
            assert 0 < row.top5_error <= row.top1_error <= 100


def test_an_ensemble_averages_the_scores_of_its_members(
    store: Store, small: Dataset, experiment: Experiment
) -> None:
    scores = [np.load(store.folder(r).scores("10-crop"))["scores"] for r in experiment.resolve()]
    assert [s.dtype for s in scores] == [np.float16, np.float16]
    average = np.mean([s.astype(np.float64) for s in scores], axis=0)
    assert average.sum(axis=1) == pytest.approx(1, abs=1e-2)
    best = np.argsort(-average, axis=1, kind="stable")
    hits = best == small.test_labels[:, None]
    (result,) = store.records(EnsembleResult)
    assert result.top1_error == pytest.approx(100 * (1 - hits[:, 0].mean()))
    assert result.top5_error == pytest.approx(100 * (1 - hits[:, :5].any(axis=1).mean()))
    assert result.members == tuple(run.id for run in experiment.resolve())
    assert (result.images, result.views, result.preset) == (25, "10-crop", "custom")
    assert result.origin is not None
    assert (result.origin.device, result.origin.code) == ("cpu", result.code)
    assert result.origin.hardware


def test_what_is_measured_is_not_measured_again(
    store: Store, small: Dataset, experiment: Experiment
) -> None:
    files = [path for path in store.root.rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in files}
    runner, quiet = runner_of(store, small)
    assert runner.measurer.measure([experiment]) == {}
    assert {path: path.stat().st_mtime_ns for path in files} == before
    assert quiet.notes == []


def test_scores_that_are_gone_are_made_anew(
    store: Store, small: Dataset, experiment: Experiment
) -> None:
    """If an ensemble still needs them; they are not among what is published."""
    path = store.folder(experiment.resolve()[0]).scores("10-crop")
    before, kept, scores = rows(store, experiment), path.read_bytes(), np.load(path)["scores"]
    path.unlink()
    runner, _ = runner_of(store, small)
    assert runner.measurer.measure([experiment]) == {}
    assert not path.exists()
    (ensemble,) = store.root.rglob("tiny-custom-synthetic.json")
    for _ in ("gone", "torn"):
        ensemble.unlink()
        assert runner.measurer.measure([experiment]) == {}
        assert ensemble.exists()
        assert rows(store, experiment) == before
        assert np.array_equal(np.load(path)["scores"], scores)
        path.write_bytes(b"torn")
    path.write_bytes(kept)


def test_an_ensemble_waits_for_all_of_its_members(
    store: Store, small: Dataset, experiment: Experiment, tmp_path: Path
) -> None:
    other = Store(tmp_path)
    runner, quiet = runner_of(other, small)
    first, second = experiment.resolve()
    runner.run_all([first])
    checkpoint = other.folder(first).checkpoint
    kept = checkpoint.read_bytes()
    checkpoint.unlink()
    assert runner.measurer.measure([experiment]) == {first.id: "unmeasured"}  # no weights
    checkpoint.write_bytes(kept)
    assert runner.measurer.measure([experiment]) == {}
    assert quiet.notes[-1] == f"tiny: no ensemble yet, {second.id} lacks 10-crop"
    assert other.records(EnsembleResult) == []
    quiet.stop_after = 0
    quiet.notes.clear()
    other.folder(first).evaluations.unlink()
    left = runner.measurer.measure([experiment])
    assert (quiet.notes, other.folder(first).evaluations.exists()) == ([], False)
    assert left == {first.id: "stopped", second.id: "stopped"}, "the ensemble is left"


def test_members_that_were_measured_on_other_data_are_unmeasured(
    store: Store, small: Dataset, experiment: Experiment, tmp_path: Path
) -> None:
    other = copy_without_ensemble(store, tmp_path)
    identity = dataclasses.replace(small.identity, sha256="0" * 64)
    runner, quiet = runner_of(other, dataclasses.replace(small, identity=identity))
    members = [run.id for run in experiment.resolve()]
    assert runner.measurer.measure([experiment]) == dict.fromkeys(members, "unmeasured")
    assert quiet.notes == [f"tiny: no ensemble yet, {members[0]} lacks 10-crop"]


def test_scores_of_another_training_are_made_anew(
    store: Store, small: Dataset, experiment: Experiment, tmp_path: Path
) -> None:
    """As after a pull, which brings the errors of another training and leaves the scores."""
    other = copy_without_ensemble(store, tmp_path)
    first, second = (other.get(run) for run in experiment.resolve())
    scores = first.folder.scores("10-crop")
    kept = scores.read_bytes()
    runner, _ = runner_of(other, small)
    others = second.folder.scores("10-crop").read_bytes()
    scores.write_bytes(others)
    assert runner.measurer.measure([experiment]) == {}
    assert scores.read_bytes() == kept
    (result,), (before,) = (s.records(EnsembleResult) for s in (other, store))
    assert result.top1_error == before.top1_error
    scores.write_bytes(others)
    (ensemble,) = other.root.rglob("tiny-custom-synthetic.json")
    ensemble.unlink()
    first.folder.checkpoint.unlink()
    first.folder.previous_checkpoint.unlink(missing_ok=True)
    assert runner.measurer.measure([experiment]) == {first.id: "unmeasured"}
    assert other.records(EnsembleResult) == []


def test_an_ensemble_over_the_centre_needs_no_other_measurement(
    small: Dataset, tmp_path: Path
) -> None:
    ensemble = EXPERIMENT["ensemble"] | {"views": "centre"}
    changes = {"measure": [], "ensemble": ensemble}
    centre = Experiment.model_validate(EXPERIMENT | changes)
    other = Store(tmp_path)
    runner, _ = runner_of(other, small)
    runner.run_all(centre.resolve())
    assert runner.measurer.measure([centre]) == {}
    (result,) = other.records(EnsembleResult)
    assert (result.views, len(result.members)) == ("centre", 2)
    of_cifar = {"runs": [{"networks": ["plain-18", "resnet-8"]}], "recipe": {}}
    ensemble = {"networks": ["resnet-8"], "views": "centre"}
    with pytest.raises(ValueError, match="resnet-8 is not tested on views"):
        Experiment.model_validate(EXPERIMENT | changes | of_cifar | {"ensemble": ensemble})


def test_every_measurement_can_be_made() -> None:
    assert {*METHODS, *VIEWS} == set(MEASUREMENTS)


def test_foreign_scores_are_not_believed(
    store: Store, experiment: Experiment, tmp_path: Path
) -> None:
    other = copy_without_ensemble(store, tmp_path)
    run, scores = other.get(experiment.resolve()[0]), torch.rand(25, 3)
    path = run.folder.scores("10-crop")
    _, tencrop = run.rows("evaluations")
    write_scores(run.folder, tencrop, scores)
    read = read_scores(run, "10-crop")
    assert read is not None
    assert torch.allclose(read, scores, atol=1e-3)
    assert read_scores(run, "10-crop", tencrop.dataset_sha256) is not None
    assert read_scores(run, "10-crop", "b" * 64) is None, "of other data"
    assert read_scores(run, "centre") is not None
    run.folder.scores("centre").unlink()
    assert read_scores(run, "centre") is None
    path.write_bytes(path.read_bytes()[:-30])
    assert read_scores(run, "10-crop") is None
    write_scores(run.folder, tencrop, scores[1:])
    assert read_scores(run, "10-crop") is None, "not of each image"
    np.savez(path, scores=scores.half().numpy(), dataset=np.array(tencrop.dataset_sha256))
    assert read_scores(run, "10-crop") is None, "an earlier commit's, of no known training"
    np.savez(path, scores=np.array([{}], dtype=object), evaluation=np.array("a" * 64))
    assert read_scores(run, "10-crop") is None
    better = dataclasses.replace(tencrop, loss=tencrop.loss / 2)
    write_scores(run.folder, better, scores)
    assert read_scores(run, "10-crop") is None, "of another training"


def test_errors_are_stored_after_the_scores_that_gave_them(
    store: Store, experiment: Experiment, tmp_path: Path
) -> None:
    """What stops between the two leaves nothing that counts as measured."""
    run = copy_without_ensemble(store, tmp_path).get(experiment.resolve()[0])
    row = next(row for row in run.rows("evaluations") if row.views == "10-crop")
    run.folder.evaluations.unlink()
    run.folder.scores("10-crop").unlink()
    run.folder.scores("10-crop").mkdir()  # cannot be written
    with pytest.raises(StoreError, match="scores-10-crop"):
        store_views(run.folder, row, torch.rand(25, 3), ORIGIN)
    assert not run.folder.evaluations.exists()


def test_an_ensemble_of_fewer_does_not_replace_the_whole_one(
    store: Store, small: Dataset, experiment: Experiment
) -> None:
    whole = store.records(EnsembleResult)
    fewer = experiment.choose(Choices(networks=["plain-18"]))
    runner, quiet = runner_of(store, small)
    assert runner.measurer.measure([fewer]) == {}
    assert "not stored beside the one of 2" in quiet.notes[-1]
    assert store.records(EnsembleResult) == whole


def test_a_larger_ensemble_of_members_trained_since_is_replaced(
    store: Store, small: Dataset, experiment: Experiment, tmp_path: Path
) -> None:
    other = Store(tmp_path / "results")
    shutil.copytree(store.root, other.root)
    again = other.get(experiment.resolve()[1])
    assert again.summary
    since = again.summary.provenance.model_copy(update={"ended": "2999-01-01T00:00:00Z"})
    again.folder.write_summary(again.summary.model_copy(update={"provenance": since}))
    fewer = experiment.choose(Choices(networks=["plain-18"]))
    runner, quiet = runner_of(other, small)
    assert runner.measurer.measure([fewer]) == {}
    assert quiet.notes[-1].startswith("tiny: 1 network together, 10-crop: top-1 error")
    (result,) = other.records(EnsembleResult)
    assert result.members == (experiment.resolve()[0].id,)
