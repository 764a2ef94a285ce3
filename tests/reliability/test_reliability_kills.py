"""A training that is stopped, in whatever way and however often, ends as one that never was."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from short_runs import KeepGoing
from stoppable import ROOT, Driver, assert_whole, the_run, write_experiment
from torch import nn
from training_outcome import outcome

from resnet_repro.data.dataset import Dataset
from resnet_repro.networks.network import build_network
from resnet_repro.spec.recipe_parts import Photographs
from resnet_repro.spec.run import Run
from resnet_repro.training import subject
from resnet_repro.training.checkpoint import pack, unpack
from resnet_repro.training.device import Backend, choose_backend
from resnet_repro.training.feed import make_feed
from resnet_repro.training.trainer import Trainer

KILLS = 20
SAVING = ("--device", "cpu", "--checkpoint-every", "0.02s")


@pytest.fixture(scope="module")
def twin(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, float]:
    """An experiment, what it comes to uninterrupted, and the seconds that its training takes."""
    folder = tmp_path_factory.mktemp("twin")
    experiment = write_experiment(folder, iterations=60, every=20)
    job = driver.start("run", experiment, "--results", folder / "results", *SAVING)
    job.await_training()
    begun = time.monotonic()
    assert job.wait() == 0
    return experiment, outcome(the_run(folder / "results")), time.monotonic() - begun


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_twenty_random_stops_change_nothing(
    driver: Driver, twin: tuple[Path, Any, float], tmp_path: Path, kind: signal.Signals
) -> None:
    experiment, expected, seconds = twin
    moments, kills = random.Random(7), 0
    argv = ("run", experiment, "--results", tmp_path, *SAVING)
    while kills < KILLS:
        job = driver.start(*argv)
        if kills % 5 == 4:  # before the training begins, or right after
            time.sleep(moments.uniform(0.03, 0.3))
        else:
            job.await_training()
            time.sleep(moments.uniform(0, 0.08 * seconds))
        job.kill(kind)
        code = job.wait()
        assert_whole(tmp_path)
        if code == 0:  # sooner than expected, on a machine with other work: another lap
            assert outcome(the_run(tmp_path)) == expected
            shutil.rmtree(tmp_path / "runs")
            continue
        assert code == (-signal.SIGKILL if kind == signal.SIGKILL else 130), job.stderr
        kills += 1
    code, job = driver.run(*argv)
    assert (code, "continues at" in job.stderr) == (0, True)
    assert outcome(the_run(tmp_path)) == expected
    assert not list(the_run(tmp_path).path.glob("*.part"))


def test_a_kill_before_every_write_and_rename_changes_nothing(
    driver: Driver, tmp_path: Path
) -> None:
    """Session n dies at its n-th fsync or rename, with the file half written, then goes on."""
    experiment = write_experiment(tmp_path, iterations=8, every=4)
    argv = ("run", experiment, "--device", "cpu", "--checkpoint-every", "0.000001s", "--results")
    assert driver.run(*argv, tmp_path / "twin")[0] == 0
    results, deaths = tmp_path / "results", 0
    while driver.run(*argv, results, die_at=deaths + 1)[0] == -signal.SIGKILL:
        assert_whole(results)
        deaths += 1
    assert deaths > 15  # past the first checkpoints
    assert outcome(the_run(results)) == outcome(the_run(tmp_path / "twin"))
    assert not list(the_run(results).path.glob("*.part"))


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGUSR1])
def test_signals_save_and_end_with_130(
    driver: Driver, twin: tuple[Path, Any, float], tmp_path: Path, kind: signal.Signals
) -> None:
    experiment, expected, _ = twin
    # Only the stop itself can have saved anything: no checkpoint is due for an hour.
    argv = ("run", experiment, "--results", tmp_path, "--device", "cpu", "--checkpoint-every", "1h")
    job = driver.start(*argv)
    job.await_point(tmp_path)
    job.kill(kind)
    assert (job.wait(), "stopped at iteration" in job.stderr) == (130, True)
    assert_whole(tmp_path)
    code, job = driver.run(*argv)
    assert (code, "continues at" in job.stderr) == (0, True)
    assert outcome(the_run(tmp_path)) == expected


def test_what_was_done_before_is_not_left_after_a_stop(driver: Driver, tmp_path: Path) -> None:
    experiment = write_experiment(tmp_path, iterations=8, every=4, seeds=2)
    argv = ("run", experiment, "--results", tmp_path / "results", "--device", "cpu", "--json")
    code, job = driver.run(*argv, "--seeds", "1,")
    assert code == 0
    (last,) = json.loads(job.stdout)["runs"]
    code, job = driver.run(*argv, terminated_at=6)
    states = json.loads(job.stdout)["runs"]
    assert (code, states.pop(last), list(states.values())) == (130, "done", ["stopped"])
    assert "interrupted, 1 run left: go on by the same command\n" in job.stderr
    assert f"{last}: done" not in job.stderr
    code, job = driver.run(*argv, "--force", terminated_at=6)
    assert sorted(json.loads(job.stdout)["runs"].values()) == ["stopped", "waiting"]
    assert "interrupted, 2 runs left: " in job.stderr


def test_more_interrupts_end_it_at_once_and_tear_nothing(
    driver: Driver, twin: tuple[Path, Any, float], tmp_path: Path
) -> None:
    experiment, expected, _ = twin
    argv = ("run", experiment, "--results", tmp_path, *SAVING)
    job = driver.start(*argv)
    job.await_point(tmp_path)
    for _ in range(50):  # signals that come faster than they are handled count as one
        job.kill(signal.SIGINT)
        time.sleep(0.001)
    assert job.wait() == 130
    assert_whole(tmp_path)
    code, again = driver.run(*argv)
    assert code == 0
    assert "continues at" in again.stderr
    assert outcome(the_run(tmp_path)) == expected


def test_the_second_interrupt_does_not_wait_for_the_first() -> None:
    script = (
        "import os, signal; from resnet_repro.base.stop import StopFlag\n"
        "with StopFlag() as stop:\n"
        "  os.kill(os.getpid(), signal.SIGINT); print(stop.reason, flush=True)\n"
        "  os.kill(os.getpid(), signal.SIGTERM); print(stop.reason, flush=True)\n"
        "  os.kill(os.getpid(), signal.SIGINT); print('still here')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, encoding="utf-8", cwd=ROOT, timeout=30
    )
    assert (ended.returncode, ended.stdout) == (130, "signal\nsignal\n")


def test_a_used_up_time_budget_ends_with_75_and_continues(
    driver: Driver, twin: tuple[Path, Any, float], tmp_path: Path
) -> None:
    experiment, expected, _ = twin
    budget, codes = 0.05, []
    while 0 not in codes:
        argv = ("run", experiment, "--results", tmp_path, *SAVING, "--time-budget", f"{budget}s")
        codes.append(driver.run(*argv)[0])
        budget *= 2
    assert codes == [75] * (len(codes) - 1) + [0]
    assert len(codes) > 1
    assert outcome(the_run(tmp_path)) == expected


class Stops(KeepGoing):
    """Asks to stop when asked for the n-th time, which may be within a test."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    def should_stop(self) -> bool:
        self.left -= 1
        return self.left < 0


