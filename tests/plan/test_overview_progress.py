"""What a user sees while runs are trained, and what the rest will cost."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from made_up_origin import ORIGIN, provenance_of, summary_of
from rich.console import Console

from resnet_repro.base import machine
from resnet_repro.base.durations import format_duration, parse_duration
from resnet_repro.base.errors import ConfigError
from resnet_repro.base.machine import cpu_name, processor_name
from resnet_repro.plan.estimator import Estimator
from resnet_repro.plan.overview import (
    ExperimentLine,
    list_experiments,
    list_runs,
    plan_measuring,
    plan_runs,
    run_table,
)
from resnet_repro.plan.progress import LiveProgress, PlainProgress, QuietProgress
from resnet_repro.spec.experiment import Choices, Experiment
from resnet_repro.spec.loading import load_experiment
from resnet_repro.spec.measurements import SurfaceRow
from resnet_repro.spec.presets import preset_recipe
from resnet_repro.spec.run import Run
from resnet_repro.store.models import CurveRow, Summary
from resnet_repro.store.store import Store

CURVE = [
    CurveRow(n, 0.00256 * n, rate, 0.5, 20.5, 18.25, n / 10)
    for n, rate in zip(
        range(400, 6401, 400), [0.1] * 8 + [0.1 / 10] * 4 + [0.1 / 100] * 4, strict=True
    )
]

OUTCOME: dict[str, Any] = {
    "final_train_loss": 0.5,
    "final_train_error": 20.5,
    "final_test_error": 18.25,
    "best_test_error": 18.25,
    "best_test_iteration": 400,
}


def _run(network: str = "resnet-20", seed: int = 0) -> Run:
    recipe = preset_recipe("short", network, "cifar10")
    return Run(network=network, dataset="cifar10", recipe=recipe, seed=seed)


def _summary(run: Run, state: str, iteration: int, hardware: str | None = None) -> Summary:
    return summary_of(
        run,
        state=state,
        iteration=iteration,
        parameters=269_722,
        **(OUTCOME if iteration >= CURVE[0].iteration else {}),
        failure="the loss is not finite at iteration 7" if state == "failed" else None,
        seconds=iteration / 10,
        images_per_second=1280.0,
        provenance=provenance_of("2026-01-01T00:00:00Z", hardware=hardware or cpu_name()),
    )


def _store(tmp_path: Path, run: Run, summary: Summary) -> Store:
    store = Store(tmp_path)
    store.folder(run).write_config(run)
    rows = [row for row in CURVE if row.iteration <= summary.iteration]
    store.folder(run).write_curve(rows)
    store.folder(run).write_summary(summary)
    if summary.state != "done":
        store.folder(run).checkpoint.write_bytes(b"")
    return store


def test_estimates_come_from_runs_on_this_hardware(tmp_path: Path) -> None:
    run = _run()
    store = _store(tmp_path, run, _summary(run, "done", 6400))
    estimator = Estimator(store, "cpu")
    assert estimator.basis(run) == "measured"
    training = 6400 * 128 / 1280
    assert estimator.seconds(run) == pytest.approx(training + 16 * 10_000 / 3 / 1280)
    assert estimator.seconds(run, 3200) == pytest.approx(estimator.seconds(run) / 2)
    deeper = estimator.seconds(_run("resnet-56")) / estimator.seconds(run)
    assert deeper == pytest.approx(125_485_696 / 40_551_040, rel=1e-3), "scaled by multiply-adds"
    elsewhere = _store(tmp_path / "b", run, _summary(run, "done", 6400, "another machine"))
    assert Estimator(elsewhere, "cpu").basis(run) == "guessed"
    for otherwise in ({"compiled": True}, {"processes": 8}):  # faster than what is planned
        summary = _summary(run, "done", 6400)
        changed = summary.provenance.model_copy(update=otherwise)
        summary = summary.model_copy(update={"provenance": changed})
        faster = _store(tmp_path / next(iter(otherwise)), run, summary)
        assert Estimator(faster, "cpu").basis(run) == "guessed"


def test_compiled_runs_are_estimated_from_compiled_ones(tmp_path: Path) -> None:
    run, other = _run(), _run(seed=1)
    store = _store(tmp_path, run, _summary(run, "done", 6400))
    assert "compiled" in str(Estimator(store, "cpu", compiled=True).doubt(run))
    summary = _summary(other, "done", 6400).model_copy(update={"images_per_second": 1600.0})
    faster = summary.provenance.model_copy(update={"compiled": True})
    store = _store(tmp_path, other, summary.model_copy(update={"provenance": faster}))
    for compiled, speed in ((False, 1280.0), (True, 1600.0)):
        estimator = Estimator(store, "cpu", compiled=compiled)
        assert estimator.doubt(run) is None
        assert estimator.images_per_second("resnet-20") == speed


def _continued(summary: Summary, at: int, second: float) -> Summary:
    """The summary of a run that was begun on another machine and goes on here from `at`."""
    here = summary.provenance
    there = here.model_copy(update={"hardware": "another machine"}).trained_by
    origin = here.model_copy(
        update={"earlier": there, "first_iteration": at, "first_second": second, "sessions": 2}
    )
    return summary.model_copy(update={"provenance": origin})


def test_time_left_is_told_at_the_pace_of_the_last_session() -> None:
    run = _run()
    summary = _continued(_summary(run, "running", 1600), 1500, 60.0)  # 100 s for the other 100
    assert summary.seconds_left == pytest.approx(4800)
    few = summary.model_copy(update={"iteration": 1510})  # too few to tell
    assert few.seconds_left == pytest.approx(4890 * 160 / 1510)
    assert summary.model_copy(update={"iteration": 0}).seconds_left is None
    assert summary.seconds_by_hardware() == {
        "another machine": pytest.approx(60),
        cpu_name(): pytest.approx(100),
    }


def test_a_speed_of_a_few_iterations_here_is_no_measurement(tmp_path: Path) -> None:
    run = _run()
    for at, kind in ((6380, "guessed"), (100, "measured")):
        summary = _continued(_summary(run, "done", 6400), at, 10.0)
        store = _store(tmp_path / str(at), run, summary)
        assert Estimator(store, "cpu").basis(run) == kind


@pytest.mark.parametrize("elsewhere", [{"hardware": "another machine"}, {"processes": 8}])
def test_the_pace_of_a_stopped_run_elsewhere_is_none_here(
    tmp_path: Path, elsewhere: dict[str, Any]
) -> None:
    run = _run()
    summary = _summary(run, "stopped", 3200)
    origin = summary.provenance.model_copy(update=elsewhere)
    store = _store(tmp_path, run, summary.model_copy(update={"provenance": origin}))
    estimator = Estimator(store, "cpu")
    for (line,) in (list_runs(store, [run]), plan_runs(store, [run], estimator, force=False)):
        assert line.estimate == "guessed"
        assert line.seconds_left == pytest.approx(estimator.seconds(run, 3200))
        assert run_table([line])[1][0][-1].startswith("~")
    _store(tmp_path, run, summary)
    (line,) = list_runs(store, [run])
    assert (line.state, line.estimate) == ("stopped", "measured")
    assert line.seconds_left == pytest.approx(3200 * 128 / 1280 + 8 * 10_000 / 3 / 1280)


def test_a_begun_run_without_its_checkpoint_starts_over(tmp_path: Path) -> None:
    run = _run()
    store = _store(tmp_path, run, _summary(run, "stopped", 3200))
    (half,) = list_runs(store, [run])
    store.folder(run).checkpoint.unlink()
    (line,) = list_runs(store, [run])
    assert half.seconds_left is not None
    assert line.seconds_left == pytest.approx(2 * half.seconds_left)
    assert line.doubt == f"{run.id} starts over, its checkpoint is not here"


def test_status_tells_running_from_abandoned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _run()
    store = _store(tmp_path, run, _summary(run, "running", 1600))
    folder = store.folder(run)
    assert list_runs(store, None)[0].state == "stopped", "nobody is at work on it"
    folder.claim()
    line = list_runs(store, None)[0]
    assert line.state == "running"
    assert line.seconds_left == pytest.approx(480)
    assert run_table([line])[1][0] == [run.id, "running", "1,600/6,400", "20.50", "18.25", "8m"]
    owner = json.loads(folder.owner.read_text(encoding="utf-8"))
    folder.owner.write_text(json.dumps({**owner, "pid": 2**22 + 1}), encoding="utf-8")
    assert list_runs(store, None)[0].state == "stopped", "its process is gone"

    def refused(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refused)
    for age, state in ((0, "running"), (7 * 24 * 3600, "stopped")):
        old = json.dumps({**owner, "time": owner["time"] - age})
        folder.owner.write_text(old, encoding="utf-8")
        assert list_runs(store, None)[0].state == state, "another user's, by now perhaps another's"


def test_status_names_the_views_that_were_tested(tmp_path: Path) -> None:
    runs = Store(Path(__file__).parents[2] / "results").runs_folder
    store = Store(tmp_path)
    for network, views in (("plain-20-cifar10", ""), ("plain-34-imagenette", "centre, 10-crop")):
        (run, *_) = sorted(runs.glob(f"{network}-short-s0-*"))
        shutil.copytree(run, store.runs_folder / run.name)
        header, rows = run_table(list_runs(store, None))
        assert (header[-1] == "views") is bool(views)
        assert {len(row) for row in rows} == {len(header)}
    assert [row[-1] for row in rows] == ["", "centre, 10-crop"]


def test_failed_runs_say_why_and_are_not_estimated(tmp_path: Path) -> None:
    run = _run()
    store = _store(tmp_path, run, _summary(run, "failed", 7))
    line = list_runs(store, [run])[0]
    assert "not finite at iteration 7" in run_table([line])[1][0][1]
    assert run_table([line])[1][0][-1] == ""


def test_what_only_force_trains_again_is_not_planned(tmp_path: Path) -> None:
    """A folder with another run's configuration: `run` refuses it."""
    run = _run()
    store = _store(tmp_path, run, _summary(run, "stopped", 7))
    other = store.folder(_run(seed=1))
    other.path.mkdir(parents=True)
    shutil.copy(store.folder(run).path / "config.yaml", other.path)
    (line,) = plan_runs(store, [_run(seed=1)], Estimator(store, "cpu"), force=False)
    assert line.problem
    assert line.seconds_left is None
    (again,) = plan_runs(store, [_run(seed=1)], Estimator(store, "cpu"), force=True)
    assert again.seconds_left


