"""`detect`, and the table and figure of a detector that was trained for a moment."""

from __future__ import annotations

import io
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageCms
from short_runs import short_runner
from small_detectors import SETTINGS, few_scenes

from resnet_repro.base.stop import Stopped
from resnet_repro.measure import pictures
from resnet_repro.measure.detection import detect
from resnet_repro.spec.loading import parse_experiment
from resnet_repro.spec.yaml_io import parse_yaml, write_yaml
from resnet_repro.store.store import Store
from resnet_repro.training.checkpoint import OTHER_TRAINING, pack, unpack

CONTENT = {
    "name": "tiny",
    "title": "Detectors",
    "preset": "demo",
    "dataset": "scenes",
    "precision": "fp32",
    "recipe": {
        "iterations": 3,
        "milestones": [],
        "evaluate_every": 3,
        "detection": SETTINGS | {"lowest_score": 0.0},
    },
    "runs": [{"networks": ["faster-rcnn-plain-18"]}],
    "measure": ["average-precision", "detections"],
    "table": {"kind": "detection"},
    "plot": {"kind": "detections"},
}


pytestmark = pytest.mark.usefixtures("narrow")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    (root / "tiny.yaml").write_text(write_yaml(CONTENT), encoding="utf-8")
    experiment = parse_experiment(parse_yaml(write_yaml(CONTENT), "tiny.yaml"))
    runner = short_runner(root, None)
    runner.sources.datasets["scenes"] = few_scenes()
    assert set(runner.run_all(experiment.resolve()).values()) == {"done"}
    runner.measurer.measure([experiment])
    return root


def test_pictures_get_boxes_and_a_json(command: Any, results: Path, tmp_path: Path) -> None:
    for name, size in (("wide.jpg", (90, 40)), ("high.png", (40, 90))):
        Image.new("RGB", size, "orange").save(tmp_path / name)
    argv = ("detect", "faster-rcnn-plain-18", "wide.jpg", "high.png", "--out", "found")
    chosen = ("--threshold", "0.01", "--device", "cpu", "--results", str(results))
    answer = command(*argv, *chosen, "--json")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    assert told == json.loads(Path("found/detections.json").read_text(encoding="utf-8"))
    assert [(one["image"], one["width"], one["height"]) for one in told] == [
        ("wide.jpg", 90, 40),
        ("high.png", 40, 90),
    ]
    for one in told:
        scores = [found["score"] for found in one["detections"]]
        assert scores == sorted(scores, reverse=True)
        assert min(scores) >= 0.01
        for found in one["detections"]:
            left, top, right, bottom = found["box"]
            assert 0 <= left <= right <= one["width"]
            assert 0 <= top <= bottom <= one["height"]
            assert found["class"] in ("disc", "ring", "square", "cross", "triangle")
    with Image.open("found/wide.png") as drawn, Image.open("wide.jpg") as before:
        assert drawn.size == before.size
        assert drawn.convert("RGB").tobytes() != before.tobytes()


def test_pictures_of_16_bits_are_searched_and_drawn_by_their_upper_8(
    command: Any, results: Path, tmp_path: Path
) -> None:
    Image.fromarray(np.full((40, 90), 0x4080, np.uint16)).save(tmp_path / "deep.png")
    chosen = ("--threshold", "1", "--device", "cpu", "--results", str(results))
    answer = command("detect", "faster-rcnn-plain-18", "deep.png", "--out", "found", *chosen)
    assert answer.code == 0, answer.err
    with Image.open("found/deep.png") as drawn:
        assert drawn.convert("RGB").getextrema() == ((0x40, 0x40),) * 3


