"""Loss surfaces of stored runs: measured by `run`, kept row by row, checked when they are read."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from made_up_origin import provenance_of, summary_of
from short_runs import small_synthetic

from resnet_repro.base.errors import ConfigError
from resnet_repro.base.stop import Stopped
from resnet_repro.measure.curvature import curvature_rows
from resnet_repro.measure.kept_arrays import Parts
from resnet_repro.measure.path import path_rows
from resnet_repro.measure.surface import surface_rows
from resnet_repro.report.results import Results
from resnet_repro.runner import measuring
from resnet_repro.spec.experiment import Choices
from resnet_repro.spec.loading import load_experiment
from resnet_repro.spec.measurements import CurvatureRow, PathRow
from resnet_repro.spec.recipe import Recipe
from resnet_repro.spec.run import Run
from resnet_repro.spec.surface import CurvatureSettings, PathSettings, SurfaceSettings
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.store.store import Store
from resnet_repro.store.stored_run import StoredRun
from resnet_repro.training.cifar_feed import CifarFeed
from resnet_repro.training.device import Backend, origin_here
from resnet_repro.training.subject import Subject, initial_network

pytestmark = pytest.mark.usefixtures("narrow", "few_synthetic")

FP32 = Backend(torch.device("cpu"), "fp32")
SETTINGS = SurfaceSettings(points=(3, 5), images=40, directions=(0, 7))
RECIPE = Recipe(iterations=8, milestones=(6,), batch_size=16, image_size=8)

EXPERIMENT = """
name: tiny
title: Two tiny surfaces
dataset: synthetic
recipe: {iterations: 2, milestones: [], batch_size: 8, image_size: 8, evaluate_every: 2}
runs:
  - networks: [resnet-8, plain-8]