def test_plan_counts_only_what_is_left(tmp_path: Path) -> None:
    run, other = _run(), _run(seed=1)
    store = _store(tmp_path, run, _summary(run, "done", 6400))
    coarse = run.model_copy(update={"precision": "bf16"})
    assert Estimator(store, "cpu").basis(coarse) == "guessed", "all that is known is in fp32"
    done, missing = plan_runs(store, [run, other], Estimator(store, "cpu"), force=False)
    assert (done.state, done.seconds_left) == ("done", None)
    assert (missing.state, missing.estimate) == ("missing", "measured")
    again = plan_runs(store, [run], Estimator(store, "cpu"), force=True)[0]
    assert again.state == "again"
    assert again.seconds_left is not None


def at_short(store: Store, experiment: Experiment, **how: bool) -> ExperimentLine:
    """An experiment's line at the short preset."""
    (line,) = (x for x in list_experiments(store, [experiment], **how) if x.preset == "short")
    return line


def test_list_shows_done_and_needed(tmp_path: Path) -> None:
    run = _run("plain-20")
    store = _store(tmp_path, run, _summary(run, "done", 6400))
    lines = {x.preset: x for x in list_experiments(store, [load_experiment("fig1")])}
    assert (lines["short"].runs_done, lines["short"].runs_needed) == (1, 2)
    assert lines["short"].cost.startswith("1/2, ")
    assert (lines["paper"].runs_done, lines["paper"].dataset) == (0, "cifar10")
    failed = _run("plain-56")
    _store(tmp_path, failed, _summary(failed, "failed", 100))
    assert at_short(store, load_experiment("fig1")).cost == "1/2, 1 failed", "`run` leaves it"
    assert [*lines] == ["paper", "quarter", "short", "demo"]
    _store(tmp_path / "b", failed, _summary(failed, "failed", 100))
    line = at_short(Store(tmp_path / "b"), load_experiment("fig1"))
    assert (line.runs_done, line.runs_failed) == (0, 1)
    assert line.cost.startswith("0/2, 1 failed, "), "and the time of the other"
    anew = at_short(store, load_experiment("fig1"), anew=True)
    assert anew.cost.startswith("0/2, "), "what `bench` prints"


