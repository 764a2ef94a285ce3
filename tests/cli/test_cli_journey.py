"""A user's way through the commands, on the generated data set with the smallest networks."""

from __future__ import annotations

import csv
import json
import re
import shlex
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from resnet_repro.launch import training
from resnet_repro.report import tidy
from resnet_repro.runner.measuring import Measurer
from resnet_repro.store.store import Store

TINY = """
name: mine
title: Tiny networks
reference: Fig. 1
dataset: synthetic
preset: demo
recipe: {iterations: 12, milestones: [6, 9], batch_size: 16, evaluate_every: 6}
runs:
  - networks: [plain-8, resnet-8]
measure: [responses]
table: {kind: errors}
plot:
  kind: curves
  panels: [{title: all, networks: [plain-8, resnet-8]}]
  error_axis: [0, 100]
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    (tmp_path / "mine.yaml").write_text(TINY, encoding="utf-8")
    return "mine.yaml"


def _runs(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "results" / "runs").iterdir())


def test_from_nothing_to_a_report(command, mine: str, tmp_path: Path) -> None:
    answer = command("run", mine)
    assert answer.code == 0, answer.err
    assert "wrote results/mine.csv" in answer.out
    for folder in _runs(tmp_path):
        assert {"config.yaml", "curve.csv", "summary.json", "checkpoint", "responses.csv"} <= {
            path.name for path in folder.iterdir()
        }
        header, *rows = (folder / "curve.csv").read_text(encoding="utf-8").splitlines()
        assert header == "iteration,epoch,lr,train_loss,train_error,test_error,seconds"
        assert [row.split(",")[0] for row in rows] == ["6", "12"]
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        assert summary["state"] == "done"
        assert summary["final_test_error"] == float(rows[-1].split(",")[5])
        provenance = summary["provenance"]
        assert provenance["command"] == "resnet-repro run mine.yaml"
        assert provenance["dataset"]["name"] == "synthetic"
        assert provenance["precision"] in ("fp32", "bf16")
        assert "T" in provenance["started"] <= provenance["ended"]
        made = json.loads((folder / "measurements.json").read_text(encoding="utf-8"))["responses"]
        own = {"measured", "sha256"}
        assert {key: provenance[key] for key in made if key not in own} == {
            key: value for key, value in made.items() if key not in own
        }
        assert provenance["ended"] <= made["measured"]

    again = command("run", mine)
    assert again.code == 0
    assert "starts" not in again.err, "finished runs are skipped"
    assert "\n0 of 2 runs to train\n" in command("run", mine, "--dry-run").out

    status = json.loads(command("status", "--json").out)
    assert [line["state"] for line in status] == ["done", "done"]
    assert "plain-8-synthetic-custom-s0" in command("status", mine).out

    table = command("table", mine)
    assert table.code == 0
    assert "plain-8" in table.out
    assert "synthetic" in table.out
    plot = command("plot", mine, "--format", "svg")
    assert plot.code == 0
    assert (
        (tmp_path / "results" / "figures" / "mine.svg")
        .read_text(encoding="utf-8")
        .lstrip()
        .startswith("<?xml")
    )
    report = command("report")
    assert report.code == 0
    assert (tmp_path / "results" / "report.md").read_text(encoding="utf-8").startswith("# ")

    config = _runs(tmp_path)[0] / "config.yaml"
    repeated = command("run", str(config), "--results", "elsewhere")
    assert repeated.code == 0
    twin = tmp_path / "elsewhere" / "runs" / config.parent.name / "curve.csv"

    def without_time(path: Path) -> list[dict[str, str]]:
        with path.open(encoding="utf-8") as file:
            return [{k: v for k, v in r.items() if k != "seconds"} for r in csv.DictReader(file)]

    assert without_time(twin) == without_time(config.parent / "curve.csv")


@pytest.mark.usefixtures("few_synthetic")
def test_a_run_wanted_twice_is_trained_once(command, mine: str, tmp_path: Path) -> None:
    other = TINY.replace("name: mine", "name: other").replace("[plain-8, resnet-8]", "[plain-8]")
    (tmp_path / "other.yaml").write_text(other, encoding="utf-8")
    assert command("run", "other.yaml", mine).code == 0
    assert len(_runs(tmp_path)) == 2
    first = json.loads((_runs(tmp_path)[0] / "summary.json").read_text(encoding="utf-8"))
    assert first["provenance"]["sessions"] == 1
    assert (tmp_path / "results" / "other.csv").exists()
    whole = (tmp_path / "results" / "mine.csv").read_text(encoding="utf-8")
    assert command("run", mine, "--networks", "plain-8").code == 0
    assert (tmp_path / "results" / "mine.csv").read_text(encoding="utf-8") == whole, (
        "the other network's lines"
    )
    with (tmp_path / mine).open("a", encoding="utf-8") as file:
        file.write("presets: {demo: {networks: [plain-8]}}\n")
    assert command("run", mine).code == 0
    assert (tmp_path / "results" / "mine.csv").read_text(encoding="utf-8") == whole, (
        "also where the preset has one network"
    )


@pytest.mark.usefixtures("few_synthetic")
def test_what_another_command_ends_meanwhile_is_not_lost(
    command, mine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command is about to write its CSV, without the runs that another ends just then."""
    assert command("run", mine).code == 0
    store, write = Store(tmp_path / "results"), tidy.tidy_csv
    others: list[threading.Thread] = []

    def other(text: str) -> None:
        with store.summing_up():
            store.write_csv("mine", text + "one more run\n")

    def slowly(*given: Any) -> str:
        text = write(*given)
        others.append(threading.Thread(target=other, args=(text,)))
        others[0].start()
        others[0].join(0.5)
        return text

    monkeypatch.setattr(tidy, "tidy_csv", slowly)
    assert command("run", mine).code == 0
    others[0].join()
    assert store.csv_path("mine").read_text(encoding="utf-8").endswith("one more run\n")


