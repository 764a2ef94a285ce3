"""`resnet-repro evaluate RUN`: the weights of a run's checkpoint."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from resnet_repro.base.errors import StoreError
from resnet_repro.cli import main
from resnet_repro.measure.scores import read_scores
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.store.store import Store
from resnet_repro.training.checkpoint import pack, unpack

pytestmark = pytest.mark.usefixtures("narrow")

PHOTOGRAPHS = {
    "name": "photographs",
    "title": "A tiny training",
    "dataset": "folder:pictures",
    "preset": "demo",
    "recipe": {
        "iterations": 4,
        "milestones": [2],
        "batch_size": 4,
        "learning_rate": 0.001,
        "evaluate_every": 2,
        "bn_average_iterations": 2,
    },
    "runs": [{"networks": ["resnet-18-b"]}],
}
IMAGES = {
    "name": "images",
    "title": "A tiny training",
    "dataset": "synthetic",
    "preset": "demo",
    "recipe": {"iterations": 4, "milestones": [2], "batch_size": 16, "evaluate_every": 4},
    "runs": [{"networks": ["plain-8"]}],
}
STOPPED = {
    **IMAGES,
    "recipe": {**IMAGES["recipe"], "iterations": 100_000},
    "runs": [{"networks": ["plain-14"]}],
}


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with results: one run on photographs, one on 32x32 images, one that was stopped."""
    root = tmp_path_factory.mktemp("trained")
    for experiment, more in ((PHOTOGRAPHS, []), (IMAGES, []), (STOPPED, ["--time-budget", "1s"])):
        (root / "mine.yaml").write_text(yaml.safe_dump(experiment), encoding="utf-8")
        options = ["--data-dir", str(folder.parent), "--precision", "fp32", "--quiet", *more]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(root)
            patch.setenv("RESNET_REPRO_WORKERS", "0")
            patch.setattr(sys, "argv", ["resnet-repro", "run", "mine.yaml", *options])
            with pytest.raises(SystemExit) as ended:
                main()
        assert ended.value.code in ((75,) if more else (0, None))
    return root


@pytest.fixture
def results(trained: Path, tmp_path: Path) -> Path:
    """A copy to work on."""
    return shutil.copytree(trained / "results", tmp_path / "results")


def run_named(results: Path, start: str) -> Path:
    (path,) = (results / "runs").glob(f"{start}*")
    return path


def summary_of(run: Path) -> dict[str, object]:
    found = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def rows_of(run: Path) -> dict[str, dict[str, str]]:
    with (run / "evaluations.csv").open(encoding="utf-8") as file:
        return {row["views"]: row for row in csv.DictReader(file)}


@pytest.fixture
def photographs(results: Path) -> Path:
    return run_named(results, "resnet-18-b-folder-pictures-custom-s0")


def test_a_run_on_photographs_is_measured_and_stored(
    command, folder: Path, photographs: Path
) -> None:
    (photographs / "evaluations.csv").unlink(missing_ok=True)
    data = ("--data-dir", folder.parent)
    answer = command("evaluate", photographs.name, "--crops", "1,multi", *data)
    assert answer.code == 0, answer.err
    assert answer.out.startswith(f"resnet-18-b, {photographs.name}: 7 validation images of ")
    assert "wrote results/runs/resnet-18-b-" in answer.out
    first = rows_of(photographs)
    assert list(first) == ["centre", "multi-scale"]
    assert float(first["centre"]["top1_error"]) == pytest.approx(
        summary_of(photographs)["final_test_error"]
    ), "the same measurement as in training"
    assert first["centre"]["bn"] == "average"
    assert first["centre"]["images"] == "7"
    (stored,) = (r for r in Store(photographs.parents[1]).all_runs() if r.id == photographs.name)
    for views in first:
        assert read_scores(stored, views) is not None, "an ensemble need not test it again"

    answer = command("evaluate", photographs.name, "--crops", "10", *data, "--json")
    assert json.loads(answer.out)["evaluations"][0]["views"] == "10-crop"
    rows = rows_of(photographs)
    assert list(rows) == ["centre", "10-crop", "multi-scale"]
    assert rows["multi-scale"] == first["multi-scale"]
    made = json.loads((photographs / "measurements.json").read_text(encoding="utf-8"))
    assert "--crops 1,multi" in made["centre"]["command"]
    assert "--crops 10" in made["10-crop"]["command"]
    assert made["multi-scale"]["hardware"] == summary_of(photographs)["provenance"]["hardware"]


