"""Several processes on one results folder share the work."""

from __future__ import annotations

import fcntl
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import pytest
from made_up_origin import ORIGIN
from short_runs import Quiet, short_runner, small_synthetic
from stoppable import Driver, write_experiment

from resnet_repro.runner.options import Outcome
from resnet_repro.spec.loading import parse_experiment
from resnet_repro.spec.measurements import ResponseRow
from resnet_repro.spec.run import Run
from resnet_repro.spec.yaml_io import parse_yaml
from resnet_repro.store.models import Summary
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.store.store import Store

MEASURED = """
name: tiny
title: A tiny network
dataset: synthetic
recipe: {iterations: 2, milestones: [], batch_size: 8, image_size: 8, evaluate_every: 2}
runs: [{networks: [resnet-8]}]
measure: [responses]
"""
ARGV = ("--device", "cpu", "--checkpoint-every", "0.02s")


def test_every_run_is_trained_exactly_once(driver: Driver, tmp_path: Path) -> None:
    experiment, results = write_experiment(tmp_path, 8, 4, seeds=8), tmp_path / "results"
    argv = ("run", experiment, "--results", results, *ARGV, "--json")
    jobs = [driver.start(*argv) for _ in range(4)]
    codes = [job.wait() for job in jobs]
    stored = Store(results).all_runs()
    assert len(stored) == 8
    assert all(run.finished for run in stored)
    started = [line for job in jobs for line in job.stderr.splitlines() if ": starts" in line]
    assert sorted(started) == sorted(f"{run.id}: starts" for run in stored)
    assert [run.summary.provenance.sessions for run in stored if run.summary] == [1] * 8
    # 4 only for those that had nothing left but the others' runs; whoever ended last saw them done.
    assert set(codes) <= {0, 4}
    assert 0 in codes
    for code, job in zip(codes, jobs, strict=True):
        states = set(json.loads(job.stdout)["runs"].values())
        assert states == ({"done"} if code == 0 else {"done", "locked"} & states)
        assert ("locked" in states) == (code == 4)
    assert driver.run(*argv)[0] == 0