@pytest.mark.usefixtures("few_synthetic")
def test_force_trains_again(command, mine: str, tmp_path: Path) -> None:
    arguments = ("run", mine, "--networks", "resnet-8")
    assert command(*arguments).code == 0
    summary = _runs(tmp_path)[0] / "summary.json"
    before, written = json.loads(summary.read_text(encoding="utf-8")), summary.stat().st_mtime_ns
    assert command(*arguments).code == 0
    assert summary.stat().st_mtime_ns == written
    assert command(*arguments, "--force").code == 0
    after = json.loads(summary.read_text(encoding="utf-8"))
    assert after["final_test_error"] == before["final_test_error"]
    assert summary.stat().st_mtime_ns > written


@pytest.mark.usefixtures("few_synthetic")
def test_what_is_said_of_one_run_trains_no_other_again(command, tmp_path: Path) -> None:
    diverging = "\n    recipe: {learning_rate: 100, weight_decay: 1}\n  - networks: [resnet-8]"
    text = TINY.replace("networks: [plain-8, resnet-8]\nm", f"networks: [plain-8]{diverging}\nm")
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    arguments = ("run", "mine.yaml", "--results", "my results", "--device", "cpu")
    assert command(*arguments).code == 1
    bad, good = sorted((tmp_path / "my results" / "runs").iterdir())
    for path in good.glob("checkpoint*"):
        path.unlink()
    (good / "responses.csv").unlink()
    told = command(*arguments).err

    def written(folder: Path) -> int:
        return (folder / "summary.json").stat().st_mtime_ns

    for run, other, code in ((bad, good, 1), (good, bad, 0)):
        advice = rf"{run.name}.* train it again: resnet-repro (run .*{run.name}/config.yaml.*)"
        (line,) = re.findall(advice, told)
        before, others = written(run), written(other)
        assert command(*shlex.split(line)).code == code
        assert (written(run) > before, written(other)) == (True, others)
    assert command(*arguments, "--networks", "resnet-8").code == 0, "and measures it"


