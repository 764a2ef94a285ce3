"""The kit for a borrowed GPU: what travels arrives whole, and a training goes on from it."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest

from resnet_repro.spec.loading import load_experiment
from resnet_repro.spec.presets import preset_recipe
from resnet_repro.training.trainer import Trainer

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
kit: Any = importlib.import_module("gpu_session")
transfer: Any = importlib.import_module("gpu_transfer")
probe: Any = importlib.import_module("gpu_probe")
sys.path.remove(str(BENCHMARKS))

EXPERIMENT = """
name: tiny
title: A tiny training
dataset: synthetic
preset: demo
recipe: {iterations: 6, milestones: [4], evaluate_every: 2}
runs: [{networks: [resnet-8]}]
table: {kind: errors}
"""


def test_images_arrive_byte_for_byte(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (200, 3, 32, 32), dtype=np.uint8)
    labels = random.integers(0, 10, 200)
    transfer.pack_data(images, labels, "test", tmp_path / "load")
    transfer.unpack_data(tmp_path / "load", tmp_path / "raw")
    records = np.fromfile(tmp_path / "raw" / "test_batch.bin", np.uint8).reshape(200, 3073)
    assert np.array_equal(records[:, 0], labels)
    assert np.array_equal(records[:, 1:].reshape(images.shape), images)

    (tmp_path / "load" / "test.labels").write_bytes(bytes(200))
    (tmp_path / "raw" / "test_batch.bin").unlink()
    with pytest.raises(transfer.TransferError, match="not what was packed"):
        transfer.unpack_data(tmp_path / "load", tmp_path / "raw")
    assert not (tmp_path / "raw" / "test_batch.bin").exists()


def make_run(results: Path, name: str, state: str, iteration: int, checkpoint: int) -> Path:
    run = results / "runs" / name
    run.mkdir(parents=True)
    (run / "summary.json").write_text(
        json.dumps({"state": state, "iteration": iteration}), encoding="utf-8"
    )
    (run / "config.yaml").write_text(name, encoding="utf-8")
    (run / ".lock").touch()
    (run / "checkpoint.previous").write_bytes(b"older")
    (run / "checkpoint").write_bytes(os.urandom(checkpoint))
    return run


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three runs of which two fit, in parts of 100 kB."""
    monkeypatch.setattr(transfer, "PART", 100_000)
    monkeypatch.setattr(transfer, "MOST", 500_000)
    away = tmp_path / "away"
    make_run(away, "a-done", "done", 60, 250_000)
    make_run(away, "b-done", "done", 60, 250_000)
    make_run(away, "c-stopped", "stopped", 30, 100_000)
    os.utime(away / "runs" / "a-done", (time.time() + 60,) * 2)
    manifest = transfer.pack(transfer.runs_in(away), None, tmp_path / "packed")
    with_weights = [name for name, run in manifest["runs"].items() if run["checkpoint"]]
    assert with_weights == ["c-stopped", "a-done"], "the unfinished first, then the newest"
    return tmp_path / "packed"


def test_what_comes_back_is_small_parts_without_what_is_of_no_use(
    packed: Path, tmp_path: Path
) -> None:
    sizes = [path.stat().st_size for path in packed.iterdir()]
    assert max(sizes) <= 100_000
    assert len(sizes) <= transfer.FILES
    assert sorted(transfer.bring(packed, tmp_path / "home")) == ["a-done", "b-done", "c-stopped"]
    arrived = {
        path.relative_to(tmp_path / "home" / "runs").as_posix()
        for path in (tmp_path / "home").rglob("*")
        if path.is_file()
    }
    small = {f"{run}/{name}" for run in ("a-done", "b-done", "c-stopped") for name in
             ("summary.json", "config.yaml")}  # fmt: skip
    assert arrived == small | {"a-done/checkpoint", "c-stopped/checkpoint"}
    there, here = (tmp_path / where / "runs/c-stopped/checkpoint" for where in ("away", "home"))
    assert there.read_bytes() == here.read_bytes()
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["runs"]


@pytest.mark.parametrize("fault", ["damaged", "missing"])
def test_a_part_that_did_not_arrive_whole_is_named(
    packed: Path, tmp_path: Path, fault: str
) -> None:
    part = packed / "runs-1.part"
    if fault == "missing":
        part.unlink()
    else:
        part.write_bytes(bytes(len(part.read_bytes())))
    with pytest.raises(transfer.TransferError, match=r"runs-1\.part"):
        transfer.bring(packed, tmp_path / "home")
    assert not (tmp_path / "home" / "runs").exists()


