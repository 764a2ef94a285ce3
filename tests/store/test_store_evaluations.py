"""What is stored of testing from several views, of ensembles and of others' weights."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from git_checkout import git
from made_up_origin import ORIGIN

from resnet_repro.base.errors import StoreError
from resnet_repro.base.files import write_atomically
from resnet_repro.spec.measurements import EvaluationRow, ResponseRow
from resnet_repro.spec.presets import preset_recipe
from resnet_repro.spec.run import Run
from resnet_repro.store.measured import is_measured
from resnet_repro.store.models import EnsembleResult, ExternalEvaluation, Provenance, Summary
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.store.store import Store
from resnet_repro.store.stored_run import StoredRun

ROW = EvaluationRow("10-crop", 25.1, 7.5, 1.0 / 3.0, 50_000, "average", "a" * 64)
MEASURED: dict[str, Any] = {
    "data": {"name": "imagenet", "official": True, "sha256": "0" * 64},
    "code": "0.1.0",
    "command": "resnet-repro evaluate weights.pth --record",
    "measured": "2025-01-02T03:04:05Z",
}


@pytest.fixture
def run() -> Run:
    recipe = preset_recipe("short", "plain-18", "imagenette")
    return Run(network="plain-18", dataset="imagenette", recipe=recipe, seed=0)


@pytest.fixture
def folder(tmp_path: Path, run: Run) -> RunFolder:
    folder = Store(tmp_path).folder(run)
    folder.write_config(run)
    return folder


def stored(folder: RunFolder, run: Run) -> StoredRun:
    return Store(folder.path.parents[1]).get(run)


def test_evaluations_come_back_exactly(folder: RunFolder, run: Run) -> None:
    assert stored(folder, run).rows("evaluations") == []
    folder.write_measured("evaluations", [ROW], ORIGIN)
    assert stored(folder, run).rows("evaluations") == [ROW]
    header = folder.evaluations.read_text(encoding="utf-8").splitlines()[0]
    assert header == "views,top1_error,top5_error,loss,images,bn,dataset_sha256"
    assert folder.evaluations.name == "evaluations.csv"


def test_measuring_again_replaces_these_views_and_keeps_the_others(
    folder: RunFolder, run: Run
) -> None:
    folder.write_measured("evaluations", [replace(ROW, views="multi-scale"), ROW], ORIGIN)
    folder.write_measured(
        "evaluations", [replace(ROW, top1_error=24.0), replace(ROW, views="centre")], ORIGIN
    )
    found = stored(folder, run).rows("evaluations")
    assert [(row.views, row.top1_error) for row in found] == [
        ("centre", 25.1),
        ("10-crop", 24.0),
        ("multi-scale", 25.1),
    ]


def test_each_measurement_has_on_record_what_made_it(folder: RunFolder, run: Run) -> None:
    folder.write_measured("evaluations", [ROW, replace(ROW, views="centre")], ORIGIN)
    folder.write_measured(
        "responses", [ResponseRow(1, "conv1", 0.5)], ORIGIN.model_copy(update={"processes": 4})
    )
    folder.write_measured("gradients", [])  # by the training itself, which has its own record
    later = ORIGIN.model_copy(update={"code": "0.2.0", "dirty": True})
    folder.write_measured("evaluations", [ROW], later)
    found = stored(folder, run).origins
    assert {what: (made.code, made.processes) for what, made in found.items()} == {
        "centre": ("0.1.0", 1),
        "10-crop": ("0.2.0", 1),
        "responses": ("0.1.0", 4),
    }
    assert found["10-crop"].measured.endswith("Z")
    assert (
        found["10-crop"].model_dump(exclude={"measured", "sha256", "earlier"}) == later.model_dump()
    )
    assert folder.origins.name == "measurements.json"


def test_a_crash_while_measuring_again_leaves_no_number_with_anothers_origin(
    folder: RunFolder, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write_measured("evaluations", [ROW, replace(ROW, views="centre")], ORIGIN)
    written: list[str] = []

    def write_once(path: Path, text: str | bytes) -> None:
        if path.name in written:
            raise KeyboardInterrupt
        written.append(path.name)
        write_atomically(path, text)

    monkeypatch.setattr("resnet_repro.store.run_folder.write_atomically", write_once)
    with pytest.raises(KeyboardInterrupt):
        folder.write_measured("evaluations", [replace(ROW, top1_error=24.0)], ORIGIN)
    found = stored(folder, run)
    assert {row.views: row.top1_error for row in found.rows("evaluations")}["10-crop"] == 24.0
    assert list(found.origins) == ["centre"]
    store = Store(folder.path.parents[1])
    measured = {views: is_measured(store, found, views, None) for views in ("centre", "10-crop")}
    assert measured == {"centre": True, "10-crop": False}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"12-crop": {}}', '{"centre": {"code": "1"}}'])
def test_torn_origins_are_a_problem_and_removed_for_measuring_again(
    folder: RunFolder, run: Run, text: str
) -> None:
    folder.write_measured("evaluations", [ROW], ORIGIN)
    folder.origins.write_text(text, encoding="utf-8")
    assert stored(folder, run).problem == "measurements.json is torn or unreadable"
    stored(folder, run).discard_torn_measurements()
    assert stored(folder, run).problem is None
    assert stored(folder, run).rows("evaluations") == [ROW]
    assert not is_measured(Store(folder.path.parents[1]), stored(folder, run), "10-crop", None)


@pytest.mark.parametrize(
    "change",
    [
        ("10-crop", "12-crop"),
        ("average", "none"),
        ("25.1", "101"),
        ("25.1", "nan"),
        ("50000", "many"),
        ("top1_error", "error"),
        ("\n10-crop", "\n10-crop,1,1,1,1,average,x\n10-crop"),
    ],
)
def test_torn_evaluations_are_a_problem_that_measuring_again_repairs(
    folder: RunFolder, run: Run, change: tuple[str, str]
) -> None:
    folder.write_measured("evaluations", [ROW], ORIGIN)
    folder.evaluations.write_text(
        folder.evaluations.read_text(encoding="utf-8").replace(*change, 1), encoding="utf-8"
    )
    found = stored(folder, run)
    assert found.rows("evaluations") == []
    assert str(found.problem).startswith("evaluations.csv is torn or unreadable")
    assert found.repairable
    found.discard_torn_measurements()
    assert stored(folder, run).problem is None


def test_starting_over_removes_evaluations_and_scores(folder: RunFolder, run: Run) -> None:
    folder.write_measured("evaluations", [ROW], ORIGIN)
    assert folder.scores("10-crop").name == "scores-10-crop.npz"
    folder.scores("multi-scale").write_bytes(b"scores")
    folder.clear()
    assert sorted(path.name for path in folder.path.iterdir()) == ["config.yaml"]


def test_scores_are_not_committed(folder: RunFolder, run: Run) -> None:
    repository = Path(__file__).parents[2]
    path = f"results/runs/{run.id}/{folder.scores('multi-scale').name}"
    assert git(repository, "check-ignore", path).returncode == 0


def ensemble(**changes: Any) -> EnsembleResult:
    values: dict[str, Any] = {
        "experiment": "table5",
        "preset": "short",
        "dataset": "folder:birds",
        "members": ["resnet-34-b-folder-birds-short-s0-0123abcd"],
        "views": "multi-scale",
        "top1_error": 20.5,
        "top5_error": 5.5,
        "images": 1_000,
        **MEASURED,
    }
    return EnsembleResult.model_validate(values | changes)


def external(**changes: Any) -> ExternalEvaluation:
    values: dict[str, Any] = {
        "network": "VGG-16",
        "dataset": "imagenet",
        "evaluations": [ROW],
        "weights_sha256": "12345678" + "f" * 56,
        "weights_file": "vgg16.pth",
        **MEASURED,
    }
    return ExternalEvaluation.model_validate(values | changes)


def test_ensembles_and_others_weights_come_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.records(EnsembleResult) == []
    assert store.records(ExternalEvaluation) == []
    path = store.write_record(ensemble())
    assert path == tmp_path / "ensembles" / "table5-short-folder-birds.json"
    store.write_record(ensemble(top1_error=19.5))  # measured again
    store.write_record(ensemble(preset="paper", dataset="imagenet"))
    assert [found.top1_error for found in store.records(EnsembleResult)] == [20.5, 19.5]
    path = store.write_record(external())
    assert path == tmp_path / "evaluations" / "vgg-16-imagenet-12345678.json"
    assert store.records(ExternalEvaluation) == [external()]


@pytest.mark.parametrize(
    "wrong",
    [
        {"members": []},
        {"members": ["../../etc/passwd"]},
        {"experiment": "../x"},
        {"dataset": "folder:../x"},
        {"top5_error": 101},
        {"views": "all"},
    ],
)
def test_ensembles_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ensemble(**wrong)


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"format": 1}', "\xff", "[" * 100_000])
def test_a_torn_record_is_told_by_name(tmp_path: Path, text: str) -> None:
    store = Store(tmp_path)
    path = store.write_record(ensemble())
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(StoreError, match=r"table5-short-folder-birds\.json: ") as caught:
        store.records(EnsembleResult)
    assert "\n" not in str(caught.value)


def test_a_record_of_a_newer_program_or_under_a_wrong_name_is_told(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.write_record(external())
    path.write_text(
        json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"format": 2}), encoding="utf-8"
    )
    with pytest.raises(StoreError, match="another version"):
        store.records(ExternalEvaluation)
    store.write_record(external()).rename(path.with_name("resnet-50.json"))
    with pytest.raises(StoreError, match=r"belongs into vgg-16-imagenet-12345678\.json"):
        store.records(ExternalEvaluation)


def test_what_earlier_versions_stored_has_the_new_fields_defaults() -> None:
    provenance = {
        "code": "0.1.0",
        "dirty": None,
        "command": "resnet-repro run",
        "device": "cpu",
        "hardware": "a machine",
        "precision": "fp32",
        "threads": 2,
        "versions": {},
        "dataset": {},
        "normalisation": {},
        "started": "2025-01-02T03:04:05Z",
    }
    found = Provenance.model_validate(provenance)
    assert (found.processes, found.bn_images) == (1, None)
    summary = {
        "id": "x",
        "network": "resnet-20",
        "dataset": "cifar10",
        "preset": "short",
        "seed": 0,
        "state": "running",
        "iteration": 0,
        "iterations": 10,
        "parameters": 1,
        "provenance": provenance,
    }
    assert Summary.model_validate(summary).lr_divisions is None