def test_every_way_to_name_a_run(command, folder: Path, photographs: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(tmp_path / "results", elsewhere / "copied")
    run = elsewhere / "copied" / "runs" / photographs.name
    ways = (
        (photographs.name, "--results", "elsewhere/copied"),
        ("resnet-18-b", "--results", "elsewhere/copied", "--network", "resnet-18-b"),
        (run.relative_to(tmp_path),),
        (run / "checkpoint",),
        (run, "--dataset", f"folder:{folder}", "--data-dir", "nowhere"),
    )
    answers = [command("evaluate", "--data-dir", folder.parent, *way, "--json") for way in ways]
    assert [answer.code for answer in answers] == [0] * len(ways), answers
    assert len({json.dumps(json.loads(a.out)["evaluations"]) for a in answers}) == 1


def test_a_run_on_32x32_images_is_measured(command, results: Path) -> None:
    run = run_named(results, "plain-8-synthetic-custom-s0")
    answer = command("evaluate", run.name, "--json")
    found = json.loads(answer.out)
    (row,) = found["evaluations"]
    assert row["top1_error"] == pytest.approx(summary_of(run)["final_test_error"])
    assert 0 < row["top5_error"] < row["top1_error"]
    assert found["stored"] is None
    assert not (run / "evaluations.csv").exists()
    refused = command("evaluate", run.name, "--crops", "10")
    assert refused.code == 2
    assert "--crops 1" in refused.err


def test_an_unfinished_run_is_measured_but_not_stored(command, results: Path) -> None:
    answer = command("evaluate", "plain-14", "--json")
    assert answer.code == 0
    assert "is stopped, its weights here are those after" in json.loads(answer.out)["notes"][0]


def test_beside_another_process_a_run_is_measured_but_not_stored(
    command, folder: Path, photographs: Path
) -> None:
    kept = [photographs / name for name in ("evaluations.csv", "measurements.json")]
    for path in kept:
        path.unlink(missing_ok=True)
    argv = ("evaluate", photographs.name, "--data-dir", folder.parent)
    with RunFolder(photographs).locked():
        answer = command(*argv)
    assert (answer.code, "another process is at work on the run" in answer.out) == (0, True)
    assert not any(path.exists() for path in kept)
    assert "not stored" not in command(*argv).out
    assert all(path.exists() for path in kept)


def test_only_configuration_and_checkpoint_are_needed(
    command, folder: Path, photographs: Path
) -> None:
    for path in photographs.iterdir():
        if path.name not in ("config.yaml", "checkpoint"):
            path.unlink()
    answer = command("evaluate", photographs.name, "--data-dir", folder.parent)
    assert answer.code == 0, answer.err
    assert "not stored" in answer.out
    assert {path.name for path in photographs.iterdir()} == {"config.yaml", "checkpoint"}


def test_the_checkpoint_before_the_newest_cannot_be_chosen(
    command, folder: Path, photographs: Path
) -> None:
    for name in ("checkpoint.previous", "checkpoint.new"):
        shutil.copy(photographs / "checkpoint", photographs / name)
        answer = command("evaluate", photographs / name, "--data-dir", folder.parent)
        assert (answer.code, answer.out) == (2, "")
        assert "cannot be chosen: of a run's checkpoints the newest one" in answer.err
    answer = command("evaluate", photographs / "checkpoint", "--data-dir", folder.parent)
    assert answer.code == 0, answer.err


def test_another_precision_is_printed_but_not_stored(
    command, folder: Path, photographs: Path
) -> None:
    before = sorted(path.name for path in photographs.iterdir())
    answer = command("evaluate", photographs, "--data-dir", folder.parent, "--precision", "bf16")
    assert answer.code == 0
    assert "not stored: the run was trained in fp32" in answer.out
    assert sorted(path.name for path in photographs.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--network", "resnet-50"], 2, "is a run of resnet-18-b, not of resnet-50"),
        (["--dataset", "imagenette"], 2, "tested on folder:pictures"),
        (["--input", "paper"], 2, "--input is for a FILE"),
        (["--crop", "64"], 2, "--crop is for a FILE"),
        (["--record"], 2, "--record is for a FILE"),
        (["--mean", "1,2,3"], 2, "--mean is for a FILE"),
        (["--data-dir", "nowhere"], 3, "pictures"),
    ],
)
def test_mistakes_about_a_run_get_a_line(
    command, photographs: Path, options: list[str], code: int, says: str
) -> None:
    answer = command("evaluate", photographs.name, *options)
    assert answer.code == code, answer
    assert says in answer.err
    assert len(answer.err.strip().splitlines()) <= 2
    assert not answer.out


