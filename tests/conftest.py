"""The same surroundings everywhere, and calling the command line inside the test's process."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from resnet_repro.base.machine import usable_cores
from resnet_repro.cli import main

MOST_WORKERS = 8  # processes that share the tests, each of which takes half a gigabyte
OURS = ("RESNET_REPRO_", "SLURM_", "SUBMITIT_", "RAY_", "TORCHELASTIC_", "GIT_")
OTHERS = (
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    *("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "MPLBACKEND", "MATPLOTLIBRC"),
)
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]
HANDLERS = {number: signal.getsignal(number) for number in SIGNALS}

# What the user's shell, or the cluster's job that the tests run in, says to the tool itself. The
# processes of pytest-xdist have their surroundings from the one that started them.
if "PYTEST_XDIST_WORKER" not in os.environ:
    for name in list(os.environ):
        if (name.startswith(OURS) and "_TEST" not in name) or name in OTHERS:
            del os.environ[name]
# Before torch is loaded: tiny tensors, and threads that wait for each other on busy cores.
os.environ["OMP_NUM_THREADS"] = "1"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """A process for every core, as far as their memory is likely to be there."""
    return min(usable_cores(), MOST_WORKERS)


def pytest_configure(config: pytest.Config) -> None:
    """What is kept for the machine is kept for these tests alone, in whatever process they are."""
    if "PYTEST_XDIST_WORKER" not in os.environ:  # such have it from the process that started them
        folder = tempfile.mkdtemp(prefix="resnet-repro-cache-")
        os.environ["RESNET_REPRO_CACHE"] = folder
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """This process computes with one thread; what it starts does anyway."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def narrow() -> Iterator[None]:
    """Networks are narrow ones in the module's tests."""
    from narrow_networks import narrow_networks

    with narrow_networks():
        yield


@pytest.fixture
def few_synthetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of `synthetic` the first images alone: a tiny run mostly tests the others."""
    from short_runs import serving, small_synthetic

    monkeypatch.setattr("resnet_repro.data.datasets.load", serving(small_synthetic()))


@pytest.fixture
def quick_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the hardware can do is measured on small tensors, and so badly."""
    from resnet_repro.bench import limits

    monkeypatch.setattr(limits, "PRODUCT_SECONDS", 0.02)
    for name, size in {"SIDE": 256, "IMAGES": 1, "COPIED_BYTES": 2**20}.items():
        monkeypatch.setitem(getattr(limits, name), "cpu", size)


class Answer(NamedTuple):
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def signals_as_before() -> Iterator[None]:
    """`main` ends its process as a rule, and leaves its own handlers, which forks would have."""
    yield
    for number, handler in HANDLERS.items():
        signal.signal(number, handler)


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Answer]:
    """Run `resnet-repro ARGUMENTS` with an empty folder as the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in ("RESNET_REPRO_RESULTS", "RESNET_REPRO_DATA"):
        monkeypatch.delenv(name, raising=False)

    def call(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["resnet-repro", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        code = ended.value.code
        return Answer(code if isinstance(code, int) else 0, printed.out, printed.err)

    return call