def test_four_is_for_when_only_locked_runs_are_left(driver: Driver, tmp_path: Path) -> None:
    experiment, results = write_experiment(tmp_path, 4, 2, 2), tmp_path / "results"
    argv = ("run", experiment, "--results", results, *ARGV)
    first = json.loads(driver.run(*argv, "--dry-run", "--json")[1].stdout)[0]["run"]
    folder = results / "runs" / first
    folder.mkdir(parents=True)
    with (folder / ".lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, job = driver.run(*argv)
        assert (code, job.stderr.count("another process is at work on it")) == (4, 1)
        states = {run.id: run.state for run in Store(results).all_runs()}
        assert states.pop(first) == "missing"
        assert list(states.values()) == ["done"]
        assert driver.run(*argv)[0] == 4
    assert driver.run(*argv)[0] == 0
    assert all(run.finished for run in Store(results).all_runs())


@pytest.mark.parametrize("begun", ["nothing", "running", "continued, unsaid", "stopped"])
def test_force_leaves_what_another_process_finishes_meanwhile(tmp_path: Path, begun: str) -> None:
    text = MEASURED.replace("8]}]", "8], seeds: 2}]")
    first, second = parse_experiment(parse_yaml(text, "tiny.yaml")).resolve()
    trained: list[str] = []

    class Beside(Quiet):
        def started(self, run: Run, iteration: int) -> None:
            trained.append(run.id)

        def ended(self, run: Run, outcome: Outcome, summary: Summary | None) -> None:
            if run == first:
                lock.release()
                other.run_all([second])

    other = short_runner(tmp_path, small_synthetic())
    runner = short_runner(tmp_path, small_synthetic(), Beside(), force=True)
    lock = filelock.FileLock(runner.store.folder(second).lock)
    if begun != "nothing":
        short_runner(tmp_path, small_synthetic(), Quiet(stop_after=4)).run_all([second])
        summary = runner.store.get(second).summary
        assert summary is not None
        assert summary.state == "stopped"
        folder = runner.store.folder(second)
        if begun == "running":
            folder.claim()
            folder.write_summary(summary.model_copy(update={"state": "running"}))
        if begun != "stopped":
            lock.acquire()
    assert set(runner.run_all([first, second]).values()) == {"done"}
    assert trained == [first.id]
    again = short_runner(tmp_path, small_synthetic(), Beside(), force=True)
    assert set(again.run_all([first, second]).values()) == {"done"}
    assert trained == [first.id, first.id, second.id], "what was there is trained again"


def test_what_another_process_works_on_is_not_measured(tmp_path: Path) -> None:
    quiet = Quiet()
    runner = short_runner(tmp_path, small_synthetic(), quiet)
    experiment = parse_experiment(parse_yaml(MEASURED, "tiny.yaml"))
    (run,) = experiment.resolve()
    assert runner.run_all([run]) == {run.id: "done"}
    with runner.store.folder(run).locked() as held:
        assert held
        assert runner.measurer.measure([experiment]) == {run.id: "locked"}
    assert quiet.notes == [f"{run.id}: another process is at work on it, not measured"]
    assert not runner.store.get(run).has("responses")
    runner.measurer.measure([experiment])
    assert runner.store.get(run).has("responses")


def test_what_another_process_has_measured_meanwhile_is_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = Quiet()
    runner = short_runner(tmp_path, small_synthetic(), quiet)
    experiment = parse_experiment(parse_yaml(MEASURED, "tiny.yaml"))
    (run,) = experiment.resolve()
    runner.run_all([run])
    lock = RunFolder.locked

    @contextmanager
    def after_another(folder: RunFolder) -> Iterator[bool]:
        folder.write_measured("responses", [ResponseRow(1, "conv1", 0.5)], ORIGIN)
        with lock(folder) as held:
            yield held

    monkeypatch.setattr(RunFolder, "locked", after_another)
    runner.measurer.measure([experiment])
    assert quiet.notes == []


def test_measurements_that_are_left_to_another_process_end_with_4(
    command: Any, tmp_path: Path
) -> None:
    (tmp_path / "tiny.yaml").write_text(MEASURED, encoding="utf-8")
    bare = ("run", "tiny.yaml", "--set", "measure=[]")
    assert command(*bare).code == 0
    (run,) = Store(tmp_path / "results").all_runs()
    with run.folder.locked():
        assert command("run", "tiny.yaml").code == 4
    assert command("run", "tiny.yaml").code == 0


def test_the_lock_of_a_killed_process_is_taken_over(driver: Driver, tmp_path: Path) -> None:
    experiment, results = write_experiment(tmp_path, 40, 5), tmp_path / "results"
    argv = ("run", experiment, "--results", results, *ARGV)
    job = driver.start(*argv)
    job.await_point(results)
    job.kill(signal.SIGSTOP)
    assert driver.run(*argv)[0] == 4
    assert "running" in driver.run("status", "--results", results)[1].stdout
    job.kill()
    assert driver.run(*argv)[0] == 0  # at once, before anybody has noticed the death
    job.wait()


def test_a_run_that_another_process_ends_meanwhile_counts_as_done(
    driver: Driver, tmp_path: Path
) -> None:
    experiment, results = write_experiment(tmp_path, 20, 10, 2), tmp_path / "results"
    argv = ("run", experiment, "--results", results, *ARGV, "--json")
    first = driver.start(*argv, "--seeds", "1")
    first.await_training()
    first.kill(signal.SIGSTOP)
    second = driver.start(*argv)  # finds the first run locked and begins with the other one
    second.await_training()
    second.kill(signal.SIGSTOP)
    first.kill(signal.SIGCONT)
    assert first.wait() == 0
    second.kill(signal.SIGCONT)
    assert second.wait() == 0
    assert set(json.loads(second.stdout)["runs"].values()) == {"done"}
    assert (second.stderr.count(": starts"), second.stderr.count("another process")) == (1, 1)