def test_the_beginning_of_two_ids_is_ambiguous(command, results: Path) -> None:
    answer = command("evaluate", "plain-")
    assert answer.code == 2
    assert "the beginning of 2 runs' ids: plain-14-synthetic-custom-s0-" in answer.err


def test_other_photographs_under_the_same_name_are_refused(
    command, folder: Path, photographs: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other" / "pictures"
    shutil.copytree(folder, other)
    (other / "val" / "class-0" / "0.jpg").unlink()
    answer = command("evaluate", photographs.name, "--data-dir", other.parent)
    assert answer.code == 3
    assert "another copy of folder:pictures" in answer.err


def test_weights_that_change_before_the_run_is_locked_are_read_again(
    command, folder: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(*_: object) -> None:
        for path in photographs.glob("checkpoint*"):
            path.unlink()

    monkeypatch.setattr("resnet_repro.measure.evaluate.run._why_not_locked", meanwhile)
    answer = command("evaluate", photographs.name, "--data-dir", folder.parent)
    assert answer.code == 1
    assert "its weights are not here" in answer.err


@pytest.mark.parametrize(
    ("precision", "advice"),
    [("fp32", "; --precision bf16 needs less (but is not stored)"), ("bf16", "")],
)
def test_a_lack_of_memory_is_said_with_what_else_there_is(
    command,
    folder: Path,
    photographs: Path,
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
    advice: str,
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("resnet_repro.measure.views.dense_logits", full)
    more = ("--device", "cpu", "--precision", precision)
    answer = command("evaluate", photographs.name, "--data-dir", folder.parent, *more)
    assert answer.code == 1
    assert answer.err.splitlines()[-1] == f"resnet-repro: not enough memory on cpu{advice}"


def test_errors_that_could_not_be_stored_are_printed(
    command, folder: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(RunFolder, "write_measured", full)
    answer = command("evaluate", photographs.name, "--data-dir", folder.parent, "--json")
    assert (answer.code, answer.err.splitlines()[-1]) == (1, "resnet-repro: the disk is full")
    found = json.loads(answer.out)
    assert ([row["views"] for row in found["evaluations"]], found["stored"]) == (["centre"], None)


def test_weights_that_take_the_place_of_the_newest_are_called_so(
    command, folder: Path, photographs: Path
) -> None:
    newest = photographs / "checkpoint"
    whole = newest.read_bytes()
    older = pack(unpack(whole) | {"iteration": 2, "points": []})
    newest.with_name("checkpoint.previous").write_bytes(older)
    newest.write_bytes(whole[:-9])
    answer = command("evaluate", photographs.name, "--data-dir", folder.parent, "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["notes"][-2:] == [
        "not used: checkpoint is damaged (its checksum does not match)",
        "not stored: the run is done, its weights here are those after 2 of 4 iterations",
    ]


@pytest.mark.parametrize("kind", ["gone", "damaged", "of another run", "of fewer layers"])
def test_weights_that_are_not_here(
    command, folder: Path, photographs: Path, results: Path, kind: str
) -> None:
    state = unpack((photographs / "checkpoint").read_bytes())
    for path in photographs.glob("checkpoint*"):
        path.unlink()
    if kind == "of fewer layers":
        state["network"].popitem()
        (photographs / "checkpoint").write_bytes(pack(state))
    elif kind == "damaged":
        (photographs / "checkpoint").write_bytes(b"torn")
    elif kind == "of another run":
        shutil.copy(run_named(results, "plain-8") / "checkpoint", photographs)
    answer = command("evaluate", photographs.name, "--data-dir", folder.parent)
    assert answer.code == 1
    assert "its weights are not here" in answer.err
    assert f"train it again: resnet-repro run results/runs/{photographs.name}" in answer.err
    assert len(answer.err.strip().splitlines()) == 1


def test_a_run_wants_the_training_photographs_for_their_mean(
    command, results: Path, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "val", tmp_path / "data" / "pictures" / "val")
    answer = command("evaluate", run_named(results, "resnet-18-b").name, "--data-dir", "data")
    assert answer.code == 3
    assert answer.err.splitlines()[-1] == (
        "resnet-repro: folder:pictures here is val alone, without train: a run's test needs the"
        " mean of its training photographs"
    )
