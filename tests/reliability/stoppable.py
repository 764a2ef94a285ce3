"""A command line that starts quickly and can be killed, and small trainings for it."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forking
from tiny_experiment import tiny_experiment

import resnet_repro
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.store.store import Store
from resnet_repro.training.checkpoint import unpack

ROOT = Path(resnet_repro.__file__).parent.parent
PATIENCE = 300.0  # seconds; machines have other work


class Job:
    """A running command line."""

    def __init__(self, driver: Driver, pid: int, out: Path, err: Path) -> None:
        self._driver, self.pid, self._out, self._err = driver, pid, out, err

    @property
    def stdout(self) -> str:
        return self._out.read_text(encoding="utf-8")

    @property
    def stderr(self) -> str:
        return self._err.read_text(encoding="utf-8")

    def wait(self) -> int:
        """The exit code, negative for a signal. A traceback is never right."""
        code = self._driver.ask({"do": "wait", "pid": self.pid})
        assert "Traceback" not in self.stderr, self.stderr
        return code

    def await_training(self) -> None:
        """Wait until it says that a training starts or continues, or that nothing is left of it."""
        self._await(lambda: bool(re.search(r": (starts|continues|done)", self.stderr)))

    def await_point(self, results: Path) -> None:
        """Wait until the curve of the only run in `results` has a point."""
        curves = "runs/*/curve.csv"
        self._await(
            lambda: any(p.read_text(encoding="utf-8").count("\n") > 1 for p in results.glob(curves))
        )

    def await_checkpoint(self, results: Path) -> None:
        """Wait until the only run in `results` has a checkpoint."""
        self._await(lambda: any(results.glob("runs/*/checkpoint")))

    def _await(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.stderr
            time.sleep(0.002)

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)


class Driver:
    """Starts command lines in forks of one process that has imported everything."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._numbers = folder, itertools.count()
        self._process = subprocess.Popen(
            [sys.executable, forking.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": f"{ROOT}{os.pathsep}{Path(__file__).parents[1]}",
            },
        )

    def ask(self, request: dict[str, Any]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(json.loads(self._process.stdout.readline()))

    def start(self, *argv: object, **options: Any) -> Job:
        number = next(self._numbers)
        out, err = self._folder / f"{number}.out", self._folder / f"{number}.err"
        request = {"argv": [str(a) for a in argv], "stdout": str(out), "stderr": str(err)}
        pid = self.ask({"do": "start", **request, **options})
        job = Job(self, pid, out, err)
        while not err.exists():
            time.sleep(0.001)
        return job

    def run(self, *argv: object, **options: Any) -> tuple[int, Job]:
        """Run a command line to its end: (exit code, what it printed)."""
        job = self.start(*argv, **options)
        return job.wait(), job

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


def write_experiment(
    folder: Path, iterations: int = 30, every: int = 10, seeds: int | list[int] = 1
) -> Path:
    """A YAML file with one run of ResNet-8 per seed."""
    path = folder / f"tiny-{iterations}-{every}.yaml"
    path.write_text(tiny_experiment("synthetic", iterations, every, seeds), encoding="utf-8")
    return path


def the_run(results: Path) -> RunFolder:
    """The folder of the only run in `results`."""
    (stored,) = Store(results).all_runs()
    return stored.folder


def assert_whole(results: Path, runs: int = 1) -> None:
    """Nothing in a results folder is torn: what a killed process leaves can be read."""
    stored = Store(results).all_runs()
    assert len(stored) <= runs
    for each in stored:
        assert each.problem is None
        for path in (each.folder.checkpoint, each.folder.previous_checkpoint):
            if path.exists():
                unpack(path.read_bytes())