def result(trainer: Trainer) -> tuple[list[Any], dict[str, bytes]]:
    """A trainer's curve without times and its weights."""
    points = [(p.iteration, p.lr, p.train_loss, p.test_error) for p in trainer.points]
    network = trainer.network.state_dict()
    return points, {name: tensor.numpy().tobytes() for name, tensor in network.items()}


def run_of(network: str = "resnet-8", **recipe: Any) -> Run:
    """A short run."""
    short = {"iterations": 6, "batch_size": 8, "milestones": [4], "evaluate_every": 3, **recipe}
    return Run.model_validate(
        {"network": network, "dataset": "synthetic", "seed": 3, "recipe": short}
    )


@pytest.mark.usefixtures("one_thread", "narrow")
@pytest.mark.parametrize(
    "recipe",
    [
        {"validation_images": 20, "partial_batch": "drop", "batch_size": 20},
        {"warmup": {"window": 2, "until_train_error": 99}, "momentum_form": "torch"},
    ],
)
def test_a_stop_wherever_it_is_asked_about_changes_nothing(
    small_dataset: Dataset, recipe: dict[str, Any]
) -> None:
    run = run_of(**recipe)
    questions = stopped_at_every_question(run, small_dataset)
    assert questions > run.recipe.iterations + 2  # within tests as well


@pytest.mark.usefixtures("one_thread", "narrow")
def test_a_stop_changes_nothing_with_photographs_either(
    small_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crops and colours, the plateau rule, and while BN's statistics are averaged at the end."""

    def small_network(name: str, classes: int, *settings: Any) -> nn.Module:
        return build_network("plain-8", classes, *settings)

    monkeypatch.setattr(subject, "build_network", small_network)
    sizes = Photographs.for_crop(16).model_dump(mode="json")
    rule = {"patience": 1, "threshold": 99, "divisions": 2}
    recipe = {"photographs": sizes, "plateau": rule, "milestones": [], "bn_average_iterations": 3}
    run = run_of("plain-18", **recipe, evaluate_every=2)
    assert stopped_at_every_question(run, small_dataset) == 6 + 3 + 3 + 3  # points, tests, batches


def stopped_at_every_question(run: Run, dataset: Dataset) -> int:
    """Compare trainings that are stopped when they ask whether to stop with one that is not.

    Returns how often that one asked.
    """
    backend = choose_backend("cpu", "fp32")
    whole = Trainer(run, make_feed(run, dataset, backend), backend)
    asked = Stops(10_000)
    assert whole.train(asked)
    questions = 10_000 - asked.left
    for at in range(questions):
        first = Trainer(run, make_feed(run, dataset, backend), backend)
        assert not first.train(Stops(at))
        assert result(continued(first, dataset, backend)) == result(whole), at
    return questions


def continued(first: Trainer, dataset: Dataset, backend: Backend) -> Trainer:
    """A trainer that ends what another one began."""
    second = Trainer(first.run, make_feed(first.run, dataset, backend), backend)
    second.load_state(unpack(pack(first.state())))
    assert second.train(Stops(10_000))
    return second
