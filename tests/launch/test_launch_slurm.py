"""`--launcher slurm`: what is submitted, and what its tasks do when they are warned."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from launch_helpers import (
    Silent,
    await_that,
    is_at_work,
    options,
    owner_of,
    runs_of,
    train_alone,
    write_experiment,
)
from made_up_origin import running_summary
from training_outcome import outcome

import resnet_repro
from resnet_repro.base.errors import ConfigError, ReproError
from resnet_repro.base.stop import StopFlag
from resnet_repro.launch.training import in_turn, train_at
from resnet_repro.launch.where import parse_where
from resnet_repro.launch.worker import Order
from resnet_repro.runner.runner import Runner
from resnet_repro.spec.experiment import Choices
from resnet_repro.spec.loading import load_experiment
from resnet_repro.spec.run import Run
from resnet_repro.store.store import Store

pytest.importorskip("submitit")


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnet_repro.launch.slurm.LOOK_EVERY", 0.01)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A make-believe Slurm, whose sbatch keeps the script; where it does."""
    programs, script = tmp_path / "bin", tmp_path / "script.sh"
    programs.mkdir()
    (programs / "sbatch").write_text(
        f'#!/bin/sh\ncp "$1" {script}\necho Submitted batch job 4711\n', encoding="utf-8"
    )
    (programs / "srun").write_text("#!/bin/sh\n", encoding="utf-8")
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return script