def test_networks_on_photographs_have_no_quarter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    monkeypatch.setattr("resnet_repro.spec.loading.shipped_experiments", lambda: ["table2"])
    row, explained = command("list", "--results", tmp_path).out.splitlines()[1:]
    assert explained.startswith("Runs done of those needed")
    assert row.split("  ")[0] == "table2"
    assert row.count("  -  ") == 1
    refused = command("run", "table2", "--preset", "quarter")
    assert refused.code == 2
    assert "plain-18 has no preset quarter, but paper, short, demo" in refused.err


def test_list_counts_a_surface_as_the_plan_does(tmp_path: Path) -> None:
    run = _run("plain-20")
    store = _store(tmp_path, run, _summary(run, "done", 6400))
    asked = ["recipe.warmup=null", "surface.points=[5,3]", "measure=[surface]"]
    experiment = load_experiment("surface", asked, Choices(preset="short", networks=["plain-20"]))
    settings = experiment.settings_of("surface")
    points = [
        SurfaceRow(seed, alpha, beta, 1.0, 50.0, settings.images, 0, "a" * 64, stream="directions")
        for seed in settings.directions
        for beta in settings.betas
        for alpha in settings.alphas
    ]
    line = at_short(store, experiment)
    assert line.cost == "1/1 done, no weights"
    store.folder(run).checkpoint.write_bytes(b"")
    for rows, cost in (([], "1/1, "), (points[:-1], "1/1, "), (points, "1/1 done")):
        if rows:
            store.folder(run).write_measured("surface", rows, ORIGIN)
        line = at_short(store, experiment)
        assert line.cost.startswith(cost)
        planned = plan_measuring(store, [experiment], Estimator(store, "cpu"), force=False)
        assert bool(planned) is (cost != "1/1 done")


