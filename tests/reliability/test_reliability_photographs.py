"""The promises of reliability for runs on photographs, which worker processes read."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from stoppable import Driver, assert_whole, the_run
from test_reliability_together import assert_same_to_rounding, end, start
from training_outcome import outcome

EXPERIMENT = """\
name: photographs
title: A tiny experiment on photographs
dataset: folder:birds
precision: fp32
recipe:
  iterations: 6
  batch_size: 4
  learning_rate: 0.01
  milestones: []
  plateau: {patience: 1, threshold: 99, divisions: 1}
  evaluate_every: 2
  bn_average_iterations: 2
  photographs: {crop: 16}
runs:
  - networks: [plain-18]
measure: [10-crop]
table: {kind: views, views: 10-crop}
"""


def write_photographs(folder: Path, broken: str | None = None) -> None:
    """Two classes, 8 photographs to train on and 5 to test on in each, of different sizes."""
    noise = np.random.default_rng(0)
    for part, count in (("train", 8), ("val", 5)):
        for name in ("owl", "wren"):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                size = (40 + 3 * number, 37 + number, 3)
                image = Image.fromarray(noise.integers(0, 256, size, dtype=np.uint8))
                path = folder / part / name / f"{number}.png"
                image.save(path)
                if f"{part}/{name}/{number}" == broken:
                    path.write_bytes(path.read_bytes()[:-2_000])


# What is looked at here was trained by `narrow` networks.
pytestmark = pytest.mark.usefixtures("narrow")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_photographs(folder / "birds")
    return folder


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("experiment") / "photographs.yaml"
    path.write_text(EXPERIMENT, encoding="utf-8")
    return path


def options(results: Path, data: Path) -> tuple[object, ...]:
    return ("--device", "cpu", "--results", results, "--data-dir", data)


READING: dict[str, Any] = {
    "narrow": True,
    "env": {"RESNET_REPRO_WORKERS": "2"},
}


@pytest.fixture(scope="module")
def alone(
    driver: Driver, experiment: Path, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What comes out of one process that nothing stops."""
    results = tmp_path_factory.mktemp("alone")
    code, job = driver.run("run", experiment, *options(results, data), **READING)
    assert code == 0, job.stderr
    return results


def test_kills_change_nothing(
    driver: Driver, experiment: Path, data: Path, alone: Path, tmp_path: Path
) -> None:
    argv = ("run", experiment, *options(tmp_path, data), "--checkpoint-every", "0.001s")
    moments = random.Random(3)
    for _ in range(3):
        job = driver.start(*argv, **READING)
        job.await_training()
        job.await_checkpoint(tmp_path)
        time.sleep(moments.uniform(0, 0.3))
        job.kill(signal.SIGKILL)
        job.wait()
        assert_whole(tmp_path)
    code, job = driver.run(*argv, **READING)
    assert (code, ": starts" in job.stderr) == (0, False), job.stderr
    assert outcome(the_run(tmp_path)) == outcome(the_run(alone))
    for name in ("evaluations.csv", "scores-10-crop.npz"):
        ours, theirs = (the_run(results).path / name for results in (tmp_path, alone))
        assert ours.read_bytes() == theirs.read_bytes()


def test_two_processes_train_and_test_what_one_does(
    driver: Driver, experiment: Path, data: Path, tmp_path: Path
) -> None:
    """Each reads its share; what they test together is the same to rounding."""
    jobs = start(driver, 2, "run", experiment, *options(tmp_path / "two", data), **READING)
    codes, told = end(jobs)
    assert codes == [0, 0], told
    assert told.count("decoding 16 photographs") == 1
    one = ("run", experiment, "--set", "recipe.micro_batch_size=2")
    assert driver.run(*one, *options(tmp_path / "one", data), **READING)[0] == 0
    assert_same_to_rounding(tmp_path / "two", tmp_path / "one")
    two, alone = (
        np.load(the_run(tmp_path / name).scores("10-crop"))["scores"] for name in ("two", "one")
    )
    assert two.shape == (10, 2)
    np.testing.assert_allclose(two, alone, atol=2e-3)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_broken_photograph_is_named_once(
    driver: Driver, experiment: Path, tmp_path: Path, processes: int
) -> None:
    write_photographs(tmp_path / "birds", broken="train/wren/3")
    argv = ("run", experiment, *options(tmp_path / "results", tmp_path))
    codes, told = end(start(driver, processes, *argv, **READING))
    assert codes == [3] * processes
    assert told.count("resnet-repro: ") == 1
    assert "train/wren/3.png" in told
