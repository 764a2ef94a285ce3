"""Processes that train together: what comes out, how they stop, and what one's end does to all."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from stoppable import ROOT, Driver, Job, the_run, write_experiment
from torch import nn
from torch.distributed import TCPStore
from torch.nn.parallel import DistributedDataParallel
from torchvision.ops.misc import FrozenBatchNorm2d
from training_outcome import outcome

from resnet_repro.training import processes

PATIENCE = 240  # seconds for what takes ten
stores: list[TCPStore] = []  # of launchers that do not end before the tests


def start(
    driver: Driver,
    count: int,
    *argv: object,
    only: dict[int, Any] | None = None,
    env: dict[str, str] | None = None,
    **options: Any,
) -> list[Job]:
    """So many processes of one command line, as a launcher starts them; `only` is for some."""
    stores.append(TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False))
    common = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(stores[-1].port),
        "WORLD_SIZE": str(count),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the launcher holds what they share
        "TORCHELASTIC_RESTART_COUNT": "0",
    }
    return [
        driver.start(
            *argv,
            env={**common, "RANK": str(rank), "LOCAL_RANK": str(rank), **(env or {})},
            alarm=PATIENCE,
            **options,
            **(only or {}).get(rank, {}),
        )
        for rank in range(count)
    ]


def end(jobs: list[Job]) -> tuple[list[int], str]:
    """The exit codes, and what they told on stderr all together."""
    codes = [job.wait() for job in jobs]
    return codes, "".join(job.stderr for job in jobs)


def numbers(results: Path) -> tuple[list[list[float]], dict[str, Any]]:
    """The curve's numbers and the tensors of a run's checkpoint."""
    found = outcome(the_run(results))
    rows = [[float(value) for value in row.values()] for row in found["curve"]]
    return rows, {n: np.frombuffer(b, np.float32) for n, b in found["weights"].items() if b[8:]}


def assert_same_to_rounding(one: Path, other: Path) -> None:
    (curve, weights), (other_curve, others) = numbers(one), numbers(other)
    np.testing.assert_allclose(curve, other_curve, rtol=1e-4)
    assert weights.keys() == others.keys()
    for name, values in weights.items():
        np.testing.assert_allclose(values, others[name], rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_experiment(tmp_path_factory.mktemp("experiment"), iterations=12, every=4)


@pytest.fixture(scope="module")
def alone(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of one process whose batch normalisation sees halves of each batch.

    The recipe of the others says nothing of halves, so this is another run by name.
    """
    folder = tmp_path_factory.mktemp("alone")
    path = write_experiment(folder, iterations=12, every=4)
    argv = ("run", path, "--set", "recipe.micro_batch_size=4", "--device", "cpu")
    assert driver.run(*argv, "--results", folder / "results")[0] == 0
    return folder / "results"


def provenance(results: Path) -> dict[str, Any]:
    return dict(json.loads(the_run(results).summary.read_text(encoding="utf-8"))["provenance"])


@pytest.mark.usefixtures("one_thread")
def test_two_processes_train_what_one_does_in_halves(
    command: Callable[..., Any], experiment: Path, tmp_path: Path
) -> None:
    """Through torchrun, on the real synthetic images."""
    options = ["--set", "recipe.iterations=6", "--set", "recipe.evaluate_every=6"]
    argv = ["run", str(experiment), *options, "--device", "cpu", "--results"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, "-m", "resnet_repro", *argv, str(tmp_path / "two")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE,
    )
    one = command(*argv, tmp_path / "one", "--set=recipe.micro_batch_size=4")
    for code, out, err in ((done.returncode, done.stdout, done.stderr), one):
        assert (code, out.count("wrote "), err.count(": starts")) == (0, 1, 1), err
    assert_same_to_rounding(tmp_path / "two", tmp_path / "one")
    assert (
        provenance(tmp_path / "two")["processes"],
        provenance(tmp_path / "one")["processes"],
    ) == (2, 1)
    assert provenance(tmp_path / "two")["bn_images"] == 4


class OfTorch211(DistributedDataParallel):
    """With the option of torch 2.11."""

    def __init__(
        self,
        network: nn.Module,
        device_ids: Any,
        gradient_as_bucket_view: bool,
        broadcast_buffers: bool = True,
    ) -> None:
        super().__init__(network, broadcast_buffers=broadcast_buffers)


def _in_two(rank: int, meeting: Path) -> None:
    """A process that knows the statistics and one that does not."""
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    network = nn.Sequential(nn.Conv2d(3, 4, 1), FrozenBatchNorm2d(4))
    if rank == 0:
        network[1].running_var.fill_(7.0)
    processes.DistributedDataParallel = OfTorch211  # type: ignore[misc]
    processes.in_parallel(network, torch.device("cpu"))
    dist.destroy_process_group()
    assert bool((network[1].running_var == 7.0).all())


