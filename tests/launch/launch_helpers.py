"""Tiny experiments, and what must be the same wherever they are trained."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tiny_experiment import tiny_experiment

from resnet_repro.base.stop import StopFlag
from resnet_repro.data import datasets
from resnet_repro.runner.options import Options
from resnet_repro.runner.runner import Runner
from resnet_repro.spec.experiment import Choices
from resnet_repro.spec.loading import load_experiment
from resnet_repro.spec.run import Run
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.store.store import Store

PATIENCE = 240.0  # seconds; machines have other work


def write_experiment(
    folder: Path, iterations: int, every: int, seeds: int, measure: str = "[]"
) -> Path:
    """A YAML file with a run of ResNet-8 for every seed; what it is trained on is in `data`."""
    path = folder / "tiny.yaml"
    if not (folder / "data").exists():
        shutil.copytree(_few_images(), folder / "data")
    text = tiny_experiment("cifar10", iterations, every, seeds, measure)
    path.write_text(text, encoding="utf-8")
    return path


@functools.cache
def _few_images() -> Path:
    """A data folder with noise for CIFAR-10: what is trained on it is tested at once."""
    data_dir = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, data_dir, ignore_errors=True)
    random = np.random.default_rng(0)
    for part, count in (("train", 10), ("test", 3)):
        for label in range(10):
            folder = data_dir / "images" / part / str(label)
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    datasets.prepare("cifar10", data_dir, data_dir / "images")
    return data_dir


def runs_of(experiment: Path) -> list[Run]:
    """The runs of an experiment's file."""
    return list(load_experiment(str(experiment), (), Choices()).resolve())


class Silent:
    """A `Progress` that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.starts: list[tuple[str, int]] = []
        self.advances: list[str] = []
        self.ends: list[tuple[str, str]] = []

    def started(self, run: Run, iteration: int) -> None:
        self.starts.append((run.id, iteration))

    def advanced(self, run: Run, summary: Any) -> None:
        self.advances.append(run.id)

    def ended(self, run: Run, outcome: str, summary: Any) -> None:
        self.ends.append((run.id, outcome))

    def note(self, text: str) -> None:
        self.notes.append(text)

    news = note


def options(folder: Path, **more: Any) -> Options:
    """How tiny runs are trained."""
    return Options(data_dir=folder / "data", device="cpu", **more)


def train_alone(runs: list[Run], folder: Path) -> Store:
    """Train runs one after another in this process, which has one thread."""
    store = Store(folder)
    outcomes = Runner(store, options(folder.parent), StopFlag(), Silent()).run_all(runs)
    assert set(outcomes.values()) == {"done"}
    return store


def await_that(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Wait until something is so; fail if that takes far too long, or the process ended."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        assert process is None or process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


def is_at_work(folder: RunFolder) -> bool:
    """Whether a run has begun and is not over."""
    with contextlib.suppress(OSError, ValueError):
        return bool(json.loads(folder.summary.read_text(encoding="utf-8"))["state"] == "running")
    return False


def owner_of(folder: RunFolder) -> int:
    """The number of the process that is at work on a run."""
    return int(json.loads(folder.owner.read_text(encoding="utf-8"))["pid"])


def start(*argv: object, **environment: str) -> subprocess.Popen[str]:
    """The command line in a process of its own, with one thread per core that it uses."""
    return subprocess.Popen(
        [sys.executable, "-m", "resnet_repro", *map(str, argv)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a command line; a traceback is never right."""
    out, err = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in err, err
    return process.returncode, out, err