@pytest.mark.parametrize(("options", "measured"), [((), True), (("--fail-fast",), False)])
def test_after_a_failure_fail_fast_measures_nothing(
    command, mine: str, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], measured: bool
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(
        training, "train_at", lambda where, runner, runs: {runs[0].id: "failed", runs[1].id: "done"}
    )
    monkeypatch.setattr(Measurer, "measure", lambda self, of: asked.append(of) or {})
    answer = command("run", mine, *options)
    assert (answer.code, bool(asked)) == (1, measured)
    assert "wrote results/mine.csv" in answer.out


def test_dry_run_prints_the_plan_and_touches_nothing(command, tmp_path: Path) -> None:
    answer = command("run", "fig6", "--preset", "short", "--dry-run", "--data-dir", "nowhere")
    assert answer.code == 0
    assert "plain-20-cifar10-short-s0-" in answer.out
    assert "10 of 10 runs to train" in answer.out
    assert "a guess" in answer.out
    assert list(tmp_path.iterdir()) == []


def test_an_experiment_may_go_with_another_data_set_only(command, tmp_path: Path) -> None:
    """Its file names none, so cifar10; its networks take photographs."""
    (tmp_path / "mine.yaml").write_text(
        "name: mine\ntitle: t\nruns:\n  - networks: [resnet-18-a]\n"
        "table: {kind: views, views: centre}\n",
        encoding="utf-8",
    )
    there = ("--dataset", "imagenette")
    answer = command("run", "mine.yaml", *there, "--preset", "short", "--dry-run")
    assert answer.code == 0, answer
    assert "1 of 1 runs to train" in answer.out
    assert "then write results/mine.csv" in answer.out
    answer = command("table", "mine.yaml", *there)
    assert answer.code == 0, answer
    assert "ResNet-18" in answer.out
    for refused in ("run", "table"):
        answer = command(refused, "mine.yaml")
        assert answer.code == 2
        assert "does not go with cifar10" in answer.err


def test_show_prints_a_file_that_run_takes(command, tmp_path: Path) -> None:
    shown = command("show", "table6", "--preset", "short", "--seeds", "0,4")
    (tmp_path / "mine.yaml").write_text(shown.out, encoding="utf-8")
    assert yaml.safe_load(shown.out)["recipe"]["iterations"] == 6400
    planned = command("run", "table6", "--preset", "short", "--seeds", "0,4", "--dry-run")
    again = command("run", "mine.yaml", "--dry-run")
    assert again.out == planned.out
    assert command("show", "mine.yaml").out == shown.out
    edited = shown.out.replace("learning_rate: 0.1", "learning_rate: 0.05")
    (tmp_path / "mine.yaml").write_text(edited, encoding="utf-8")
    assert "-cifar10-custom-s4-" in command("run", "mine.yaml", "--dry-run").out
    refused = command("run", "mine.yaml", "--preset", "paper", "--dry-run")
    assert refused.code == 2
    assert "leave out --preset" in refused.err


def test_every_shipped_experiment_is_listed_and_shown(command) -> None:
    names = {"table1", "table6", "fig1", "fig6", "fig7"}
    assert names <= {line["experiment"] for line in json.loads(command("list", "--json").out)}
    for name in names:
        assert yaml.safe_load(command("show", name).out)["name"] == name


def test_table1(command, tmp_path: Path) -> None:
    assert command("run", "table1").code == 0
    with (tmp_path / "results" / "table1.csv").open(encoding="utf-8") as file:
        rows = {row["network"]: row for row in csv.DictReader(file)}
    assert list(next(iter(rows.values()))) == [
        "network",
        "parameters",
        "multiply_adds",
        "paper_flops",
        "agrees",
    ]
    assert rows["resnet-152"] == {
        "network": "resnet-152",
        "parameters": "60192808",
        "multiply_adds": "11282415616",
        "paper_flops": "11.3e9",
        "agrees": "yes",
    }
    assert rows["resnet-1202"]["parameters"] == "19421274"
    assert rows["resnet-34-c"]["agrees"] == ""
    # The paper's 15.3e9 are the convolutions of VGG-16 alone.
    assert [name for name, row in rows.items() if row["agrees"] == "no"] == ["vgg-16"]
    assert "11,515,688" in command("table", "table1").out


