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
    owner_of,
    runs_of,
    start,
    train_alone,
    write_experiment,
)
from short_runs import Quiet
from training_outcome import outcome

from resnet_repro.launch import side_by_side
from resnet_repro.launch.side_by_side import pick_jobs, train_side_by_side
from resnet_repro.launch.worker import Ended
from resnet_repro.runner.options import Options
from resnet_repro.runner.runner import Runner
from resnet_repro.store.store import Store


@pytest.mark.usefixtures("one_thread")
def test_every_run_is_the_same_as_alone(command: Any, tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path, 8, 8, 2, measure="[gradients, responses]")
    runs = runs_of(experiment)
    results = ("--results", "results", "--data-dir", "data", "--device", "cpu")
    events = importlib.util.find_spec("tensorboard") is not None
    more = ("--json", "--quiet", *(["--tensorboard"] if events else []))
    code, out, err = command("run", experiment, *results, "--jobs", 2, *more)
    assert (code, ": starts" in err) == (0, False), err
    assert json.loads(out)["runs"] == {run.id: "done" for run in runs}
    together, alone = Store(tmp_path / "results"), train_alone(runs, tmp_path / "alone")
    for run in runs:
        assert outcome(together.folder(run)) == outcome(alone.folder(run))
        stored = together.get(run)
        assert stored.summary is not None
        assert (stored.summary.provenance.threads, stored.summary.provenance.sessions) == (1, 1)
        assert {row.measured for row in stored.rows("gradients")} == {"training"}, "observed there"
        assert stored.rows("responses"), "measured here"
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
    assert f"{first.id}: its process is gone (killed" in err

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


@pytest.mark.usefixtures("one_thread", "quick_processes")
def test_what_fails_in_a_process_ends_as_it_does_alone(command: Any, tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path, 100, 100, 2)
    argv = ("run", experiment, "--results", "results", "--data-dir", "nowhere", "--device", "cpu")
    alone = command(*argv)
    assert command(*argv, "--jobs", 2) == alone
    assert (alone.code, len(alone.err.splitlines())) == (3, 2)
    changes = ("--set", "recipe.learning_rate=100", "--set", "recipe.weight_decay=1")
    diverges = ("--data-dir", "data", *changes)
    code, out, err = command(*argv, *diverges, "--jobs", 2, "--json")
    assert code == 1, err
    assert set(json.loads(out)["runs"].values()) == {"failed"}
    assert err.count("failed: ") == 2
    again = command(*argv, *diverges, "--jobs", 2)
    assert again.code == 1
    assert again.err.count("failed before; train it again: resnet-repro run ") == 2


def test_the_command_of_the_processes_is_not_for_people(command: Any) -> None:
    assert "train-run" not in command("--help").out


class Told:
    """Ends at once as done; keeps the cores and whether waiting threads sleep, by its order."""

    seen: list[tuple[list[int], bool]]

    def __init__(self, _order: str, *given: Any, passive: bool, **_: Any) -> None:
        self.seen.append((list(given[-1]), passive))

    def poll(self) -> Ended:
        return Ended(0)

    def close(self) -> None: ...


def test_where_nothing_can_be_pinned_waiting_threads_sleep(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Told.seen = []
    monkeypatch.setattr(side_by_side, "RunProcess", Told)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)  # as on macOS
    told: Any = Quiet()
    options = Options(data_dir=tmp_path / "data", device="cpu")
    runner = Runner(Store(tmp_path / "results"), options, told, told)
    train_side_by_side(2, runner, runs_of(write_experiment(tmp_path, 4, 2, 2)))
    assert Told.seen == [([], True)] * 2


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no system call that pins")
def test_commands_beside_each_other_do_not_take_the_same_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pinned: list[tuple[str, list[int], bool]] = []
    runs = runs_of(write_experiment(tmp_path, 4, 2, 2))
    told: Any = Quiet()

    def train(name: str) -> None:
        options = Options(data_dir=tmp_path / "data", device="cpu")
        train_side_by_side(2, Runner(Store(tmp_path / name), options, told, told), runs)

    class Process:
        """Notes where it is pinned; the first begins another command while it runs itself."""

        def __init__(self, order: str, *given: Any, passive: bool, **_: Any) -> None:
            self.name = Path(json.loads(order)["results"]).name
            pinned.append((self.name, list(given[-1]), passive))

        def poll(self) -> Ended:
            if len(pinned) == 2:
                train("second")
            return Ended(0)

        def close(self) -> None: ...

    monkeypatch.setenv("RESNET_REPRO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(side_by_side, "RunProcess", Process)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    train("first")
    own = [("first", [3], False), ("first", [5], False)]
    assert pinned == [*own, ("second", [], True), ("second", [], True)]
    train("later")
    assert [cores for _, cores, _ in pinned[4:]] == [[3], [5]], "they are free again"


def test_auto_is_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(side_by_side, "usable_cores", lambda: 64)
    free: list[float | None] = [1e12]
    monkeypatch.setattr(side_by_side, "available_memory", lambda: free[0])
    assert pick_jobs(0, ["cpu"])[0] == pick_jobs(1, ["cuda:0", "cuda:1"])[0] == 1
    assert pick_jobs(99, ["cpu"]) == (32, "32 runs side by side (2 of 64 cores for each)")
    assert pick_jobs(5, ["cpu"]) == (5, "5 runs side by side (there are no more to train)")
    free[0] = 16e9
    assert pick_jobs(99, ["cpu"]) == (10, "10 runs side by side (16.0 GB of memory are free)")
    free[0] = None  # unknown
    assert pick_jobs(99, ["cpu"])[0] == 32
    assert pick_jobs(99, ["cuda:1"]) == (1, "one run after another (one on each GPU)")
    assert pick_jobs(99, ["cuda:0", "cuda:1"])[0] == 2
    monkeypatch.setattr(side_by_side, "usable_cores", lambda: 2)
    assert pick_jobs(9, ["cpu"]) == (1, "one run after another (2 of 2 cores for each)")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert pick_jobs(9, ["cpu"])[0] == 2, "no more cores for each than threads"


def test_auto_says_what_it_chose(command: Any, tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path, 2, 2, 1)
    results = ("--results", "results", "--data-dir", "data", "--device", "cpu")
    code, _, err = command("run", experiment, *results, "--jobs", "auto")
    assert code == 0
    assert "--jobs auto: there is only one run to train" in err