@pytest.mark.parametrize(("state", "iteration", "taken"), [
    ("stopped", 29, True), ("stopped", 31, False), ("done", 30, False),
])  # fmt: skip
def test_what_is_further_stays(
    packed: Path, tmp_path: Path, state: str, iteration: int, taken: bool
) -> None:
    own = make_run(tmp_path / "home", "c-stopped", state, iteration, 10)
    assert ("c-stopped" in transfer.bring(packed, tmp_path / "home")) == taken
    assert transfer.progress_of(own) == (state == "done", 30 if taken else iteration)


def test_what_came_without_its_checkpoint_replaces_none_that_has_one(tmp_path: Path) -> None:
    home = tmp_path / "home"
    mine = make_run(home, "a", "stopped", 30, 10)
    further = make_run(tmp_path / "there", "a", "stopped", 50, 10)
    assert transfer.checkpoint_of(mine)
    while checkpoint := transfer.checkpoint_of(further):
        checkpoint.unlink()
    assert transfer.merge(tmp_path / "there", home) == []
    assert transfer.progress_of(mine) == (False, 30)
    done = make_run(tmp_path / "again", "a", "done", 60, 10)
    while checkpoint := transfer.checkpoint_of(done):
        checkpoint.unlink()
    assert transfer.merge(tmp_path / "again", home) == ["a"], "a result needs none"


def test_a_run_that_diverged_does_not_refuse_the_others(tmp_path: Path) -> None:
    def answer(*words: object) -> str:
        return json.dumps([{"run": "a", "problem": problem}])

    problem = "failed: the loss is not finite at iteration 9"
    transfer.check_runs(tmp_path, answer)
    problem = "curve.csv is torn or unreadable"
    with pytest.raises(transfer.TransferError, match=r"a: curve\.csv is torn"):
        transfer.check_runs(tmp_path, answer)


def test_a_run_in_training_is_not_replaced(packed: Path, tmp_path: Path) -> None:
    own = make_run(tmp_path / "home", "c-stopped", "stopped", 29, 10)
    with (
        filelock.FileLock(own / ".lock"),
        pytest.raises(transfer.TransferError, match="is being trained"),
    ):
        transfer.bring(packed, tmp_path / "home")
    assert transfer.progress_of(own) == (False, 29)


def test_the_commit_is_only_said_of_the_sources_it_is_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert transfer.known_commit(tmp_path) is None
    record = {"commit": "0123456789ab", "sources": transfer.sources_digest()}
    (tmp_path / transfer.COMMIT).write_text(json.dumps(record), encoding="utf-8")
    assert transfer.known_commit(tmp_path) == "0123456789ab"
    (tmp_path / "wheels").mkdir()
    (tmp_path / transfer.COMMIT).rename(tmp_path / "wheels" / transfer.COMMIT)
    told = transfer.environment(tmp_path)
    assert (told["RESNET_REPRO_COMMIT"], told["GIT_DIR"]) == ("0123456789ab", os.devnull)
    monkeypatch.setattr(transfer, "sources_digest", lambda: "others")
    assert transfer.known_commit(tmp_path / "wheels") is None
    assert "RESNET_REPRO_COMMIT" not in transfer.environment(tmp_path)


def test_a_command_that_would_outlast_the_call_is_ended(tmp_path: Path) -> None:
    session = kit.Session(tmp_path, tmp_path, tmp_path, "cpu", True, 20.0, [], [])
    session.began -= 5.0
    before = time.monotonic()
    patient = "import time; print('begun', flush=True); time.sleep(60)"
    assert session.python("-c", patient, note="note.txt", until=14.0) < 0
    assert time.monotonic() - before < 15
    assert (session.notes / "note.txt").read_text(encoding="utf-8") == "begun\n"
    session.began -= 100.0
    assert session.python("-c", "print('too late')") == kit.USED_UP


def test_what_is_finished_at_home_is_not_trained_again(tmp_path: Path) -> None:
    make_run(tmp_path / "home", "a-done", "done", 60, 10)
    make_run(tmp_path / "home", "b-stopped", "stopped", 30, 10)
    make_run(tmp_path / "there", "a-done", "stopped", 40, 10)
    transfer.adopt_finished(tmp_path / "home", tmp_path / "there")
    [run] = transfer.runs_in(tmp_path / "there")
    assert transfer.progress_of(run) == (True, 60)
    assert transfer.checkpoint_of(run) is None, "so that it is not packed again"


def test_the_probe_measures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["gpu_probe", "profile", "resnet-8", "--device", "cpu", "--precision", "fp32"]
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setattr(probe, "preset_recipe", lambda _, *rest: preset_recipe("demo", *rest))
    probe.main()
    assert "convolution" in capsys.readouterr().out