def test_one_array_job_is_submitted(command: Any, tmp_path: Path, slurm: Path) -> None:
    experiment = write_experiment(tmp_path, 4, 2, 3)
    more = ("partition=gpu", "gpus-per-node=a100:1", "time=1-12:30", "mem=20G", "export=NONE")
    code, out, err = command(
        "run", experiment, "--launcher", "slurm", "--cpus-per-run", 8, "--data-dir", "data",
        *(part for option in (*more, "setup=module load cuda") for part in ("--slurm", option)),
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "submitted job 4711: 3 runs" in out
    assert "without --launcher, --slurm and --cpus-per-run: it measures" in out
    script = slurm.read_text(encoding="utf-8")
    asked = {
        *("array=0-2%3", "partition=gpu", "gpus-per-node=a100:1", "cpus-per-task=8", "mem=20G"),
        *("time=2190", "signal=USR1@90", "requeue", "export=NONE", "job-name=resnet-repro"),
    }
    lines = set(script.splitlines())
    assert {f"#SBATCH --{option}" for option in asked} <= lines
    assert {"module load cuda", "export PYTHONSAFEPATH=1", "export SLURM_EXPORT_ENV=ALL"} <= lines
    assert any(line.startswith("unset OMP_PROC_BIND ") for line in lines)
    root = Path(resnet_repro.__file__).parents[1]
    assert any(line.startswith(f"export PYTHONPATH={root}") for line in lines)
    assert str(tmp_path / "results" / ".slurm") in script
    assert not (tmp_path / "results" / "runs").exists(), "nothing is trained here"


def test_json_tells_the_job_and_a_finished_run_is_not_submitted(
    command: Any, tmp_path: Path, slurm: Path
) -> None:
    experiment = write_experiment(tmp_path, 4, 4, 2)
    assert (
        command("run", experiment, "--seeds", "1", "--device", "cpu", "--data-dir", "data")[0] == 0
    )
    done, other = (run.id for run in runs_of(experiment))
    code, out, _ = command("run", experiment, "--launcher", "slurm", "--json")
    assert code == 0
    told = json.loads(out)
    assert told["runs"] == {done: "done", other: "submitted"}
    assert told["job"] == "4711"
    slurm.unlink()
    told = command("run", experiment, "--launcher", "slurm", "--slurm", "hold", "--seeds", "1")
    assert not slurm.exists(), "there was nothing to submit"
    assert "run it without --launcher and --slurm to write its files" in told.out


@pytest.mark.parametrize("wait", [(), ("--wait",)])
def test_a_run_that_failed_before_is_submitted_with_force_alone(
    command: Any, tmp_path: Path, slurm: Path, wait: tuple[str, ...]
) -> None:
    experiment = write_experiment(tmp_path, 4, 2, 1)
    (run,) = runs_of(experiment)
    folder = Store(tmp_path / "results").folder(run)
    folder.write_config(run)
    begun = running_summary(run, "2020-01-01T00:00:00Z")
    folder.write_summary(begun.model_copy(update={"state": "failed", "failure": "nan"}))
    line = ("run", experiment, "--launcher", "slurm", "--device", "cpu", "--json")
    code, out, err = command(*line, *wait)
    assert (code, json.loads(out)["runs"]) == (1, {run.id: "failed"})
    assert f"{run.id} failed before; train it again: resnet-repro run " in err
    assert not slurm.exists(), "as where it is trained here"
    if not wait:
        assert json.loads(command(*line, "--force").out)["runs"] == {run.id: "submitted"}
        assert slurm.exists()
        told = command(*line[:-1], "--force").out
        assert "without --launcher and --force: it measures" in told, "or all would begin anew"


def test_with_force_detectors_and_what_they_start_from_need_one_that_waits(
    command: Any, slurm: Path
) -> None:
    line = ("run", "table7", "--preset", "short", "--dataset", "voc:X", "--launcher", "slurm")
    code, _, err = command(*line, "--force")
    assert (code, len(err.splitlines())) == (2, 1)
    assert "add --wait" in err
    assert not slurm.exists()
    assert "submit again" in command(*line).out


def test_a_stop_while_a_named_folder_is_looked_through_submits_nothing(
    command: Any, tmp_path: Path, slurm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(Runner, "check", lambda *_, elsewhere: asked.append(elsewhere))
    code, _, err = command("run", write_experiment(tmp_path, 4, 2, 1), "--launcher", "slurm")
    assert (code, err, asked) == (130, "interrupted, nothing is submitted\n", [True])
    assert not slurm.exists()


def test_without_slurm_it_says_so(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    experiment = write_experiment(tmp_path, 4, 2, 1)
    code, _, err = command("run", experiment, "--launcher", "slurm")
    assert code == 2
    assert "sbatch" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("written", "minutes"),
    [("90", 90), ("10:30", 10), ("4:00:00", 240), ("2-0", 2880), ("1-02:30:00", 1590), ("4h", 240)],
)
def test_times_are_read_as_slurm_reads_them(written: str, minutes: int) -> None:
    from resnet_repro.launch.slurm import slurm_parameters

    where = parse_where(launcher="slurm-local", slurm=[f"time={written}"])
    assert slurm_parameters(where)["time"] == minutes


@pytest.mark.parametrize("written", ["soon", "0", "00:30", "1-2-3"])
def test_other_times_are_refused(written: str) -> None:
    from resnet_repro.launch.slurm import slurm_parameters

    with pytest.raises(ConfigError):
        slurm_parameters(parse_where(launcher="slurm-local", slurm=[f"time={written}"]))


@pytest.mark.parametrize(
    "written",
    [
        *("gpus-per-node=a100:1", "cpus-per-task=²", "cpus-per-task=all", "signal-delay-s=2m"),
        *("array-parallelism=-1", f"cpus-per-task={'9' * 5000}"),
    ],
)
def test_what_should_be_a_whole_number_is_refused_in_one_line(
    command: Any, tmp_path: Path, written: str
) -> None:
    experiment = write_experiment(tmp_path, 4, 2, 1)
    code, _, err = command("run", experiment, "--launcher", "slurm-local", "--slurm", written)
    assert (code, len(err.splitlines())) == (2, 1)
    assert f"--slurm {written[:30]}" in err
    assert "whole number" in err


def test_a_step_gets_the_cores_of_its_job_and_flags_need_no_value() -> None:
    from resnet_repro.launch.slurm import slurm_parameters

    options = ["cpus-per-task=8", "exclusive", "hold", "srun-args=--mpi=none"]
    given = slurm_parameters(parse_where(launcher="slurm-local", slurm=options))
    assert given["srun_args"] == ["--cpus-per-task=8", "--mpi=none"]
    assert given["exclusive"] is True
    assert given["additional_parameters"]["hold"] is True
    asked = parse_where(launcher="slurm-local", cpus_per_run=3)
    assert slurm_parameters(asked)["srun_args"] == ["--cpus-per-task=3"]
    assert "srun_args" not in slurm_parameters(parse_where(launcher="slurm-local"))


@pytest.mark.usefixtures("one_thread")
def test_a_warned_task_saves_is_requeued_and_finishes(
    command: Any, tmp_path: Path, hold: Path
) -> None:
    experiment = write_experiment(tmp_path, 24, 24, 2)
    first, second = runs_of(experiment)
    store = Store(tmp_path / "results")
    warned: list[int] = []

    def warn() -> None:
        """What Slurm does before a task's time is up."""
        folder = store.folder(first)
        await_that(lambda: folder.checkpoint.exists() and is_at_work(folder))
        warned.append(owner_of(folder))
        os.kill(warned[0], signal.SIGUSR1)
        await_that(lambda: store.get(first).state == "stopped")
        hold.unlink()

    warner = threading.Thread(target=warn, daemon=True)
    warner.start()
    code, out, err = command(
        "run", experiment, "--results", "results", "--data-dir", "data", "--device", "cpu",
        "--launcher", "slurm-local", "--wait", "--cpus-per-run", 1, "--json",
        "--checkpoint-every", "0.01s",
    )  # fmt: skip
    warner.join(timeout=60)
    assert code == 0, err
    assert json.loads(out)["runs"] == {first.id: "done", second.id: "done"}
    assert (tmp_path / "results" / "tiny.csv").exists()
    logs = "".join(
        path.read_text(encoding="utf-8") for path in (store.root / ".slurm").glob("*_log.err")
    )
    assert f"{first.id}: stopped at iteration" in logs
    assert f"{first.id}: continues at" in logs
    alone = train_alone([first, second], tmp_path / "alone")
    for run, sessions in ((first, 2), (second, 1)):
        assert outcome(store.folder(run)) == outcome(alone.folder(run))
        summary = store.get(run).summary
        assert summary is not None
        assert summary.provenance.sessions == sessions
    states = json.loads(command("status", "--results", "results", "--json")[1])
    assert [line["state"] for line in states] == ["done", "done"]


def test_runs_that_were_done_are_so_when_the_waiting_ends_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resnet_repro.launch import slurm

    done, submitted = runs_of(write_experiment(tmp_path, 4, 2, 2))
    store = train_alone([done], tmp_path / "results")
    job = SimpleNamespace(job_id="4711_0")
    monkeypatch.setattr(slurm, "submit_job", lambda *_: {submitted.id: job})
    stop, progress = StopFlag(), Silent()
    stop.stop_for("signal")
    runner = Runner(store, options(tmp_path), stop, progress)
    where = parse_where(launcher="slurm", wait=True)
    assert slurm.train_by_slurm(where, runner, [done, submitted]) == {done.id: "done"}
    assert progress.ends == [(done.id, "done")]
    assert progress.notes == ["job 4711: 1 runs", "job 4711 goes on; scancel 4711 ends it, saved"]


@pytest.mark.parametrize("launcher", ["slurm", "slurm-local"])
def test_after_ctrl_c_no_second_job_is_advised(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    experiment = write_experiment(tmp_path, 4, 2, 1)
    (run,) = runs_of(experiment)
    job = SimpleNamespace(job_id="4711_0", done=lambda: os.kill(os.getpid(), signal.SIGINT))
    monkeypatch.setattr("resnet_repro.launch.slurm.submit_job", lambda *_: {run.id: job})
    code, _, err = command("run", experiment, "--launcher", launcher, "--wait", "--device", "cpu")
    assert code == 130
    *_, note, last = err.splitlines()
    how = "go on by the same command"
    if launcher == "slurm":
        assert note.endswith("job 4711 goes on; scancel 4711 ends it, saved")
        how = f"when the job has ended (resnet-repro status), {how}"
    else:
        assert "scancel" not in err, "the terminal's Ctrl-C ends the tasks as well"
    assert last == f"interrupted, 1 run left: {how}"


@pytest.mark.parametrize(
    ("replaces", "begins", "idle"),
    [("2020-01-01T00:00:00Z", True, 0), (None, True, 1), ("2020-01-01T00:00:00Z", False, 1)],
)
def test_iterations_of_what_is_replaced_are_none_of_the_tasks_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replaces: str | None, begins: bool, idle: int
) -> None:
    from resnet_repro.launch.slurm import SlurmTask

    (run,) = runs_of(write_experiment(tmp_path, 100, 50, 1))
    folder = Store(tmp_path / "results").folder(run)
    folder.write_config(run)
    earlier = running_summary(run, "2020-01-01T00:00:00Z").model_copy(update={"iteration": 50})
    folder.write_summary(earlier)

    def train(*_: object) -> str:
        if begins:
            folder.write_summary(running_summary(run, "2021-01-01T00:00:00Z"))  # at its second
        return "stopped"

    monkeypatch.setattr(Order, "train", train)
    order = Order.of(run, Store(tmp_path / "results"), options(tmp_path), replaces)
    task = SlurmTask(order.to_json(), time_budget=None, threads=1)
    assert (task(), task.idle) == ("stopped", idle)


@pytest.mark.parametrize("told", ["done", "stopped"])
def test_a_task_that_says_that_it_is_done_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    """Though the login node may not see its files yet."""
    from resnet_repro.launch import slurm

    (run,) = runs_of(write_experiment(tmp_path, 4, 2, 1))
    job = SimpleNamespace(job_id="4711_0", done=lambda: True, result=lambda: told)
    monkeypatch.setattr(slurm, "submit_job", lambda *_: {run.id: job})
    runner = Runner(Store(tmp_path / "r"), options(tmp_path, force=True), StopFlag(), Silent())
    where = parse_where(launcher="slurm-local", wait=True)
    assert slurm.train_by_slurm(where, runner, [run]) == {run.id: told}


@pytest.mark.parametrize(("force", "expected"), [(True, "stopped"), (False, "done")])
def test_what_was_there_before_is_not_the_outcome_of_a_forced_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool, expected: str
) -> None:
    from resnet_repro.launch import slurm

    (run,) = runs_of(write_experiment(tmp_path, 4, 2, 1))
    store = train_alone([run], tmp_path / "results")
    job = SimpleNamespace(job_id="4711_0", done=lambda: True, result=lambda: "stopped")
    monkeypatch.setattr(slurm, "submit_job", lambda *_: {run.id: job})
    runner = Runner(store, options(tmp_path, force=force), StopFlag(), Silent())
    where = parse_where(launcher="slurm-local", wait=True)
    assert slurm.train_by_slurm(where, runner, [run]) == {run.id: expected}


def test_where_scancel_ended_the_tasks_work_is_left(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = write_experiment(tmp_path, 4, 2, 1)
    (run,) = runs_of(experiment)
    job = SimpleNamespace(job_id="4711_0", done=lambda: True, result=lambda: "stopped")
    monkeypatch.setattr("resnet_repro.launch.slurm.submit_job", lambda *_: {run.id: job})
    code, out, _ = command(
        "run", experiment, "--results", "results", "--data-dir", "data", "--device", "cpu",
        "--launcher", "slurm-local", "--wait", "--json",
    )  # fmt: skip
    assert (code, json.loads(out)["runs"]) == (75, {run.id: "stopped"})


def test_where_scancel_ended_a_pretraining_no_detector_is_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = Choices(preset="short", dataset="voc:X", networks=["faster-rcnn-resnet-18-a"])
    runs = load_experiment("table7", (), choices).resolve()
    (first,), (detector,) = in_turn(runs)
    submitted: list[str] = []

    def submit(_where: Any, _runner: Any, runs: Sequence[Run]) -> dict[str, Any]:
        submitted.extend(run.id for run in runs)
        job = SimpleNamespace(job_id="4711_0", done=lambda: True, result=lambda: "stopped")
        return dict.fromkeys(submitted, job)

    monkeypatch.setattr("resnet_repro.launch.slurm.submit_job", submit)
    runner = Runner(Store(tmp_path / "results"), options(tmp_path), StopFlag(), Silent())
    outcomes = train_at(parse_where(launcher="slurm", wait=True), runner, runs)
    assert submitted == [first.id]
    assert outcomes == {first.id: "stopped", detector.id: "stopped"}


@pytest.mark.parametrize("second", ["SIGUSR1", "SIGTERM"])
@pytest.mark.parametrize("first", ["SIGUSR1", "SIGTERM"])
def test_a_warning_beside_the_end_of_a_job_counts(first: str, second: str) -> None:
    with StopFlag() as stop:
        for name in (first, second):
            signal.raise_signal(signal.Signals[name])
    both = {first, second}
    assert stop.signalled == ("SIGUSR1" if "SIGUSR1" in both else "SIGTERM")


@pytest.mark.usefixtures("one_thread")
def test_a_used_up_time_budget_requeues_but_not_for_ever(tmp_path: Path) -> None:
    from resnet_repro.launch.slurm import SlurmTask

    (run,) = runs_of(write_experiment(tmp_path, 100_000, 50_000, 1))
    results = tmp_path / "results"
    order = Order(run=run, results=results, options=options(tmp_path, checkpoint_every=9e9))
    requeued: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, _: requeued.append(number))
    try:
        task = SlurmTask(order.to_json(), time_budget=2.0, threads=1)
        assert task() == "stopped"
        assert requeued == [signal.SIGUSR1], "submitit's handler is called, which requeues"
        saved = Store(results).get(run).summary
        assert saved is not None
        assert saved.state == "stopped"
        idle = SlurmTask(order.to_json(), time_budget=1e-9, threads=1, idle=1)
        assert idle() == "stopped"
        submission: Any = idle.checkpoint()
        with pytest.raises(ReproError, match="3 sessions without an iteration"):
            submission.function()
    finally:
        signal.signal(signal.SIGUSR1, before)