def test_environment_variables_and_their_precedence(
    command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RESNET_REPRO_RESULTS", "from-environment")
    text = "name: cost\ntitle: One network\ntable: {kind: cost, networks: [plain-20]}\n"
    (tmp_path / "cost.yaml").write_text(text, encoding="utf-8")
    assert command("run", "cost.yaml").out == "wrote from-environment/cost.csv\n"
    assert command("run", "cost.yaml", "--results", "by-flag").out == "wrote by-flag/cost.csv\n"


@pytest.mark.usefixtures("few_synthetic")
def test_time_budget_used_up_leaves_work_for_later(command, mine: str, tmp_path: Path) -> None:
    answer = command("run", mine, "--time-budget", "0.001s")
    assert answer.code == 75
    assert "the time budget is used up, 2 runs left: go on by the same command\n" in answer.err
    assert command("run", mine).code == 0


@pytest.mark.usefixtures("few_synthetic")
def test_a_run_that_trains_the_same_as_another_says_so(command, mine: str, tmp_path: Path) -> None:
    assert command("run", mine, "--networks", "resnet-8").code == 0
    (chosen,) = _runs(tmp_path)
    text = (chosen / "summary.json").read_text(encoding="utf-8")
    by_auto = json.loads(text)["provenance"]["precision"]
    for precision in ("fp32", "bf16"):
        answer = command("run", mine, "--networks", "resnet-8", "--precision", precision)
        told = f"{chosen.name}, at iteration 12, trains the same, in {precision} as well"
        assert (told in answer.err) is (precision == by_auto), answer.err


@pytest.mark.usefixtures("few_synthetic")
def test_held_out_validation_images(command, mine: str, tmp_path: Path) -> None:
    answer = command("run", mine, "--networks", "resnet-8", "--set", "recipe.validation_images=20")
    assert answer.code == 0
    header, *_, last = (_runs(tmp_path)[0] / "curve.csv").read_text(encoding="utf-8").splitlines()
    assert header.endswith("seconds,validation_error")
    point = dict(zip(header.split(","), last.split(","), strict=True))
    held_out, tested = float(point["validation_error"]), float(point["test_error"])
    assert f"done, train {float(point['train_error']):.2f}%, held out {held_out:.2f}%" in answer.err
    (line,) = json.loads(command("status", "--json").out)
    assert (line["held_out_error"], line["test_error"]) == (held_out, None)
    assert "held out %" in command("status").out
    tidy = (tmp_path / "results" / "mine.csv").read_text(encoding="utf-8")
    assert float(list(csv.DictReader(tidy.splitlines()))[-1]["validation_error"]) == held_out
    shown = ("--networks", "resnet-8", "--format", "csv")
    (row,) = csv.DictReader(command("table", mine, *shown).out.splitlines())
    assert (float(row["validation_error"]), float(row["test_error"])) == (held_out, tested)
    assert "Held out: the error over" in command("table", mine).out


@pytest.mark.usefixtures("few_synthetic")
def test_a_used_up_time_budget_with_nothing_left_is_no_work_left(command, mine: str) -> None:
    assert command("run", mine).code == 0
    again = command("run", mine, "--time-budget", "0.001s")
    assert again.code == 0, "or a loop until it is done would never end"
    forced = command("run", mine, "--time-budget", "0.001s", "--force")
    assert forced.code == 75
    assert "2 runs left: go on by the same command without --force," in forced.err
    assert forced.err.count("; it leaves as they were, as not yet begun: ") == 1
