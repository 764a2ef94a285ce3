"""`--jobs`: runs side by side on this machine, the same as alone, whatever happens to them."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from launch_helpers import (
    await_that,
    finish,
    is_at_work,
    options,
    owner_of,
    runs_of,
    start,
    train_alone,
    write_experiment,
)
from training_outcome import outcome

from resnet_repro.base.machine import usable_cores
from resnet_repro.base.stop import StopFlag
from resnet_repro.launch import auto
from resnet_repro.launch.auto import Speed, measure_speed, pick_jobs
from resnet_repro.store.store import Store


@pytest.mark.usefixtures("one_thread")
def test_every_run_is_the_same_as_alone(command: Any, tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path, 8, 8, 3, measure="[gradients, responses]")
    runs = runs_of(experiment)
    results = ("--results", "results", "--data-dir", "data", "--device", "cpu")
    events = importlib.util.find_spec("tensorboard") is not None
    more = ("--json", "--quiet", *(["--tensorboard"] if events else []))
    code, out, err = command("run", experiment, *results, "--jobs", 2, *more)
    assert (code, ": starts" in err) == (0, False)
    assert json.loads(out)["runs"] == {run.id: "done" for run in runs}
    together, alone = Store(tmp_path / "results"), train_alone(runs, tmp_path / "alone")
    for run in runs:
        assert outcome(together.folder(run)) == outcome(alone.folder(run))
        stored = together.get(run)
        assert stored.summary is not None
        assert (stored.summary.provenance.threads, stored.summary.provenance.sessions) == (1, 1)
        assert {row.measured for row in stored.gradients()} == {"training"}, "observed there"
        assert stored.responses(), "measured here"
        assert bool(list(stored.folder.tensorboard.glob("events.*"))) == events
    assert (tmp_path / "results" / "tiny.csv").exists()
    again = command("run", experiment, *results, "--jobs", 2)
    assert (again[0], ": starts" in again[2]) == (0, False)
    refused = command("run", experiment, *results, "--jobs", 2, "--device", "cuda:99", "--force")
    assert refused[0] == 2
    assert "cuda:99" in refused[2]


@pytest.mark.usefixtures("one_thread")
def test_whatever_happens_to_processes_the_outcome_is_the_same(tmp_path: Path, hold: Path) -> None:
    experiment = write_experiment(tmp_path, 24, 24, 2)
    first, second = runs_of(experiment)
    store = Store(tmp_path / "results")
    where = ("--results", store.root, "--data-dir", tmp_path / "data", "--device", "cpu")
    argv = ("run", experiment, *where, "--jobs", "2", "--checkpoint-every", "0.01s")
    folders = [store.folder(first), store.folder(second)]

    job = start(*argv, "--json")  # interrupted: both save and stop
    await_that(lambda: all(folder.checkpoint.exists() for folder in folders), job)
    job.send_signal(signal.SIGINT)
    code, out, err = finish(job)
    assert (code, json.loads(out)["stopped"]) == (130, "signal")
    assert set(json.loads(out)["runs"].values()) == {"stopped"}
    assert err.count("stopped at iteration") == 2

    job = start(*argv)  # killed: its workers notice, save and end
    await_that(lambda: all(map(is_at_work, folders)), job)
    workers = [owner_of(folder) for folder in folders]
    job.kill()
    assert finish(job)[0] == -signal.SIGKILL
    await_that(lambda: all(store.get(run).state == "stopped" for run in (first, second)))
    await_that(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))

    job = start(*argv, "--json")  # a worker is killed: another one continues its run
    await_that(lambda: is_at_work(folders[0]), job)
    os.kill(owner_of(folders[0]), signal.SIGKILL)
    hold.unlink()
    code, out, err = finish(job)
    assert code == 0
    assert set(json.loads(out)["runs"].values()) == {"done"}
    assert f"{first.id}: its worker is gone (killed" in err

    alone = train_alone([first, second], tmp_path / "alone")
    for run in (first, second):
        assert outcome(store.folder(run)) == outcome(alone.folder(run))
    stored = store.get(first).summary
    assert stored is not None
    assert stored.provenance.sessions == 4


@pytest.mark.usefixtures("one_thread", "quick_processes")
def test_a_time_budget_ends_all_with_75(tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path, 100_000, 50_000, 2)
    where = ("--results", tmp_path / "results", "--data-dir", tmp_path / "data", "--device", "cpu")
    job = start("run", experiment, *where, "--jobs", "2", "--time-budget", "3s", "--json")
    code, out, _ = finish(job)
    assert code == 75
    assert json.loads(out)["stopped"] == "budget"
    assert set(json.loads(out)["runs"].values()) <= {"stopped", "waiting"}


def test_auto_takes_the_fastest_number(tmp_path: Path) -> None:
    runs = runs_of(write_experiment(tmp_path, 4, 2, 16))
    chosen, stop = options(tmp_path), StopFlag()

    def picked(speeds: dict[int, Speed | None], todo: int = 16) -> tuple[int, list[int], str]:
        tried: list[int] = []

        def measure(_run: Any, jobs: int, *_: Any) -> Speed | None:
            tried.append(jobs)
            return speeds[jobs]

        found = pick_jobs(runs[:todo], chosen, stop, measure, most=12)
        return found.jobs, tried, found.why

    faster = {
        1: Speed(100),
        2: Speed(180),
        3: Speed(260),
        4: Speed(300),
        8: Speed(301),
        12: Speed(500),
    }
    assert picked(faster)[:2] == (4, [1, 2, 4, 8]), "not worth it from there on"
    assert "8: 301 images/s" in picked(faster)[2]
    assert picked({1: Speed(100), 2: Speed(104)})[0] == 1
    assert picked(faster, todo=3)[:2] == (3, [1, 2, 3])
    assert picked(faster, todo=1)[:2] == (1, [])
    assert picked({**faster, 4: None})[0] == 2, "four find no memory"
    large = {1: Speed(100, 0.3), 2: Speed(180, 0.3), 4: Speed(900, 0.3)}
    assert picked(large)[:2] == (2, [1, 2]), "four would not fit"


@pytest.mark.usefixtures("one_thread", "quick_processes")
def test_auto_measures_real_trainings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto, "SECONDS", 0.2)
    run = runs_of(write_experiment(tmp_path, 40, 20, 1))[0]
    jobs = min(2, usable_cores())
    speed = measure_speed(run, jobs, options(tmp_path), StopFlag())
    assert speed is not None
    assert speed.images_per_second > 1
    assert 0 < speed.memory_share < 1
    assert not (tmp_path / "results").exists()