def test_the_smallest_networks_are_trained_first() -> None:
    runs = load_experiment(str(BENCHMARKS / "gpu.yaml")).resolve()
    depths = [int(run.network.partition("-")[2]) for run in runs]
    assert depths == sorted(depths)
    known = {run.id for name in ("table6", "fig6") for run in load_experiment(name).resolve()}
    assert {run.id for run in runs} <= known, "they count for the paper's table and figure"


def test_what_a_stop_left_unmeasured_is_measured_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def answer(session: Any, *words: object) -> str:
        asked.append(" ".join(map(str, words)))
        if words[0] == "list":
            done = [("fig7", "paper", 2), ("table6", "paper", 1), ("table2", "paper", 0)]
            names = ("experiment", "preset", "runs_done", "dataset")
            done = [(*line, "cifar10") for line in [*done, ("fig6", "short", 9)]]
            done += [
                ("table7", "paper", 4, "voc07+12"),
                ("preact", "paper", 4, "cifar10, cifar100"),
            ]
            return json.dumps([dict(zip(names, line, strict=True)) for line in done])
        return json.dumps([{"run": "a", "state": "done"}, {"run": "b", "state": "stopped"}])

    monkeypatch.setattr(kit.Session, "answer", answer)
    run = make_run(tmp_path, "a", "done", 60, 10)
    (run / "summary.json").write_text(json.dumps({"network": "plain-20"}), encoding="utf-8")
    kit._update(
        kit.Session(tmp_path, tmp_path, tmp_path, "cpu", True, 60.0, [], []), "paper", {"cifar10"}
    )
    to = f"--preset paper --results {tmp_path}"
    assert asked[2:] == [
        f"run fig7 --networks plain-20 {to}",
        f"run fig7 table6 --time-budget 0.001s --quiet {to}",
    ]


@pytest.fixture
def _undisturbed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The kit's program sets a variable and a handler for itself, not for other tests."""
    monkeypatch.setenv("RESNET_REPRO_DATA", str(tmp_path / "data"))
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("_undisturbed")
def test_a_training_goes_on_from_what_was_packed(
    command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(session: Any, *words: object, **_: object) -> str:
        done = command(*words)
        assert done.code in (0, kit.USED_UP), done.err
        return str(done.out)

    def repro(session: Any, *words: object, **_: object) -> int:
        done = command(*words)
        assert done.code in (0, kit.INTERRUPTED), done.err
        return int(done.code)

    monkeypatch.setattr(kit.Session, "answer", answer)
    monkeypatch.setattr(kit.Session, "repro", repro)
    monkeypatch.setattr(transfer, "adopt_finished", lambda committed, results: None)
    (tmp_path / "tiny.yaml").write_text(EXPERIMENT, encoding="utf-8")
    names = [str(tmp_path / "tiny.yaml")]
    home = ["--kit", str(tmp_path / "at-home"), "--results", str(tmp_path / "home")]

    def train(machine: str) -> int:
        place = ["--kit", str(tmp_path / machine), "--out", str(tmp_path / f"{machine}-out")]
        preset = ["--", "--preset", "demo", "--precision", "fp32"]
        return int(kit.main(["train", *names, "--device", "cpu", *place, *preset]))

    def unpack(machine: str) -> int:
        return int(kit.main(["unpack", str(tmp_path / f"{machine}-out"), *home]))

    assert train("whole") == 0
    [whole] = (tmp_path / "whole" / "results" / "runs").glob("resnet-8-synthetic-*")
    with monkeypatch.context() as patch:
        patch.setattr("resnet_repro.training.trainer.Trainer.step", _interrupted_at(3))
        assert train("first") == kit.INTERRUPTED
    assert unpack("first") == 0
    assert unpack("first") == 0, "again: nothing new, and still there to be continued"
    (tmp_path / "second").mkdir()
    (tmp_path / "at-home" / "carry").rename(tmp_path / "second" / "carry")
    assert train("second") == 0
    assert unpack("second") == 0
    again = tmp_path / "home" / "runs" / whole.name
    assert _curve(again) == _curve(whole)
    assert transfer.summary_of(again)["provenance"]["sessions"] == 2
    assert (tmp_path / "home" / "report.md").exists()


def _interrupted_at(iteration: int) -> Callable[[Trainer], float]:
    """Training steps, one of which comes together with a SIGTERM."""
    step = Trainer.step

    def stepped(trainer: Trainer) -> float:
        if trainer.iteration == iteration:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(trainer)

    return stepped


def _curve(run: Path) -> list[str]:
    lines = (run / "curve.csv").read_text(encoding="utf-8").splitlines()
    return [line.rpartition(",")[0] for line in lines]  # without the seconds
