"""Worker processes: they end when they should, and say what went wrong."""

from __future__ import annotations

import fcntl
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_photos import photo

from resnet_repro.base import machine
from resnet_repro.base.errors import ConfigError, DataError, ReproError
from resnet_repro.base.machine import available_memory, usable_cores
from resnet_repro.base.stop import Stopped
from resnet_repro.data.photos import workers
from resnet_repro.data.photos.loader import TrainingCrops
from resnet_repro.data.photos.photos import ArrayPhotos
from resnet_repro.data.photos.workers import default_workers, parallel_map, worker_count
from resnet_repro.spec.recipe_parts import Photographs

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def await_that(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Order:
    """The same eight photographs in every iteration."""

    seed, images = 0, torch.arange(8)

    def batch(self, iteration: int) -> Order:
        return self


@pytest.fixture
def crops() -> Iterator[TrainingCrops]:
    """A loader at work, with two workers."""
    # A DataLoader of another test may have left torch's handler, which raises in the middle.
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    images = [np.asarray(photo(n, 40, 40)) for n in range(8)]
    photos = ArrayPhotos(images, np.arange(8))
    loader = TrainingCrops(photos, Order(), Photographs.for_crop(32), workers=2)
    loader.batch(0)
    yield loader
    loader.close()
    signal.signal(signal.SIGCHLD, before)


def pids() -> list[int]:
    return [child.pid or 0 for child in multiprocessing.active_children()]


def test_no_worker_outlives_its_loader(crops: TrainingCrops) -> None:
    assert len(pids()) == 2
    crops.close()
    assert not pids()
    crops.close()  # twice does no harm
    crops.batch(5)  # and others start where they are needed
    assert len(pids()) == 2
    crops.batch(3)  # a jump needs others as well
    assert len(pids()) == 2


def test_a_worker_that_dies_ends_it_with_one_error(crops: TrainingCrops) -> None:
    handler = signal.getsignal(signal.SIGCHLD)
    os.kill(pids()[0], signal.SIGKILL)
    time.sleep(0.2)  # nothing is raised in the middle of other things
    with pytest.raises(ReproError, match="worker process that reads photographs died") as caught:
        [crops.batch(iteration) for iteration in range(1, 50)]
    assert len(str(caught.value).splitlines()) == 2
    assert not pids()
    assert signal.getsignal(signal.SIGCHLD) is handler


KILLED = """
import fcntl, multiprocessing, os, signal, sys
from resnet_repro.data.photos.workers import parallel_map
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)  # as a run is locked
results = parallel_map(bytes, [2**24] * 50, 2)  # more than fits into a pipe
next(results)
print(*(child.pid for child in multiprocessing.active_children()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@needs_proc
def test_workers_end_when_the_main_process_is_killed(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, lock], capture_output=True, encoding="utf-8"
    )
    assert result.returncode == -signal.SIGKILL
    found = [int(pid) for pid in result.stdout.split()]
    assert len(found) == 2
    await_that(lambda: not any(map(alive, found)))
    assert result.stderr == ""
    with lock.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


INTERRUPTED = """
import signal, time
from resnet_repro.data.photos.workers import parallel_map
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
results = parallel_map(abs, range(50), 2)
next(results)
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print(len(list(results)))
"""


def test_ctrl_c_is_for_the_main_process_alone() -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", INTERRUPTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
    output, errors = process.communicate(timeout=20)  # which waits for the workers' stderr too
    assert (process.returncode, output, errors) == (0, "49\n", "")


STOPPED = """
import multiprocessing, subprocess
from resnet_repro.data.photos.workers import parallel_map
results = parallel_map(abs, range(50), 2)
next(results)
pids = [str(child.pid) for child in multiprocessing.active_children()]
subprocess.run(["kill", "-TERM", *pids], check=True)  # another process than their parent
print(len(pids), len(list(results)))
"""


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="nobody tells who sent a signal")
def test_a_stop_of_the_job_is_not_for_workers() -> None:
    assert printed(STOPPED) == "2 49\n"


DYING = """
import multiprocessing, os, signal, sys, threading, time
from resnet_repro.base.errors import ReproError
from resnet_repro.data.photos.workers import parallel_map

def die(number):
    if number:
        frame = sys._getframe()
        while "done_event" not in frame.f_locals:  # in which the main process tells of the end
            frame = frame.f_back
        if hasattr(frame.f_locals["done_event"], "_cond"):
            frame.f_locals["done_event"]._cond.acquire()
        os.kill(os.getpid(), signal.SIGKILL)

def killed_while_it_writes():
    results = parallel_map(bytes, [2**24] * 50, 2)  # more than fits into a pipe
    next(results)
    time.sleep(0.5)
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
    list(results)

def show(function, *arguments):
    try:
        list(function(*arguments))
    except ReproError as error:
        print(str(error).splitlines()[0], len(multiprocessing.active_children()))

show(killed_while_it_writes)
show(parallel_map, die, range(50), 2)
thread = threading.Thread(target=show, args=[killed_while_it_writes])
thread.start()
thread.join()
"""


def test_one_that_dies_is_noticed_whatever_it_was_doing() -> None:
    died = "a worker process that reads photographs died, often for want of memory 0\n"
    assert printed(DYING) == died * 3


def printed(program: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", program]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=120)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def fail(number: int) -> int:
    if number == 3:
        raise DataError("three is broken")
    return number


@pytest.mark.parametrize("count", [0, 2])
def test_an_error_in_the_data_is_raised_as_it_is(count: int) -> None:
    results = parallel_map(fail, range(9), count)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DataError, match=r"^three is broken$"):
        next(results)
    assert not pids()


def test_a_bug_in_a_worker_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("_utils", "_utils.worker"):  # how soon a worker looks whether it is to end
        monkeypatch.setattr(f"torch.utils.data.{module}.MP_STATUS_CHECK_INTERVAL", 0.1)
    with pytest.raises(TypeError, match=r"(?s)worker process.*Traceback.*len\(\)"):
        list(parallel_map(len, [[], 7], 1))  # type: ignore[list-item]
    gc.collect()  # the traceback, which holds the loader
    deadline = time.monotonic() + 20
    while pids():  # torch 2.11 does not wait for its end
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("count", [0, 2])
def test_the_order_is_kept_and_it_can_be_stopped(count: int) -> None:
    assert list(parallel_map(abs, range(-50, 0), count)) == list(range(50, 0, -1))
    stop = False
    results = parallel_map(abs, range(50), count, lambda: stop)
    next(results)
    stop = True
    with pytest.raises(Stopped):
        next(results)
    assert not pids()


def test_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESNET_REPRO_WORKERS", raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr(workers, "usable_cores", lambda: 12)
    assert default_workers() == 12
    assert [worker_count(range(n)) for n in (2, 5, 50)] == [0, 5, 12]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert default_workers() == 1
    monkeypatch.setenv("RESNET_REPRO_WORKERS", "5")
    assert default_workers() == 5
    monkeypatch.setenv("RESNET_REPRO_WORKERS", "many")
    with pytest.raises(ConfigError, match="RESNET_REPRO_WORKERS=many: should be a number"):
        default_workers()


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("5000000\n", encoding="utf-8")
    (tmp_path / "memory.current").write_text("4000000\n", encoding="utf-8")
    (tmp_path / "memory.stat").write_text(
        "anon 3000000\ninactive_file 700000\nfile 900000\n", encoding="utf-8"
    )
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path)
    assert available_memory() == 1_700_000
    (tmp_path / "memory.max").write_text("max\n", encoding="utf-8")
    found = available_memory()
    assert found is None or found > 1_700_000


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        (["150000 100000"], 2),
        (["20000 100000"], 1),
        (["max 100000"], 64),
        (["3200000", "100000"], 32),
        (["-1", "100000"], 64),
        ([], 64),
    ],
)
def test_a_containers_processor_time_counts(
    files: list[str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    names = [str(number) for number in range(max(1, len(files)))]
    for name, text in zip(names, files, strict=False):
        (tmp_path / name).write_text(f"{text}\n", encoding="utf-8")
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path)
    monkeypatch.setattr(machine, "_CPU_LIMITS", (("", *names),))
    assert usable_cores() == cores


@pytest.mark.parametrize(
    ("groups", "controller", "names"),
    [
        ("0::/slurm/job_7/step_0/user", "", ("memory.max", "memory.current")),
        (
            "9:cpu,cpuacct:/elsewhere\n4:hugetlb,memory:/slurm/job_7/step_0/user\n0::/\n",
            "memory",
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ),
    ],
)
def test_a_jobs_limit_counts_further_out_than_its_own_group(
    groups: str,
    controller: str,
    names: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Slurm limits the job and its step; the task's own group has no limit."""
    step = tmp_path / controller / "slurm" / "job_7" / "step_0"
    (step / "user").mkdir(parents=True)
    for folder, limit in ((step / "user", "max"), (step, "9000000"), (step.parent, "8000000")):
        for name, text in zip((*names, "memory.stat"), (limit, "4000000", ""), strict=True):
            (folder / name).write_text(f"{text}\n", encoding="utf-8")
    read = Path.read_text

    def read_text(path: Path, *how: str, **more: str) -> str:
        return groups if path == Path("/proc/self/cgroup") else read(path, *how, **more)

    monkeypatch.setattr(machine, "_CGROUPS", tmp_path)
    monkeypatch.setattr(Path, "read_text", read_text)
    assert available_memory() == 4_000_000