measure: [surface, curvature]
surface: {points: [3, 5], images: 20, directions: [4]}
curvature: {images: 20, at: [[0, 0], [0.5, -0.5]]}
"""
SURFACES = EXPERIMENT.replace("[surface, curvature]", "[surface]").partition("curvature: ")[0]


@pytest.fixture
def subject() -> Subject:
    run = Run(network="resnet-8", dataset="synthetic", recipe=RECIPE, seed=0)
    feed = CifarFeed(run, small_synthetic(60), FP32.device)
    return Subject(run, initial_network(run, 10, FP32), feed, FP32)


def never() -> bool:
    return False


def test_a_measurement_that_was_stopped_goes_on_to_the_same_bytes(
    subject: Subject, tmp_path: Path
) -> None:
    whole, parted = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "parted")
    origin, parts = origin_here(FP32, "test"), Parts(tmp_path / "parts")
    every = surface_rows(subject, Parts(tmp_path / "every"), SETTINGS, never, print)
    whole.write_measured("surface", every, origin)

    asked = 0

    def after(points: int) -> Callable[[], bool]:
        def stop() -> bool:
            nonlocal asked
            asked += 1
            return asked > points

        return stop

    for points in (4, 11, 8):  # in the first grid twice, then in the second
        asked = 0
        with pytest.raises(Stopped):
            surface_rows(subject, parts, SETTINGS, after(points), print)
    asked = 0
    rows = surface_rows(subject, parts, SETTINGS, after(1_000), print)
    assert asked == 12 + 1, "what was measured is not measured again"
    parted.write_measured("surface", rows, origin)
    name = "surface.csv"
    assert (parted.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_what_was_begun_otherwise_is_begun_anew(subject: Subject, tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    surface_rows(subject, parts, SETTINGS, never, print)
    other = SETTINGS.model_copy(update={"images": 30})
    rows = surface_rows(subject, parts, other, never, print)
    assert {row.images for row in rows} == {30, 60}
    assert rows == surface_rows(subject, Parts(tmp_path / "b"), other, never, print)
    for file in tmp_path.glob("*.npz"):
        file.write_text("torn", encoding="utf-8")
    assert rows == surface_rows(subject, parts, other, never, print)


def test_every_step_is_told(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("path", "curvature"):
        monkeypatch.setattr(f"resnet_repro.measure.{module}.NEWS", 0.0)
    told: list[str] = []
    end = {name: value + 0.01 for name, value in subject.network.state_dict().items()}
    line = PathSettings(points=5, images=40)
    path_rows(subject, Parts(tmp_path), "there", end, line, never, told.append)
    assert told == [f"{subject.run.id}: path: {percent}%" for percent in (20, 40, 60, 80)]
    told.clear()
    point = CurvatureSettings(at=((0.5, -0.25),), images=40)
    curvature_rows(subject, Parts(tmp_path), point, never, told.append)
    counted = [f"{number} products with the Hessian" for number in range(1, len(told) + 1)]
    assert told == [f"{subject.run.id}: curvature at (0.5,-0.25): {words}" for words in counted]
    assert told


def test_curvature_that_was_stopped_goes_on_with_the_next_product(
    subject: Subject, tmp_path: Path
) -> None:
    settings = CurvatureSettings(at=((0, 0), (0.5, -0.5)), images=40)
    asked = 0

    def after(products: int) -> Callable[[], bool]:
        nonlocal asked
        asked = 0

        def stop() -> bool:
            nonlocal asked
            asked += 1
            return asked > products

        return stop

    folder = RunFolder(tmp_path).unfinished_arrays("curvature")
    parts = Parts(folder)
    rows = curvature_rows(subject, Parts(tmp_path / "whole"), settings, after(1_000), print)
    products = asked
    for some in (3, products // 2):  # in the first point, then in the second
        with pytest.raises(Stopped):
            curvature_rows(subject, parts, settings, after(some), print)
    assert curvature_rows(subject, parts, settings, after(1_000), print) == rows
    assert asked == products - 3 - products // 2, "no product is computed again"

    *files, _ = sorted(folder.iterdir())
    torn = [path.read_bytes() for path in files[:3]]
    contents = (torn[0][:-9], torn[1].replace(b"NUMPY", b"BUMPY", 1), b"")
    for file, content in zip(files[:3], contents, strict=True):
        file.write_bytes(content)
    assert curvature_rows(subject, parts, settings, after(1_000), print) == rows
    assert asked == 3, "what is damaged is made again, and nothing else"
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    kept = {path: path.read_bytes() for path in elsewhere.iterdir()}
    assert curvature_rows(subject, parts, settings, after(1_000), print) == rows
    assert asked == products, "a link is not followed"
    assert {path: path.read_bytes() for path in elsewhere.iterdir()} == kept
    other = settings.model_copy(update={"images": 30})
    assert {row.images for row in curvature_rows(subject, parts, other, never, print)} == {30}
    assert curvature_rows(subject, parts, settings, after(1_000), print) == rows
    assert asked == 0, "what another measurement left is still there"
    RunFolder(tmp_path).discard_unfinished("curvature")
    assert not folder.exists()


def test_rows_say_where_they_are_and_what_they_were_measured_on(
    subject: Subject, tmp_path: Path
) -> None:
    rows = surface_rows(subject, Parts(tmp_path), SETTINGS, never, print)
    assert len(rows) == 2 * 15 + 1
    first = rows[:15]
    assert [row.alpha for row in first] == [-1.0, 0.0, 1.0] * 5
    assert [row.beta for row in first] == [b for b in (-1.0, -0.5, 0.0, 0.5, 1.0) for _ in "abc"]
    assert rows[7].loss == rows[22].loss, "both grids have the same centre"
    assert (rows[-1].alpha, rows[-1].beta, rows[-1].images) == (0, 0, 60)
    assert rows[-1].sample_sha256 != rows[0].sample_sha256
    assert SETTINGS.measured_in(rows, 0, None)
    assert not SETTINGS.model_copy(update={"images": None}).measured_in(rows, 0, None)
    assert not SETTINGS.model_copy(update={"limit": 0.5}).measured_in(rows, 0, None)
    assert not SETTINGS.measured_in(rows[:-5], 0, None)
    same = SurfaceSettings(points=(3, 5), images=40, directions=(0, 7))
    assert same.measured_in(rows, 0, None)


def test_a_line_ends_at_the_other_of_two_seeds() -> None:
    settings = PathSettings(points=9)
    rows = [
        PathRow("plain-20-cifar10-paper-s1-0d920dd4", position, 0.1, 1.0, 40, 0, "", "interpolated")
        for position in settings.positions
    ]
    assert settings.measured_in(rows, 0, None)
    assert not settings.measured_in(rows, 1, None), "a run has no line to itself"


@pytest.mark.parametrize(
    ("whole", "images", "asked", "enough"),
    [
        (50_000, 40, 40, True),
        (50_000, 40, 41, False),
        (50_000, 40, None, False),
        (50_000, 50_000, None, True),
        (50_000, 50_000, 60_000, True),
        (50_000, 50_000, 40, False),
        (None, 40, None, True),  # there may be no more
        (None, 40, 39, False),
    ],
)
def test_fewer_images_than_asked_for_are_enough_only_where_there_are_no_more(
    whole: int | None, images: int, asked: int | None, enough: bool
) -> None:
    end = "plain-20-cifar10-paper-s1-0d920dd4"
    line = PathSettings(points=5, images=asked)
    there = [PathRow(end, p, 0.1, 1.0, images, 0, "", "interpolated") for p in line.positions]
    assert line.measured_in(there, 0, whole) is enough
    curvature = CurvatureSettings(images=asked)
    assert curvature.measured_in([CurvatureRow(0, 0, 0, -1, 9, images, 0, "")], 0, whole) is enough


@pytest.mark.parametrize(
    ("dataset", "source", "held_out", "whole"),
    [
        ("cifar10", "binary version", 0, 50_000),
        ("cifar100", "binary version", 5_000, 45_000),
        ("cifar10", "image folder", 0, None),  # of any number
        ("synthetic", "generated", 0, 10_000),
    ],
)
def test_how_many_images_there_are_is_known_of_whole_copies(
    tmp_path: Path, dataset: str, source: str, held_out: int, whole: int | None
) -> None:
    run = Run(network="plain-20", dataset=dataset, recipe=RECIPE, seed=0)
    run = run.model_copy(
        update={"recipe": RECIPE.model_copy(update={"validation_images": held_out})}
    )
    folder = Store(tmp_path).folder(run)
    folder.write_config(run)
    origin = provenance_of("2026-01-01T00:00:00Z", dataset={"source": source})
    folder.write_summary(
        summary_of(run, state="stopped", iteration=1, parameters=1, provenance=origin)
    )
    assert Store(tmp_path).get(run).training_images == whole


def test_a_surface_says_what_stays_fixed_and_which_statistics_bn_uses(
    subject: Subject, tmp_path: Path
) -> None:
    rows = surface_rows(subject, Parts(tmp_path), SETTINGS, never, print)
    assert {(row.bn, row.fixed) for row in rows} == {("running", "biases and BN")}


def test_a_line_that_was_stopped_goes_on_to_the_same_numbers(
    subject: Subject, tmp_path: Path
) -> None:
    other = initial_network(subject.run.model_copy(update={"seed": 1}), 10, FP32).state_dict()
    settings = PathSettings(points=9, images=40)
    whole, parted = Parts(tmp_path / "whole"), Parts(tmp_path / "parted")
    rows = path_rows(subject, whole, "there", other, settings, never, print)
    asked = iter([False] * 5 + [True])
    with pytest.raises(Stopped):
        path_rows(subject, parted, "there", other, settings, lambda: next(asked), print)
    asked = iter([False] * 4)
    assert path_rows(subject, parted, "there", other, settings, lambda: next(asked), print) == rows
    swapped = {name: 2 * value for name, value in other.items()}
    again = path_rows(subject, parted, "there", swapped, settings, never, print)
    assert again[2:3] == rows[2:3], "the same start"
    assert again[6].loss != rows[6].loss


PATHS = """
name: lines
title: Two lines
dataset: synthetic
recipe: {iterations: 2, milestones: [], batch_size: 8, image_size: 8, evaluate_every: 2}
runs:
  - {networks: [resnet-8], seeds: 2}