@pytest.mark.parametrize(
    ("target", "images", "code", "says"),
    [
        ("nothing", ["a.png"], 2, "no run or file is called"),
        ("tiny.yaml", ["a.png"], 2, "is a file"),
        ("", ["a.png"], 2, "no run or file is called ''"),
        ("faster-rcnn-plain-18", ["gone.png"], 3, "gone.png: the file is missing"),
        ("faster-rcnn-plain-18", ["tiny.yaml"], 3, "tiny.yaml: not an image"),
        ("faster-rcnn-plain-18", ["a.png", "b/a.png"], 2, "b/a.png would both become"),
        ("faster-rcnn-plain-18", ["a.jpg", "a.png"], 2, "a.jpg and a.png would both become"),
    ],
)
def test_mistakes_end_in_a_line(
    command: Any, results: Path, target: str, images: list[str], code: int, says: str
) -> None:
    Path("tiny.yaml").write_text("no picture", encoding="utf-8")
    answer = command("detect", target, *images, "--results", str(results), "--device", "cpu")
    assert (answer.code, says in answer.err) == (code, True), answer.err
    assert len(answer.err.splitlines()) <= 2
    assert not Path("detections").exists()


def test_a_picture_is_never_written_over(command: Any, results: Path, tmp_path: Path) -> None:
    """Neither by its own name nor by another one, as on a file system that ignores case."""
    image, link = tmp_path / "photo.png", tmp_path / "found" / "other.png"
    Image.new("RGB", (90, 40), "orange").save(image)
    Image.new("RGB", (90, 40), "orange").save(tmp_path / "other.jpg")
    before = image.read_bytes()
    chosen = ("--device", "cpu", "--results", str(results))
    link.parent.mkdir()
    link.hardlink_to(image)
    for argv in (["photo.png", "--out", "."], ["photo.png", "other.jpg", "--out", "found"]):
        answer = command("detect", "faster-rcnn-plain-18", *argv, *chosen)
        assert (answer.code, "would be written over" in answer.err) == (2, True), answer.err
        assert image.read_bytes() == before
    assert not (tmp_path / "detections.json").exists()


