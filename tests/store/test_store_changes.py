"""Edited, swapped and cut files of a results folder: each is named for its run, the rest is shown.

The runs are committed ones.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from resnet_repro.plan.overview import list_runs
from resnet_repro.spec.experiment import Choices
from resnet_repro.spec.loading import load_experiment
from resnet_repro.spec.measurements import DetectionRow, PrecisionRow
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.store.store import Store
from resnet_repro.store.tables import table_text

COMMITTED = Path(__file__).parents[2] / "results" / "runs"
RESNET, PLAIN = "resnet-20-cifar10-short-s0", "plain-20-cifar10-short-s0"
DEEP_PLAIN = "plain-56-cifar10-short-s1"
PHOTOS = "resnet-34-b-imagenette-short-s0-c7de826c"
RUNS = (
    *(RESNET, PLAIN, DEEP_PLAIN, PHOTOS),
    *("resnet-20-cifar10-short-s1", "resnet-110-cifar10-short-s0"),
    "resnet-18-a-imagenette-short-s0-0237dee6",
)
OBJECT = DetectionRow("test-00000", "ring", None, 1.0, 1.0, 9.0, 9.0)
CLASS = PrecisionRow("ring", 9.0, 8.0, 3, 5, 4, "0" * 64)
Edit = Callable[[RunFolder], None]


def copy_runs(results: Path, names: Sequence[str] = RUNS) -> dict[str, RunFolder]:
    """The runs by the beginnings of their ids, as git has them."""
    folders = {}
    for name in names:
        (source,) = COMMITTED.glob(f"{name}*")
        shutil.copytree(source, results / "runs" / source.name)
        folders[name] = RunFolder(results / "runs" / source.name)
    return folders


def summary(**changes: Any) -> Edit:
    """Change what the summary says; `provenance` and `data` change what stands in these."""

    def edit(folder: RunFolder) -> None:
        content = json.loads(folder.summary.read_text(encoding="utf-8"))
        origin, data = changes.get("provenance", {}), changes.get("data", {})
        content |= {k: v for k, v in changes.items() if k not in ("provenance", "data")}
        content["provenance"] |= origin
        content["provenance"]["dataset"] |= data
        folder.summary.write_text(json.dumps(content, indent=2), encoding="utf-8")

    return edit


def cell(name: str, line: int, column: str, value: object) -> Edit:
    """Change one value of a CSV file; -1 is the last line."""

    def edit(folder: RunFolder) -> None:
        header, *lines = (folder.path / name).read_text(encoding="utf-8").splitlines()
        fields = lines[line].split(",")
        fields[header.split(",").index(column)] = str(value)
        lines[line] = ",".join(fields)
        (folder.path / name).write_text("\n".join([header, *lines, ""]), encoding="utf-8")

    return edit


def without(name: str, *numbers: int) -> Edit:
    """Remove lines, counted from the first after the header."""

    def edit(folder: RunFolder) -> None:
        header, *lines = (folder.path / name).read_text(encoding="utf-8").splitlines()
        gone = {number % len(lines) for number in numbers}
        kept = [line for number, line in enumerate(lines) if number not in gone]
        (folder.path / name).write_text("\n".join([header, *kept, ""]), encoding="utf-8")

    return edit


def emptied(name: str, header: bool = False) -> Edit:
    def edit(folder: RunFolder) -> None:
        first = (folder.path / name).read_text(encoding="utf-8").partition("\n")[0]
        (folder.path / name).write_text(f"{first}\n" if header else "", encoding="utf-8")

    return edit


def written(name: str, text: str) -> Edit:
    return lambda folder: (folder.path / name).write_text(text, encoding="utf-8")


def of_another(name: str, run: str) -> Edit:
    def edit(folder: RunFolder) -> None:
        (source,) = COMMITTED.glob(f"{run}*")
        shutil.copy(source / name, folder.path / name)

    return edit


def all_of(*edits: Edit) -> Edit:
    def edit(folder: RunFolder) -> None:
        for each in edits:
            each(folder)

    return edit


CURVE, RESPONSES, GRADIENTS, VIEWS = (
    *("curve.csv", "responses.csv", "gradients.csv", "evaluations.csv"),
)
TORN, CHANGED = "torn or unreadable", "has been changed since it was written"
SUMMARY = f"summary.json {CHANGED}"
EDITS: list[tuple[str, Edit, str]] = [
    # The summary: what the curve says otherwise, what configuration says otherwise, the rest.
    (RESNET, summary(final_test_error=3.01), "final_test_error is 3.01, but curve.csv has 13.82"),
    (RESNET, summary(final_test_error=None), "final_test_error is None"),
    (RESNET, summary(final_train_error=1.5), "final_train_error is 1.5"),
    (RESNET, summary(final_train_loss=0.1), "final_train_loss is 0.1"),
    (RESNET, summary(final_validation_error=3.0), "final_validation_error is 3"),
    (RESNET, summary(best_test_error=3.01), SUMMARY),
    (RESNET, summary(final_test_error=150.0), "summary.json is invalid"),
    (RESNET, summary(network="plain-20"), SUMMARY),
    (RESNET, summary(data={"official": True, "note": ""}), SUMMARY),
    (RESNET, summary(provenance={"hardware": "another"}), SUMMARY),
    (
        RESNET,
        lambda f: f.config.write_text(
            f.config.read_text(encoding="utf-8").replace("precision: auto", "precision: fp32"),
            encoding="utf-8",
        ),
        "config.yaml is of another run",
    ),
    # The curve.
    (RESNET, of_another(CURVE, PLAIN), "curve.csv has 0.40345"),
    (RESNET, cell(CURVE, 3, "test_error", 150), f"{CURVE} is {TORN} (line 5, test_error: Input"),
    (RESNET, cell(CURVE, 3, "train_error", -5), f"{CURVE} is {TORN} (line 5, train_error: "),
    (RESNET, cell(CURVE, 3, "train_loss", -0.5), f"{CURVE} is {TORN} (line 5, train_loss: "),
    (RESNET, cell(CURVE, 3, "test_error", 30.5), f"{CURVE} {CHANGED}"),
    (RESNET, without(CURVE, 5, 6), f"{CURVE} {CHANGED}"),
    (RESNET, without(CURVE, -1), "is done, but its curve ends at 6,000 of 6,400"),
    (RESNET, emptied(CURVE), f"{CURVE} is {TORN}"),
    (RESNET, lambda f: f.curve.write_text("\n", encoding="utf-8"), f"{CURVE} is {TORN}"),
    (RESNET, emptied(CURVE, header=True), "curve.csv is missing or empty"),
    (
        RESNET,
        all_of(
            cell(CURVE, -1, "test_error", 3.01),
            summary(final_test_error=3.01, best_test_error=3.01),
        ),
        SUMMARY,
    ),
    # What was measured on the trained network, or while it was trained.
    (RESNET, of_another(RESPONSES, PLAIN), f"{RESPONSES} {CHANGED}"),
    (RESNET, emptied(RESPONSES), f"{RESPONSES} is {TORN}"),
    (RESNET, emptied(RESPONSES, header=True), f"{RESPONSES} {CHANGED}"),
    (RESNET, cell(RESPONSES, 3, "std", -1), f"{RESPONSES} is {TORN} (line 5, std: "),
    (RESNET, cell(RESPONSES, 3, "std", 0.5), f"{RESPONSES} {CHANGED}"),
    (RESNET, cell(RESPONSES, 3, "layer", 3), f"{RESPONSES} is {TORN}"),  # two lines of a layer
    (RESNET, without(GRADIENTS, *range(19)), f"{GRADIENTS} {CHANGED}"),
    (RESNET, emptied(GRADIENTS), f"{GRADIENTS} is {TORN}"),
    (RESNET, emptied(GRADIENTS, header=True), f"{GRADIENTS} {CHANGED}"),
    (RESNET, cell(GRADIENTS, 3, "gradient_norm", 0.5), f"{GRADIENTS} {CHANGED}"),
    (RESNET, cell(GRADIENTS, 3, "gradient_norm", -1), f"{TORN} (line 5, gradient_norm: should not"),
    (RESNET, cell(GRADIENTS, 3, "gradient_norm", "much"), f"{TORN} (line 5, gradient_norm: Input"),
    (RESNET, cell(GRADIENTS, 3, "measured", "never"), f"{GRADIENTS} is {TORN} (line 5, measured: "),
    (DEEP_PLAIN, cell(GRADIENTS, 3, "gradient_norm", 0.5), f"{GRADIENTS} {CHANGED}"),
    (DEEP_PLAIN, cell(GRADIENTS, 55, "measured", "afterwards"), f"{GRADIENTS} {CHANGED}"),
    (DEEP_PLAIN, without(GRADIENTS, *range(55, 110)), f"{GRADIENTS} {CHANGED}"),
    (PHOTOS, cell(VIEWS, 1, "images", -3925), f"{VIEWS} is {TORN} (line 3, images: "),
    (PHOTOS, cell(VIEWS, 1, "top1_error", 50.5), f"{VIEWS} {CHANGED}"),
    (PHOTOS, cell(VIEWS, 1, "top1_error", 150), f"{VIEWS} is {TORN} (line 3, top1_error: "),
    (PHOTOS, cell(VIEWS, 1, "loss", -1), f"{VIEWS} is {TORN} (line 3, loss: "),
    (PHOTOS, without(VIEWS, 1), f"{VIEWS} {CHANGED}"),
    (PHOTOS, emptied(VIEWS), f"{VIEWS} is {TORN}"),
    (PHOTOS, emptied(VIEWS, header=True), f"{VIEWS} {CHANGED}"),
    (RESNET, of_another(VIEWS, PHOTOS), "evaluations.csv: resnet-20 is not measured so"),
    (PHOTOS, of_another(RESPONSES, RESNET), "responses.csv: resnet-34-b is not measured so"),
    (
        RESNET,
        written("detections.csv", table_text("detections", [OBJECT])),
        "detections.csv: ",
    ),
    (PHOTOS, written("surface.csv", table_text("surface", [])), "surface.csv: resnet-34-b is not"),
    (PHOTOS, written("average_precision.csv", table_text("average_precision", [CLASS])), "not"),
    # Files that hold no table.
    (RESNET, emptied("measurements.json"), "measurements.json is torn or unreadable"),
    (RESNET, emptied("summary.json"), "summary.json is torn or unreadable"),
    (RESNET, written("summary.json", "null"), "summary.json is invalid"),
    (RESNET, written("summary.json", "[]"), "summary.json is invalid"),
    (RESNET, written("measurements.json", "null"), "measurements.json is torn or unreadable"),
    (RESNET, written("config.yaml", "null"), "config.yaml"),
    (RESNET, emptied("config.yaml"), "config.yaml"),
]


def problems(results: Path) -> dict[str, str]:
    """What `table`, `plot` and `report` say of runs, by id."""
    return {run.id: run.problem for run in Store(results).all_runs() if run.problem}


def test_nothing_is_said_of_runs_as_they_were_written(tmp_path: Path) -> None:
    copy_runs(tmp_path)
    assert problems(tmp_path) == {}


@pytest.mark.parametrize(("name", "edit", "said"), EDITS)
def test_each_edit_is_named_and_nothing_else(
    tmp_path: Path, name: str, edit: Edit, said: str
) -> None:
    folders = copy_runs(tmp_path, [name, PLAIN if name == RESNET else RESNET])
    edit(folders[name])
    ((run, problem),) = problems(tmp_path).items()
    assert run == folders[name].path.name
    assert said in problem
    assert problem.isprintable()
    shown = {line.run: line.problem for line in list_runs(Store(tmp_path), None)}
    assert said in str(shown.pop(run))
    assert set(shown.values()) == {None}


def test_gradients_beside_a_detector_are_named(tmp_path: Path) -> None:
    """A detector has none."""
    (run,) = load_experiment("table7").choose(Choices(preset="demo")).resolve()
    folder = Store(tmp_path).folder(run)
    folder.make()
    folder.write_config(run)
    assert problems(tmp_path) == {}
    of_another(GRADIENTS, RESNET)(folder)
    said = f"gradients.csv: {run.network} is not measured so"
    assert problems(tmp_path) == {run.id: said}
    assert [line.problem for line in list_runs(Store(tmp_path), None)] == [said]


def test_commands_name_the_edited_run_and_show_the_others(
    tmp_path: Path, command: Callable[..., Any]
) -> None:
    results = tmp_path / "results"
    edited = copy_runs(results)[RESNET]
    summary(final_test_error=3.01, best_test_error=3.01)(edited)
    shown = command("table", "table6", "--preset", "short", "--results", results)
    assert (shown.code, "3.01" in shown.out, "13.79" in shown.out) == (0, False, True)
    said = f"{edited.path.name}: summary.json: final_test_error is 3.01, but curve.csv has 13.82"
    assert shown.err == f"{said}; left out\n"
    drawn = command("plot", "fig6", "fig7", "--preset", "short", "--results", results)
    assert (drawn.code, drawn.err) == (0, f"{said}; left out\n")
    assert command("table", "table2", "--results", results).err == ""  # of other networks
    assert command("report", "--results", results).code == 0
    report = (results / "report.md").read_text(encoding="utf-8")
    assert f"`{edited.path.name}`: summary.json: final_test_error is 3.01, but" in report
    assert "3.01, but curve.csv has 13.82" in command("status", "--results", results).out


def test_other_ends_of_lines_are_no_change(tmp_path: Path) -> None:
    """As git may make them on Windows."""
    copy_runs(tmp_path)
    for path in tmp_path.glob("runs/*/*.*"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert problems(tmp_path) == {}


def test_what_is_not_ended_has_no_sums(tmp_path: Path) -> None:
    """The curve is written before the note of progress; a crash between changes nothing."""
    stored = next(run for run in Store(COMMITTED.parent).all_runs() if run.id.startswith(RESNET))
    assert stored.summary is not None
    folder = RunFolder(tmp_path / "runs" / stored.id)
    shutil.copytree(stored.folder.path, folder.path)
    rows = stored.curve()
    for points in range(5):
        reported = rows[points - 1] if points else None
        best = min(rows[:points], key=lambda row: row.test_error, default=None)
        changes = {
            "state": "running",
            "iteration": 400 * points + 399,
            "seconds": 1e4,
            **{f"final_{n}": getattr(reported, n, None) for n in ("train_loss", "train_error")},
            "final_test_error": getattr(reported, "test_error", None),
            "best_test_error": best and best.test_error,
            "best_test_iteration": best and best.iteration,
        }
        folder.write_summary(stored.summary.model_copy(update=changes))
        assert "sums" not in json.loads(folder.summary.read_text(encoding="utf-8"))
        for there in range(max(0, points - 2), points + 2):  # behind, after resuming, or ahead
            folder.write_curve(rows[:there])
            assert problems(tmp_path) == {}, (points, there)
