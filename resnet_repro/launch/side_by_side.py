"""`--jobs N`: runs side by side on this machine, each in a process with its share of the cores."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from resnet_repro.base.files import locked
from resnet_repro.base.machine import allowed_threads, available_memory, usable_cores
from resnet_repro.launch.pool import Pool
from resnet_repro.launch.worker import Order, RunProcess
from resnet_repro.runner.options import Outcome
from resnet_repro.runner.runner import Runner
from resnet_repro.spec.run import Run
from resnet_repro.training.device import choose_backend
from resnet_repro.training.precision_speed import cache_folder

__all__ = ["pick_jobs", "split_cores", "train_side_by_side"]

# For `--jobs auto` on CPUs. One ResNet-20 with two threads trains within 3% as fast as two with one
# each (docs/performance.md), so fewer cores per job would only cost memory.
CORES_PER_JOB = 2
MEMORY_PER_JOB = 1.5e9  # bytes; ResNet-110 with batches of 128 takes 1.1, CIFAR-10 0.2 more
_TOPOLOGY = Path("/sys/devices/system/cpu")

_log = logging.getLogger(__name__)


def train_side_by_side(
    jobs: int | Literal["auto"], runner: Runner, runs: Sequence[Run]
) -> dict[str, Outcome]:
    """Train the runs that are not done, `jobs` at a time; see `Pool.run_all`."""
    options = runner.options
    devices = devices_for(options.device)
    if jobs == "auto":
        jobs, why = pick_jobs(len(runner.todo(runs)), devices)
        runner.progress.news(f"--jobs auto: {why}")
    if jobs == 1:
        return runner.run_all(runs)
    on_cpu = devices == ["cpu"]
    decided = options.auto_precision
    if on_cpu and any(run.precision == "auto" for run in runs):
        # Decided before the cores are busy, and once for all processes.
        decided = choose_backend("cpu", "auto").precision
    share = max(1, usable_cores() // jobs)
    # On the CPU each job is pinned to its own cores; jobs on a GPU use the CPU little.
    with _may_pin() if on_cpu else contextlib.nullcontext(False) as pins:
        cores = split_cores(jobs) if pins else [()] * jobs
        # On shared cores, waiting threads must not spin: two ResNet-20 with two threads each on two
        # cores trained 2 to 6 times as fast without. On cores of its own, spinning is up to 10%
        # faster.
        passive = not pins or jobs > usable_cores()

        def start(order: Order, place: int) -> RunProcess:
            device, note = devices[place % len(devices)], runner.progress.note
            told = order.with_options(device=device, auto_precision=decided).to_json()
            return RunProcess(
                told,
                allowed_threads(share),
                note,
                cores[place],
                jobs=jobs,
                workers=share,
                passive=passive,
            )

        return Pool(runner, jobs, start).run_all(runs)


@contextlib.contextmanager
def _may_pin() -> Iterator[bool]:
    """Hold the cores that this process may use; gives whether jobs may be pinned to them.

    Not where the system cannot pin processes, nor if another command's jobs have one: commands do
    not see where the others' jobs are, and all would begin with the first core.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    cache = cache_folder()
    with contextlib.ExitStack() as locks:
        held = bool(cores)
        if held and cache is not None:
            folder = cache / f"cores-{platform.node()}"  # a home may be on several machines
            every = (locked(folder / f"{core}.lock", 0) for core in cores)
            held = all(locks.enter_context(lock) for lock in every)
            if not held:
                locks.close()
                _log.info("jobs of another command are pinned to these cores: ours are not")
        yield held


def devices_for(device: str) -> list[str]:
    """The devices for the jobs: every GPU, or the one device that `--device` names.

    Raises:
        ConfigError: the device is not there.
    """
    kind = choose_backend(device, "fp32").device.type
    if kind == "cuda" and ":" not in device:
        import torch

        return [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    return ["cpu" if kind == "cpu" else device]


def pick_jobs(runs: int, devices: Sequence[str]) -> tuple[int, str]:
    """(The number of jobs for `--jobs auto` and so many runs, the reason in words).

    One per GPU; on CPUs as many as have `CORES_PER_JOB` cores and `MEMORY_PER_JOB` each.
    """
    if runs < 2:
        return 1, "there is only one run to train" if runs else "nothing to train"
    if list(devices) != ["cpu"]:
        jobs, reason = len(devices), "one on each GPU"
    else:
        cores, memory, share = usable_cores(), available_memory(), allowed_threads(CORES_PER_JOB)
        jobs, reason = max(1, cores // share), f"{share} of {cores} cores for each"
        if memory is not None and memory < jobs * MEMORY_PER_JOB:
            jobs = max(1, int(memory / MEMORY_PER_JOB))
            reason = f"{memory / 1e9:.1f} GB of memory are free"
    if runs < jobs:
        jobs, reason = runs, "there are no more to train"
    what = "one run after another" if jobs == 1 else f"{jobs} runs side by side"
    return jobs, f"{what} ({reason})"


def split_cores(parts: int, cores: set[int] | None = None) -> list[tuple[int, ...]]:
    """Divide cores (default: those this process may use) into disjoint, equal sets.

    Left-over cores stay unused, so that all parts are equally fast. If there are more parts than
    cores, parts share cores, one each.
    """
    ordered = sorted(os.sched_getaffinity(0) if cores is None else cores, key=_location)
    size = len(ordered) // parts
    if size == 0:
        return [(ordered[part % len(ordered)],) for part in range(parts)]
    return [tuple(ordered[part * size : (part + 1) * size]) for part in range(parts)]


def _location(core: int) -> tuple[int, int, int]:
    """A sorting key by which cores of one socket and one physical core are next to each other."""
    folder = _TOPOLOGY / f"cpu{core}" / "topology"
    try:
        package = int((folder / "physical_package_id").read_text(encoding="utf-8"))
        return package, int((folder / "core_id").read_text(encoding="utf-8")), core
    except (OSError, ValueError):
        return 0, core, core