def test_list_explains_what_lacks_its_weights_where_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    text = "{name: mine, title: Mine, dataset: cifar10, runs: [{networks: [plain-20]}]"
    (tmp_path / "mine.yaml").write_text(f"{text}, measure: [responses]}}", encoding="utf-8")
    monkeypatch.setattr("resnet_repro.spec.loading.experiments_folder", lambda: tmp_path)
    run = _run("plain-20")
    store = _store(tmp_path / "results", run, _summary(run, "done", 6400))
    lines = command("list").out.splitlines()
    assert "  1/1 done, no weights  " in lines[1]
    assert lines[-1] == "no weights: what is unmeasured needs checkpoints that are not here."
    store.folder(run).checkpoint.write_bytes(b"")
    lines = command("list").out.splitlines()
    assert "  1/1 done, unmeasured  " in lines[1]
    assert lines[-1] == "unmeasured: `run` has only to measure what is trained."


@pytest.mark.parametrize("width", [60, 80, 140])
def test_live_view_fits_any_terminal(width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, color_system=None)
    run = _run()
    with LiveProgress(console) as progress:
        progress.started(run, 0)
        progress.advanced(run, _summary(run, "running", 1600))
    shown = out.getvalue()
    for part in ("1,600/6,400", "lr 0.1", "8m left", "18.25%"):
        assert part in " ".join(shown.split()), part
    if width >= 80:  # in one line, if need be without the bar
        assert any("1,600/6,400" in line and "8m left" in line for line in shown.splitlines())


def test_plain_lines_say_start_and_end() -> None:
    out = io.StringIO()
    run = _run()
    with PlainProgress(Console(file=out, width=500)) as progress:
        progress.started(run, 400)
        progress.advanced(run, _summary(run, "running", 500))  # too soon for a line
        progress.ended(run, "done", _summary(run, "done", 6400))
        progress.ended(run, "stopped", _summary(run, "stopped", 640))
        progress.ended(run, "stopped", _summary(run, "running", 640))  # of a killed process
        progress.ended(run, "locked", None)
    assert out.getvalue().splitlines() == [
        f"{run.id}: continues at 400",
        f"{run.id}: done, train 20.50%, test 18.25%",
        f"{run.id}: stopped at iteration 640, saved",
        f"{run.id}: stopped",
        f"{run.id}: another process is at work on it",
    ]


def test_quiet_says_only_what_went_wrong() -> None:
    out = io.StringIO()
    run = _run()
    with QuietProgress(Console(file=out, width=500)) as progress:
        progress.started(run, 0)
        progress.news("layer responses measured, 7 rows")
        progress.ended(run, "done", _summary(run, "done", 6400))
        progress.ended(run, "failed", _summary(run, "failed", 7))
        progress.note("not enough memory")
    failed = f"{run.id}: failed: the loss is not finite at iteration 7\n"
    assert out.getvalue() == failed + "not enough memory\n"


def test_durations() -> None:
    assert parse_duration("25m") == 1500
    assert parse_duration("1h30m") == 5400
    assert parse_duration("90") == parse_duration("90s") == 90
    assert parse_duration("0.5s") == 0.5
    for wrong in ("", "0", "-1", "soon", "1x", "9" * 40, "1h30", "٣s", "400d"):
        with pytest.raises(ConfigError):
            parse_duration(wrong)
    shown = [format_duration(s) for s in (0.2, 42, 700, 11_100, 187_200, 1.2e7, 7e7)]
    assert shown == ["0s", "42s", "12m", "3h05m", "2d04h", "138d", "2.2 years"]


def test_this_machine_has_a_name() -> None:
    assert cpu_name().endswith(("core)", "cores)"))
    assert os.sep not in cpu_name()


@pytest.mark.parametrize(
    ("model_name", "name"),
    [
        ("AMD EPYC", "AMD EPYC family 25 model 17"),
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", "Intel(R) Xeon(R) CPU @ 2.20GHz family 25 model 17"),
        ("AMD EPYC 7763 64-Core Processor", "AMD EPYC 7763 64-Core Processor"),
    ],
)
def test_a_name_without_a_number_gets_the_generation(
    monkeypatch: pytest.MonkeyPatch, model_name: str, name: str
) -> None:
    known = {"model name": model_name, "cpu family": "25", "model": "17"}
    monkeypatch.setattr(machine, "_cpu_info", lambda *keys: known.get(keys[0], ""))
    assert processor_name() == name
    monkeypatch.delitem(known, "cpu family")  # Arm's
    assert processor_name() == model_name