def test_frozen_statistics_are_the_same_in_all_processes(tmp_path: Path) -> None:
    """The first alone reads them with the weights that a detector starts from."""
    fork = multiprocessing.get_context("fork")
    started = [fork.Process(target=_in_two, args=(rank, tmp_path / "meeting")) for rank in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join(PATIENCE)
    assert [process.exitcode for process in started] == [0, 0]


@pytest.mark.parametrize("processes", [1, 4])
def test_what_two_began_another_number_continues(
    driver: Driver, experiment: Path, alone: Path, tmp_path: Path, processes: int
) -> None:
    """A signal to one of them stops both at the same iteration; what BN sees stays as it was."""
    argv = ("run", experiment, "--device", "cpu", "--results", tmp_path)
    jobs = start(driver, 2, *argv)
    jobs[0].await_point(tmp_path)
    jobs[1].kill(signal.SIGTERM)
    codes, told = end(jobs)
    assert (codes, told.count("stopped at iteration")) == ([130, 130], 1)
    if processes == 1:
        code, job = driver.run(*argv)
        assert (code, "batch normalisation" in job.stderr) == (0, False)
        assert provenance(tmp_path)["bn_images"] == 4
        assert_same_to_rounding(tmp_path, alone)
        return
    codes, told = end(start(driver, processes, *argv))
    assert codes == [0] * processes
    assert "batch normalisation saw 4 images before and sees 2 now" in told
    assert provenance(tmp_path)["bn_images"] == 2  # by which tables tell it from the others
    assert len(numbers(tmp_path)[0]) == 3


def test_a_ctrl_c_that_the_launcher_passes_on_as_well_is_one(
    driver: Driver, alone: Path, experiment: Path, tmp_path: Path
) -> None:
    argv = ("run", experiment, "--device", "cpu", "--results", tmp_path)
    jobs = start(driver, 2, *argv)
    jobs[0].await_point(tmp_path)
    for _ in range(3):
        for job in jobs:
            job.kill(signal.SIGINT)
        time.sleep(0.01)
    codes, told = end(jobs)
    assert (codes, told.count("stopped at iteration")) == ([130, 130], 1)
    assert driver.run(*argv)[0] == 0
    assert_same_to_rounding(tmp_path, alone)


@pytest.mark.parametrize("budget", ["1s", "0.001s"])  # the second before the training begins
def test_a_used_up_time_budget_stops_all(driver: Driver, tmp_path: Path, budget: str) -> None:
    long = write_experiment(tmp_path, iterations=10_000, every=5_000)
    argv = ("run", long, "--device", "cpu", "--results", tmp_path / "results")
    only = {1: {"more": ["--time-budget", budget]}}
    codes, told = end(start(driver, 2, *argv, only=only))
    assert (codes, told.count("stopped at iteration")) == ([75, 75], int(budget == "1s"))


def test_a_divergence_marks_the_run_and_all_end(driver: Driver, tmp_path: Path) -> None:
    path = write_experiment(tmp_path, iterations=12, every=4)
    argv = ("--set", "recipe.learning_rate=100", "--set", "recipe.weight_decay=1")
    results = tmp_path / "results"
    jobs = start(driver, 2, "run", path, "--device", "cpu", "--results", results, *argv)
    codes, told = end(jobs)
    assert (codes, told.count(": failed: the ")) == ([1, 1], 1)
    assert "is not finite at iteration" in told


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_in_one_ends_all_with_its_message_and_code(
    driver: Driver, experiment: Path, tmp_path: Path, rank: int
) -> None:
    argv = ("run", experiment, "--device", "cpu", "--results", tmp_path)
    codes, told = end(start(driver, 2, *argv, only={rank: {"unreadable_at": 5}}))
    assert codes == [3, 3]
    assert told.count("resnet-repro: ") == 1
    assert "resnet-repro: images/17.png is not readable any more\n" in told


def test_a_wrong_configuration_is_told_once(driver: Driver, tmp_path: Path) -> None:
    path = write_experiment(tmp_path)
    argv = ("run", path, "--device", "cpu", "--results", tmp_path / "results")
    codes, told = end(start(driver, 3, *argv))  # 8 images cannot be divided by 3
    assert codes == [2, 2, 2]
    assert told.count("resnet-repro: recipe.batch_size: 8 cannot be divided among 3") == 1
    assert not (tmp_path / "results").exists()
    codes, told = end(start(driver, 2, *argv, "--set", "recipe.iterations=0"))
    assert (codes, told.count("resnet-repro: ")) == ([2, 2], 1)


def test_processes_with_different_data_do_not_train_together(
    driver: Driver, experiment: Path, tmp_path: Path
) -> None:
    """Each machine may have a data folder of its own."""
    argv = ("run", experiment, "--device", "cpu", "--results", tmp_path)
    codes, told = end(start(driver, 2, *argv, only={1: {"other_data": True}}))
    assert (codes, told.count("resnet-repro: ")) == ([3, 3], 1)
    assert "resnet-repro: synthetic is not the same in all processes: its SHA-256 is " in told
    assert "000000000000... in process 1; prepare the same copy for each\n" in told
    assert not list(tmp_path.glob("runs/*/*.csv"))


def test_a_killed_process_ends_the_others_and_the_run_continues(
    driver: Driver, experiment: Path, alone: Path, tmp_path: Path
) -> None:
    argv = ("run", experiment, "--device", "cpu", "--results", tmp_path, "--checkpoint-every=0.01s")
    jobs = start(driver, 2, *argv, failure_timeout=0.5)  # not five seconds: no reason will come
    jobs[0].await_point(tmp_path)
    jobs[1].kill(signal.SIGKILL)
    assert jobs[1].wait() == -signal.SIGKILL
    assert jobs[0].wait() == 1
    assert jobs[0].stderr.count("one of the processes ended unexpectedly; run again") == 1
    assert driver.run(*argv)[0] == 0
    assert_same_to_rounding(tmp_path, alone)