measure: [path]
path: {points: 5, images: 20}
plot: {kind: path}
"""


def end_later(run: StoredRun) -> None:
    assert run.summary
    changed = run.summary.provenance.model_copy(update={"ended": "2999-01-01T00:00:00Z"})
    run.folder.write_summary(run.summary.model_copy(update={"provenance": changed}))


def test_the_line_between_two_runs(command: Callable[..., Any], tmp_path: Path) -> None:
    """Both ends are the losses of the two runs on that sample; one end may be named by its id."""
    (tmp_path / "lines.yaml").write_text(PATHS, encoding="utf-8")
    answer = command("run", "lines.yaml")
    assert answer.code == 0, answer.err
    first, second = sorted((tmp_path / "results" / "runs").glob("resnet-8-*"))
    there, back = read(first / "path.csv"), read(second / "path.csv")
    assert {row["to"] for row in there} == {second.name}
    assert {row["to"] for row in back} == {first.name}
    assert [row["position"] for row in there] == ["-0.5", "0.0", "0.5", "1.0", "1.5"]
    for at in (1, 2, 3):  # the same line from both sides
        one, other = float(there[at]["loss"]), float(back[4 - at]["loss"])
        assert one == pytest.approx(other, rel=1e-4)
    assert "not measured" not in command("run", "lines.yaml").err
    assert command("plot", "lines.yaml").code == 0
    assert (tmp_path / "results" / "figures" / "lines.png").stat().st_size > 5_000
    store = Store(tmp_path / "results")
    assert [run.problem for run in store.all_runs()] == [None, None]

    end_later(store.all_runs()[1])  # as if it had been trained again
    assert set(Results(store).frame("path").run) == {second.name}, "the first's line ended there"
    assert command("run", "lines.yaml").err.count("loss between two runs measured") == 1

    only = ("--seeds", "1", "--set", f"path.to={second.name[:-3]}", "--set", "path.points=9")
    assert command("run", "lines.yaml", *only).code == 0
    assert len(read(first / "path.csv")) == 9
    itself = command("run", "lines.yaml", "--seeds", "1", "--set", f"path.to={first.name}")
    assert (itself.code, itself.err.count("should be another run of resnet-8")) == (2, 1)


def test_a_line_to_no_run_is_refused_before_anything_is_trained(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "lines.yaml").write_text(PATHS, encoding="utf-8")
    for dry in ((), ("--dry-run",)):
        answer = command("run", "lines.yaml", "--set", "path.to=nothing", *dry)
        assert (answer.code, "no run or file is called 'nothing'" in answer.err) == (2, True)
    assert not list((tmp_path / "results").glob("runs/*"))


def test_a_line_to_a_run_that_nobody_trains_is_refused_before_anything_is_trained(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "lines.yaml").write_text(PATHS, encoding="utf-8")
    first, second = load_experiment("lines.yaml").resolve()
    answer = command("run", "lines.yaml", "--seeds", "1")
    told = f"line of {first.id} ends at {second.id}, which is not among these runs and whose"
    assert (answer.code, told in answer.err) == (2, True), answer.err
    assert answer.err.endswith("train that as well (--seeds 0,1)\n")
    assert "(--seeds 0,1,5)" in command("run", "lines.yaml", "--seeds", "5,").err
    assert not list((tmp_path / "results").glob("runs/*"))

    assert command("run", "lines.yaml", "--seeds", "0,1").code == 0
    for path in Store(tmp_path / "results").folder(second).checkpoints():
        path.unlink()
    assert command("run", "lines.yaml", "--seeds", "1").code == 0, "it is measured"
    answer = command("run", "lines.yaml", "--seeds", "1", "--set", f"path.to={second.id}",
                     "--set", "path.points=9")  # fmt: skip
    assert (answer.code, answer.err.endswith("are not here: train it first\n")) == (2, True)


@pytest.mark.parametrize(
    ("where", "more", "said"),
    [
        ("own", (), "path.to: {own} should be another run of resnet-8 on synthetic"),
        ("both", (), "is the beginning of 2 runs' ids"),
        ("own", ("--launcher", "slurm"), "path.to: {own} should be another run"),
        ("preset", (), "no run or file is called 'nothing'"),
    ],
)
def test_other_ends_are_checked_among_the_coming_runs(
    command: Callable[..., Any], tmp_path: Path, where: str, more: tuple[str, ...], said: str
) -> None:
    (tmp_path / "lines.yaml").write_text(PATHS, encoding="utf-8")
    own = json.loads(command("run", "lines.yaml", "--dry-run", "--json").out)[0]["run"]
    to = {"own": own, "both": "resnet-8-", "preset": "nothing"}[where]
    path = f"path: {{points: 5, images: 20, to: {to}}}"
    if where == "preset":
        path = f"presets: {{paper: {{{path}}}}}"
    text = PATHS.replace("path: {points: 5, images: 20}", path)
    (tmp_path / "lines.yaml").write_text(text, encoding="utf-8")
    answer = command("run", "lines.yaml", *more)
    assert (answer.code, said.format(own=own) in answer.err) == (2, True), answer.err
    assert not list((tmp_path / "results").glob("runs/*"))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("zero_channels", "both-sides"),
        ("bn_epsilon", 0.01),
        ("image_size", 16),
        ("validation_images", 10),
    ],
)
def test_a_line_to_weights_that_are_used_otherwise_is_refused(
    command: Callable[..., Any], tmp_path: Path, field: str, value: object
) -> None:
    (tmp_path / "lines.yaml").write_text(PATHS, encoding="utf-8")
    first, _ = load_experiment("lines.yaml").resolve()
    other = first.model_copy(update={"recipe": first.recipe.model_copy(update={field: value})})
    Store(tmp_path / "results").folder(other).write_config(other)
    answer = command("run", "lines.yaml", "--set", f"path.to={other.id}")
    assert (answer.code, f"in recipe.{field}; on a line only" in answer.err) == (2, True), (
        answer.err
    )
    assert not list((tmp_path / "results").glob("runs/*/checkpoint"))


def test_a_line_to_weights_that_are_not_here_is_said_and_not_measured(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "lines.yaml").write_text(PATHS, encoding="utf-8")
    assert command("run", "lines.yaml").code == 0
    first, second = sorted((tmp_path / "results" / "runs").glob("resnet-8-*"))
    for path in (*second.glob("checkpoint*"), *(tmp_path / "results").rglob("path.csv")):
        path.unlink()
    answer = command("run", "lines.yaml")
    assert answer.code == 1
    said = f"{second.name}, where the line of {first.name} ends: its weights are not here"
    assert said in answer.err
    assert f"train it again: resnet-repro run results/runs/{second.name}" in answer.err
    assert not list((tmp_path / "results").rglob("path.csv"))


def test_a_line_to_damaged_weights_says_so_and_replaces_nothing(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "lines.yaml").write_text(PATHS, encoding="utf-8")
    assert command("run", "lines.yaml").code == 0
    first, second = sorted((tmp_path / "results" / "runs").glob("resnet-8-*"))
    for path in second.glob("checkpoint*"):
        path.write_bytes(path.read_bytes()[:-9])
    answer = command("run", "lines.yaml", "--seeds", "1", "--set", "path.points=9")
    assert answer.code == 1
    reason = f"where the line of {first.name} ends: its weights are not here (checkpoint is damaged"
    assert (reason in answer.err, "replaced" in answer.err) == (True, False), answer.err
    assert len(read(first / "path.csv")) == 5


def test_a_line_to_a_run_that_others_train_waits_for_it(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "lines.yaml").write_text(PATHS, encoding="utf-8")
    first, second = load_experiment("lines.yaml").resolve()
    folder = Store(tmp_path / "results").folder(second)
    folder.make()
    with folder.locked() as held:
        assert held
        answer = command("run", "lines.yaml")
    assert answer.code == 4
    assert f"{first.id}: its line ends at {second.id}, which is not trained yet" in answer.err
    assert command("run", "lines.yaml").code == 0


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_run_measures_once_and_what_is_edited_is_noticed(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "tiny.yaml").write_text(EXPERIMENT, encoding="utf-8")
    answer = command("run", "tiny.yaml")
    assert answer.code == 0, answer.err
    assert "loss surface measured, 16 rows" in answer.err
    (folder,) = (tmp_path / "results" / "runs").glob("resnet-8-*")
    rows = read(folder / "surface.csv")
    assert len(rows) == 16
    assert {row["directions"] for row in rows} == {"4"}
    ends = read(folder / "curvature.csv")
    assert [(row["alpha"], row["beta"]) for row in ends] == [("0.0", "0.0"), ("0.5", "-0.5")]
    assert all(float(row["smallest"]) <= float(row["largest"]) for row in ends)
    origins = json.loads((folder / "measurements.json").read_text(encoding="utf-8"))
    assert origins["curvature"]["precision"] == "fp32"
    assert not list(folder.glob(".surface*"))

    again = command("run", "tiny.yaml")
    assert again.code == 0
    assert "surface" not in again.err
    assert Store(tmp_path / "results").all_runs()[0].problem is None

    path = folder / "surface.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    loss = lines[1].split(",")[3]
    for edited, said in (
        ([*lines[:-1], lines[1], lines[-1]], "surface.csv has been changed"),
        ([lines[0], lines[1].replace(loss, f"-{loss}"), *lines[2:]], "(line 2, loss: should not"),
    ):
        path.write_text("\n".join([*edited, ""]), encoding="utf-8")
        problems = {run.id: run.problem for run in Store(tmp_path / "results").all_runs()}
        assert said in str(problems[folder.name])


def test_two_settings_of_a_runs_measurement_are_refused_together_and_replace_each_other(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "a.yaml").write_text(SURFACES, encoding="utf-8")
    other = SURFACES.replace("name: tiny", "name: wide").replace("[3, 5]", "[5, 3]")
    (tmp_path / "b.yaml").write_text(other, encoding="utf-8")
    for more in ((), ("--dry-run",)):
        answer = command("run", "a.yaml", "b.yaml", *more)
        said = "tiny and wide measure surface of resnet-8-"
        assert (answer.code, said in answer.err) == (2, True), answer.err
    assert not list((tmp_path / "results").glob("runs/*"))
    replaced = "its loss surface, of other settings or by an earlier version, is replaced"
    assert replaced not in command("run", "a.yaml").err
    answer = command("run", "b.yaml")
    assert (answer.code, answer.err.count(replaced)) == (0, 2), answer.err

    for run in Store(tmp_path / "results").all_runs():  # as an earlier version measured
        earlier = [row._replace(directions=0, stream=None) for row in run.rows("surface")]
        run.folder.write_measured("surface", earlier, run.origins["surface"])
    answer = command("run", "b.yaml")
    assert (answer.code, answer.err.count(replaced)) == (0, 2), answer.err


def test_a_time_budget_that_ends_while_measuring_leaves_work(
    command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.yaml").write_text(SURFACES, encoding="utf-8")
    with monkeypatch.context() as patched:
        patched.setattr(measuring, "surface_rows", ends_the_budget)
        answer = command("run", "tiny.yaml", "--time-budget", "1h")
    assert answer.code == 75, answer.err
    assert not list((tmp_path / "results").rglob("surface.csv"))
    assert command("run", "tiny.yaml").code == 0
    assert len(list((tmp_path / "results").rglob("surface.csv"))) == 2
    made = [stored.origins["surface"] for stored in Store(tmp_path / "results").all_runs()]
    assert {one.command for one in made} == {"resnet-repro run tiny.yaml"}
    earlier = [one.command for origin in made for one in origin.earlier]
    assert earlier == ["resnet-repro run tiny.yaml --time-budget 1h"], "part of one surface"


def ends_the_budget(
    subject: Subject, parts: Parts, settings: SurfaceSettings, should_stop: Any, news: Any
) -> None:
    """As `surface_rows`: the time is up after the first row of the grid."""
    asked = itertools.count(1)
    with pytest.raises(Stopped):
        surface_rows(subject, parts, settings, lambda: next(asked) > settings.points[0], news)
    should_stop.__self__.stop.stop_for("budget")
    raise Stopped


def test_settings_of_a_preset_give_way_to_those_that_are_set(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        EXPERIMENT.replace("{iterations: 2, milestones: [], ", "{").replace(
            "surface: {points: [3, 5], images: 20, directions: [4]}",
            "presets: {short: {surface: {points: [25, 25], images: 2000}}}",
        ),
        encoding="utf-8",
    )
    paper = load_experiment(str(path))
    assert paper.settings_of("surface") == SurfaceSettings()
    short = load_experiment(
        str(path), ["surface.points=[11, 1]", "surface.limit=0.5"], Choices(preset="short")
    )
    expected = SurfaceSettings(points=(11, 1), images=2000, limit=0.5)
    assert short.settings_of("surface") == expected
    assert "  - 11\n  - 1\n" in short.to_yaml()
    with pytest.raises(ConfigError, match="should be odd"):
        load_experiment(str(path), ["surface.points=[10, 11]"])
    with pytest.raises(ConfigError, match="is not measured"):
        load_experiment(str(path), ["measure=[curvature]", "surface.limit=0.5"])