def test_only_what_detect_wrote_is_replaced(command: Any, results: Path, tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.new("RGB", (90, 40), "orange").save(tmp_path / "e.jpg", icc_profile=profile)
    own = tmp_path / "found" / "e.png"
    own.parent.mkdir()
    Image.new("RGB", (9, 4), "blue").save(own)
    before = own.read_bytes()
    argv = ("detect", "faster-rcnn-plain-18", "e.jpg", "--out", "found", "--device", "cpu")
    answer = command(*argv, "--results", str(results))
    assert (answer.code, "found/e.png is there already" in answer.err) == (2, True), answer.err
    assert (own.read_bytes(), list(own.parent.iterdir())) == (before, [own])
    own.unlink()
    for threshold in ("0.5", "0"):
        answer = command(*argv, "--results", str(results), "--threshold", threshold)
        assert answer.code == 0, answer.err
        before, last = own.read_bytes(), before
    assert before != last
    told = own.with_name("detections.json")
    for other in ("[1]", '[{"image": "e.jpg"}]', "{}", "no JSON", "[" * 100_000):
        told.write_text(other, encoding="utf-8")
        answer = command(*argv, "--results", str(results))
        assert (answer.code, f"found/{told.name} is there already" in answer.err) == (2, True)
        assert told.read_text(encoding="utf-8") == other


def test_a_threshold_below_the_recipes_lowest_score_shows_more(
    command: Any, results: Path, tmp_path: Path
) -> None:
    (loose,) = Store(results).all_runs()
    assert loose.run
    assert loose.run.recipe.detection
    detection = loose.run.recipe.detection.model_copy(update={"lowest_score": 0.9})
    recipe = loose.run.recipe.model_copy(update={"detection": detection})
    strict = loose.run.model_copy(update={"recipe": recipe})
    folder = Store(tmp_path / "strict").folder(strict)
    folder.write_config(strict)
    state = unpack((loose.folder.path / "checkpoint").read_bytes())
    (folder.path / "checkpoint").write_bytes(pack(state | {"run": strict.id}))
    Image.new("RGB", (90, 40), "orange").save(tmp_path / "a.png")

    def found(root: Path, threshold: str) -> list[Any]:
        chosen = ("--threshold", threshold, "--device", "cpu", "--results", str(root), "--json")
        answer = command("detect", "faster-rcnn-plain-18", "a.png", *chosen)
        assert answer.code == 0, answer.err
        return [(one["score"], one["box"]) for one in json.loads(answer.out)[0]["detections"]]

    assert found(tmp_path / "strict", "0.01") == found(results, "0.01") != []
    assert found(tmp_path / "strict", "0.95") == []


def test_pictures_are_not_held_all_at_once(
    command: Any, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of photographs does not fit into memory; each is drawn as soon as it is searched."""
    drawn = []

    def watched(network: Any, pixels: Any, backend: Any) -> Any:
        drawn.append(len(list(Path("found").glob("*.png"))))
        return detect(network, pixels, backend)

    monkeypatch.setattr(pictures, "detect", watched)
    for name in ("a.png", "b.png", "c.png"):
        Image.new("RGB", (90, 40), "orange").save(tmp_path / name)
    argv = ("a.png", "b.png", "c.png", "--out", "found", "--device", "cpu")
    answer = command("detect", "faster-rcnn-plain-18", *argv, "--results", str(results))
    assert (answer.code, drawn) == (0, [0, 1, 2]), answer.err


def test_a_stop_leaves_the_json_of_what_was_searched(
    command: Any, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(network: Any, pixels: Any, backend: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return detect(network, pixels, backend)

    monkeypatch.setattr(pictures, "detect", interrupted)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (90, 40), "orange").save(tmp_path / name)
    argv = ("a.png", "b.png", "--out", "found", "--device", "cpu", "--results", str(results))
    assert command("detect", "faster-rcnn-plain-18", *argv).code == 130
    told = json.loads(Path("found/detections.json").read_text(encoding="utf-8"))
    assert [one["image"] for one in told] == ["a.png"]
    assert not Path("found/b.png").exists()


def test_a_stop_while_the_data_of_an_unfinished_run_are_looked_through(
    command: Any, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_through(*_: Any, should_stop: Callable[[], bool]) -> None:
        signal.raise_signal(signal.SIGINT)
        if should_stop():
            raise Stopped

    monkeypatch.setattr(pictures.datasets, "load", look_through)
    shutil.copytree(results, tmp_path / "stopped")
    (rows,) = tmp_path.glob("stopped/runs/*/average_precision.csv")
    rows.unlink()  # which has the names of the classes
    Image.new("RGB", (90, 40), "orange").save(tmp_path / "a.png")
    argv = ("detect", "faster-rcnn-plain-18", "a.png", "--device", "cpu", "--results", "stopped")
    answer = command(*argv)
    assert (answer.code, "interrupted" in answer.err) == (130, True), answer.err


def test_weights_of_an_unfinished_run_are_called_so(
    command: Any, results: Path, tmp_path: Path
) -> None:
    shutil.copytree(results, tmp_path / "stopped")
    (summary,) = tmp_path.glob("stopped/runs/*/summary.json")
    content = json.loads(summary.read_text(encoding="utf-8"))
    del content["sums"]
    summary.write_text(json.dumps(content | {"state": "stopped"}), encoding="utf-8")
    Image.new("RGB", (90, 40), "orange").save(tmp_path / "a.png")
    argv = ("detect", "faster-rcnn-plain-18", "a.png", "--device", "cpu", "--results", "stopped")
    answer = command(*argv)
    assert answer.code == 0, answer.err
    assert "is stopped, its weights here are those after 3 of 3 iterations" in answer.err


def test_weights_that_take_the_place_of_the_newest_or_of_the_results_are_called_so(
    command: Any, results: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (90, 40), "orange").save(tmp_path / "a.png")

    def said(root: Path) -> list[str]:
        chosen = ("--device", "cpu", "--results", str(root), "--quiet")
        answer = command("detect", "faster-rcnn-plain-18", "a.png", "--out", "found", *chosen)
        assert answer.code == 0, answer.err
        return [line.partition(": ")[2] for line in answer.err.splitlines()]

    assert said(results) == []
    (newest,) = shutil.copytree(results, tmp_path / "copied").glob("runs/*/checkpoint")
    whole = newest.read_bytes()
    state = unpack(whole)
    newest.with_name("checkpoint.previous").write_bytes(
        pack(state | {"iteration": 2, "points": []})
    )
    newest.write_bytes(whole[:-9])
    assert said(tmp_path / "copied") == [
        "not used: checkpoint is damaged (its checksum does not match)",
        "the run is done, its weights here are those after 2 of 3 iterations",
    ]
    last = state["points"][-1]
    other = {name: value if name == "iteration" else value + 1 for name, value in last.items()}
    newest.write_bytes(pack(state | {"points": [*state["points"][:-1], other]}))
    assert said(tmp_path / "copied") == [OTHER_TRAINING]


def test_the_table_marks_what_is_reduced_and_keeps_it_from_the_papers_rows(
    command: Any, results: Path
) -> None:
    argv = ("table", str(results / "tiny.yaml"), "--results", str(results))
    text = command(*argv).out
    printed = next(line for line in text.splitlines() if line.startswith("ResNet-101"))
    ours = next(line for line in text.splitlines() if line.startswith("plain-18"))
    assert "76.4" in printed
    assert "custom [1]" in ours
    assert "76.4" not in ours
    assert "REDUCED" in text
    assert "at reduced scale" in text
    rows = pd.read_csv(io.StringIO(command(*argv, "--format", "csv").out))
    own = rows[rows.reduced.notna()]
    theirs = [name for name in rows if name.startswith("paper")]
    assert rows[theirs].notna().any(axis=None)
    assert own[theirs].isna().all(axis=None)
    assert own.reduced.between(0, 100).all()


def test_by_class_it_stands_beside_table_10_marked_as_reduced(
    command: Any, results: Path, tmp_path: Path
) -> None:
    content = CONTENT | {"table": {"kind": "detection", "paper": "table10"}}
    (tmp_path / "classes.yaml").write_text(write_yaml(content), encoding="utf-8")
    argv = ("table", "classes.yaml", "--results", str(results))
    text = command(*argv).out
    rows = [line for line in text.splitlines() if "custom [1]" in line]
    assert [row.split()[0] for row in rows] == ["disc", "ring", "square", "cross", "triangle"]
    assert "reduced AP" in text
    assert "at reduced scale" in text
    empty = command("table", "table10", "--results", "nowhere").out
    assert "aeroplane" in empty
    assert "79.8" in empty


def test_the_figure_is_drawn_where_the_images_are(command: Any, results: Path) -> None:
    argv = ("plot", str(results / "tiny.yaml"), "--results", str(results))
    assert command(*argv).code == 0
    assert (results / "figures" / "tiny.png").stat().st_size > 5_000
    (images,) = results.glob("runs/*/photographs.npz")
    kept = images.rename(images.with_name("kept.npz"))
    argv = ("plot", str(results / "tiny.yaml"), "fig2", "--results", str(results))
    answer = command(*argv)
    kept.rename(images)
    assert (answer.code, "are not here" in answer.err) == (1, True)
    assert (results / "figures" / "fig2.png").exists(), "one that can be drawn is"


def test_the_report_and_the_list_know_it(command: Any, results: Path) -> None:
    assert command("report", "--results", str(results)).code == 0
    told = (results / "report.md").read_text(encoding="utf-8")
    assert "Faster R-CNN with plain-18" in told
    assert "generated scenes" in told
    assert "joint training" in told
    status = command("status", "--results", str(results)).out
    assert "faster-rcnn-plain-18-scenes-custom" in status
    refused = command("evaluate", "faster-rcnn-plain-18", "--results", str(results))
    assert (refused.code, "resnet-repro detect" in refused.err) == (2, True)
