"""A training that diverges is marked as failed, stays visible, and leaves the others alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from short_runs import KeepGoing
from stoppable import Driver

from resnet_repro.data.dataset import Dataset
from resnet_repro.spec.run import Run
from resnet_repro.store.store import Store
from resnet_repro.training.device import choose_backend
from resnet_repro.training.feed import make_feed
from resnet_repro.training.trainer import DivergenceError, Trainer

# Weight decay of 1 at a rate of 100 multiplies the weights by -99 in every iteration.
DIVERGING = """\
name: diverging
title: One of three diverges
dataset: synthetic
precision: fp32
recipe: {iterations: 30, batch_size: 8, milestones: [], evaluate_every: 10}
runs:
  - networks: [plain-8]
    recipe: {learning_rate: 100, weight_decay: 1}
  - networks: [resnet-8]
    seeds: 2
table: {kind: errors}
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    path = tmp_path / "diverging.yaml"
    path.write_text(DIVERGING, encoding="utf-8")
    return path


def test_it_is_marked_as_failed_and_the_others_go_on(
    driver: Driver, experiment: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    argv = ("run", experiment, "--results", results, "--device", "cpu")
    code, job = driver.run(*argv)
    assert code == 1
    assert "failed: the loss is not finite at iteration" in job.stderr
    states = {run.run.network: run.state for run in Store(results).all_runs() if run.run}
    assert states == {"plain-8": "failed", "resnet-8": "done"}
    failed = Store(results).all_runs()[0]
    assert failed.summary is not None
    at = failed.summary.iteration
    assert failed.summary.failure == f"the loss is not finite at iteration {at}"
    assert "failed: the loss" in driver.run("status", "--results", results)[1].stdout
    table = driver.run("table", experiment, "--results", results)[1].stdout
    assert "1 of 1 failed (seed 0)" in table
    assert "failed" in (results / "diverging.csv").read_text(encoding="utf-8")
    assert driver.run("report", "--results", results)[0] == 0
    assert "failed" in (results / "report.md").read_text(encoding="utf-8")
    code, job = driver.run(*argv)  # not tried again unless asked to
    assert (code, "failed before; train it again: resnet-repro run " in job.stderr) == (1, True)
    assert ": starts" not in job.stderr


def test_fail_fast_stops_at_once(driver: Driver, experiment: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    argv = ("run", experiment, "--results", results, "--device", "cpu", "--fail-fast")
    code, _ = driver.run(*argv)
    assert code == 1
    assert [run.state for run in Store(results).all_runs()] == ["failed"]


def test_a_failed_seed_is_named_beside_the_mean_of_the_rest(driver: Driver, tmp_path: Path) -> None:
    text = DIVERGING.replace("networks: [plain-8]", "networks: [resnet-8]")
    good, bad = text.split("  - networks")[0], tmp_path / "bad.yaml"
    results = tmp_path / "results"
    bad.write_text(
        good + "  - {networks: [resnet-8], seeds: 2}\ntable: {kind: errors}\n", encoding="utf-8"
    )
    assert driver.run("run", bad, "--results", results, "--device", "cpu")[0] == 0
    stored = Store(results).all_runs()[1]
    assert stored.summary is not None
    failed = stored.summary.model_copy(update={"state": "failed", "failure": "made up"})
    stored.folder.write_summary(failed)
    shown = driver.run("table", bad, "--results", results)[1].stdout
    assert "1 of 2" in shown
    assert "1 of 2 failed (seed 1)" in shown


class Saving(KeepGoing):
    """Makes a state after every iteration, as for a checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.states: list[dict[str, Any]] = []

    def on_iteration(self, trainer: Trainer) -> None:
        self.states.append(trainer.state())


def trainer_of(dataset: Dataset, device: str = "cpu", **recipe: Any) -> Trainer:
    short = {"iterations": 40, "batch_size": 8, "milestones": [], "evaluate_every": 40, **recipe}
    run = Run.model_validate(
        {"network": "plain-8", "dataset": "synthetic", "seed": 0, "recipe": short}
    )
    backend = choose_backend(device, "fp32")
    return Trainer(run, make_feed(run, dataset, backend), backend)


@pytest.mark.usefixtures("one_thread")
def test_a_state_after_a_loss_that_is_no_number_is_not_saved(
    small_dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an accelerator the loss is read only now and then: before a checkpoint at the latest."""
    trainer = trainer_of(small_dataset, learning_rate=100, weight_decay=1)
    check = Trainer._check_finite
    monkeypatch.setattr(Trainer, "_check_finite", lambda self: None)
    hooks = Saving()
    hooks.on_iteration = lambda trainer: None  # type: ignore[method-assign]
    with pytest.raises(DivergenceError):
        trainer.train(hooks)  # found at the first point of the curve
    monkeypatch.setattr(Trainer, "_check_finite", check)
    with pytest.raises(DivergenceError, match=r"the loss is not finite at iteration \d+$"):
        trainer.state()


@pytest.mark.usefixtures("one_thread")
def test_a_network_that_tests_as_no_number_has_no_error(small_dataset: Dataset) -> None:
    trainer = trainer_of(small_dataset, iterations=2, evaluate_every=2)
    trainer.network.bn1.running_var.fill_(float("nan"))  # type: ignore[union-attr,operator]
    with pytest.raises(DivergenceError, match="the test loss is not finite at iteration 2"):
        trainer.train(Saving())
    assert not trainer.points


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_nothing_is_saved_after_the_loss_diverged(small_dataset: Dataset) -> None:
    trainer, hooks = trainer_of(small_dataset, "cuda", learning_rate=100, weight_decay=1), Saving()
    with pytest.raises(DivergenceError):
        trainer.train(hooks)
    assert len(hooks.states) < 40
    for state in hooks.states[:-1]:
        assert all(tensor.isfinite().all() for tensor in state["network"].values())
