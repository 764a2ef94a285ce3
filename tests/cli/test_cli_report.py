"""Gradients, reports, other people's numbers and TensorBoard from the command line."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

from resnet_repro.cli import reading

TINY = """
name: mine
title: Tiny networks
dataset: synthetic
preset: demo
recipe: {iterations: 4, milestones: [3], batch_size: 8, evaluate_every: 2}
runs:
  - networks: [plain-8]
measure: [gradients]
plot: {kind: gradients}
"""


@pytest.fixture
def mine(tmp_path: Path) -> str:
    (tmp_path / "mine.yaml").write_text(TINY, encoding="utf-8")
    return "mine.yaml"


def _folder(tmp_path: Path) -> Path:
    (folder,) = (tmp_path / "results" / "runs").iterdir()
    return folder


@pytest.mark.usefixtures("few_synthetic")
def test_gradients_are_measured_while_a_run_trains(command, mine: str, tmp_path: Path) -> None:
    assert command("run", mine).code == 0
    with (tmp_path / "results" / "mine.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["iteration"] for row in rows[::7]] == ["0", "2", "4"]
    assert {row["measured"] for row in rows} == {"training"}


@pytest.mark.usefixtures("few_synthetic")
def test_gradients_of_a_trained_run_are_measured_afterwards(
    command, mine: str, tmp_path: Path
) -> None:
    (tmp_path / "other.yaml").write_text(TINY.partition("measure:")[0], encoding="utf-8")
    assert command("run", "other.yaml").code == 0
    assert not (_folder(tmp_path) / "gradients.csv").exists()
    again = command("run", mine)
    assert "starts" not in again.err, "measuring is no part of a run"
    with (_folder(tmp_path) / "gradients.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["iteration"] for row in rows[::7]] == ["0", "4"]
    assert {row["measured"] for row in rows} == {"afterwards"}


def test_the_lines_of_a_report_fit_into_a_terminal(
    command, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = command("report").out
    monkeypatch.setattr(reading, "_terminal_width", lambda: 80)
    shown = command("report").out
    assert max(map(len, whole.splitlines())) > 100
    assert max(map(len, shown.splitlines())) <= 80
    opening = shown.partition("Counted")[0].split()
    assert opening == whole.partition("Counted")[0].split()


@pytest.mark.parametrize(
    ("variable", "where", "repeated"),
    [
        (None, (), ""),
        (None, ("--results", "my results"), " --results 'my results'"),
        ("mine", ("--results", "results"), " --results results"),
        ("mine", (), ""),
        ("results", ("--results", "results"), ""),
    ],
)
def test_commands_that_are_told_name_the_results_folder(
    command,
    monkeypatch: pytest.MonkeyPatch,
    variable: str | None,
    where: tuple[str, ...],
    repeated: str,
) -> None:
    if variable:
        monkeypatch.setenv("RESNET_REPRO_RESULTS", variable)
    told = f"resnet-repro run fig1 --preset demo{repeated}"
    table = command("table", "fig1", "--preset", "demo", *where).out
    assert f"To fill this table:\n    {told}\n" in table
    assert command("plot", "fig1", "--preset", "demo", *where).err.rstrip().endswith(told)
    assert f"start with `{told}`" in command("status", *where).out
    assert "--results" not in command("report", *where).out  # its text is the same everywhere


@pytest.mark.parametrize("form", ["md", "html"])
def test_a_report_can_be_checked(command, tmp_path: Path, form: str) -> None:
    check = ("report", "--check", "--format", form)
    missing = command(*check)
    assert missing.code == 1
    assert "is missing; write it with: resnet-repro report" in missing.err
    assert len(missing.err.splitlines()) == 1
    assert not (tmp_path / "results").exists(), "checking writes nothing"
    assert command("report", "--format", form).code == 0
    assert command(*check).code == 0
    path = tmp_path / "results" / f"report.{form}"
    path.write_text(path.read_text(encoding="utf-8") + " ", encoding="utf-8")
    stale = command(*check)
    assert stale.code == 1
    assert len(stale.err.splitlines()) == 1
    assert f"report.{form} is not what the results and figures give" in stale.err
    assert path.read_text(encoding="utf-8").endswith(" ")


@pytest.mark.usefixtures("few_synthetic")
def test_checking_names_what_the_results_lack_now(command, mine: str, tmp_path: Path) -> None:
    assert command("run", mine).code == 0
    assert command("report").code == 0
    curve = _folder(tmp_path) / "curve.csv"
    curve.write_text(curve.read_text(encoding="utf-8").replace("\n2,", "\n3,"), encoding="utf-8")
    stale = command("report", "--check")
    assert stale.code == 1
    assert f"{curve.parent.name}: " in stale.err
    assert "; left out" in stale.err


def test_an_unknown_form_of_report(command) -> None:
    answer = command("report", "--format", "pdf")
    assert answer.code == 2
    assert "html" in answer.err


def test_table_with_others(command) -> None:
    answer = command("table", "table6", "--others")
    assert answer.code == 0
    assert "7.84 to 8.74 (7)" in answer.out
    assert "https://github.com/akamaster/pytorch_resnet_cifar10" in answer.out
    assert "akamaster" not in command("table", "table6").out
    rows = list(
        csv.DictReader(command("table", "table6", "--others", "--format", "csv").out.splitlines())
    )
    assert next(r for r in rows if r["network"] == "resnet-20")["others_count"] == "7"


@pytest.mark.parametrize("form", ["text", "md", "latex"])
def test_where_no_others_report_a_network_none_are_listed(command, form: str) -> None:
    argv = ("table", "preact-table1", "--networks", "resnet-110-c", "--format", form)
    answer = command(*argv, "--others")
    assert answer.code == 0
    assert "Public reproductions" not in answer.out


def test_tensorboard_has_to_be_installed(
    command, mine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    answer = command("run", mine, "--tensorboard")
    assert answer.code == 2
    assert "pip install tensorboard" in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.usefixtures("few_synthetic")
def test_tensorboard_gets_the_curve(command, mine: str, tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    def steps() -> dict[str, list[int]]:
        (file,) = (_folder(tmp_path) / "tensorboard").iterdir()
        accumulator = events.EventAccumulator(str(file))
        accumulator.Reload()
        return {
            tag: [e.step for e in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]
        }

    expected = {tag: [2, 4] for tag in ("train_loss", "train_error", "test_error", "lr")}
    assert command("run", mine, "--tensorboard").code == 0
    assert steps() == expected
    for left in (b"half a curve", None):
        (file,) = (_folder(tmp_path) / "tensorboard").iterdir()
        file.write_bytes(left) if left else file.unlink()
        assert command("run", mine, "--tensorboard").code == 0
        assert steps() == expected, "of a finished run as well"
    assert command("run", mine, "--force").code == 0
    assert not (_folder(tmp_path) / "tensorboard").exists(), "of an earlier training"
