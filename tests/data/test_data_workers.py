"""Worker processes: they end when they should, and say what went wrong; memory that they share."""

from __future__ import annotations

import operator
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_photos import photo

from resnet_repro.base.errors import ConfigError, ReproError
from resnet_repro.base.stop import Stopped
from resnet_repro.data.photos import shared_buffer, workers
from resnet_repro.data.photos.loader import TrainingCrops
from resnet_repro.data.photos.photos import ArrayPhotos
from resnet_repro.data.photos.shared_buffer import SharedBuffer, available_memory
from resnet_repro.data.photos.workers import Workers, default_workers
from resnet_repro.spec.recipe_parts import Photographs

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")


def alive(pid: int) -> bool:
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
            != "Z"
        )
    except OSError:
        return False


class Order:
    """The same eight photographs in every iteration."""

    seed, images = 0, torch.arange(8)

    def batch(self, iteration: int) -> Order:
        return self


def loader(count: int) -> TrainingCrops:
    images = np.stack([np.asarray(photo(n, 40, 40)).transpose(2, 0, 1) for n in range(8)])
    photos = ArrayPhotos(images, np.arange(8), [str(n) for n in range(8)])
    return TrainingCrops(photos, Order(), Photographs.for_crop(32), workers=count)


@needs_proc
def test_no_worker_outlives_its_loader() -> None:
    crops = loader(2)
    crops.batch(0)
    pids = [worker.process.pid for worker in crops._pool._workers]
    assert all(map(alive, pids))
    crops.close()
    assert not any(map(alive, pids))
    crops.close()  # twice does no harm
    with pytest.raises(ReproError, match="have been ended"):
        crops.batch(1)


@needs_proc
def test_no_worker_outlives_a_loader_that_was_forgotten() -> None:
    pids = [worker.process.pid for worker in loader(1)._pool._workers]
    assert not any(map(alive, pids))


def test_a_worker_that_dies_ends_it_with_one_error() -> None:
    with loader(2) as crops:
        crops.batch(0)
        os.kill(crops._pool._workers[0].process.pid, signal.SIGKILL)
        start = time.monotonic()
        with pytest.raises(ReproError, match=r"worker process .*died \(SIGKILL") as caught:
            [crops.batch(iteration) for iteration in range(1, 50)]
        assert time.monotonic() - start < 10
        assert len(str(caught.value).splitlines()) <= 2
        assert not crops._pool._workers


KILLED = """
import os, signal
from resnet_repro.base.stop import Stopped
from resnet_repro.data.photos.workers import Workers
pool = Workers(2)
pool.collect([pool.submit(len) for _ in range(4)])
print(*(worker.process.pid for worker in pool._workers), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@needs_proc
def test_workers_end_when_the_main_process_is_killed() -> None:
    result = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, encoding="utf-8")
    assert result.returncode == -signal.SIGKILL
    pids = [int(pid) for pid in result.stdout.split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 10
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, pids))
    assert result.stderr == ""


INTERRUPTED = """
import signal, time
from resnet_repro.base.stop import Stopped
from resnet_repro.data.photos.workers import Workers
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
with Workers(2) as pool:
    pool.collect([pool.submit(len) for _ in range(4)])
    print("ready", flush=True)
    time.sleep(60)
"""


def test_ctrl_c_is_for_the_main_process_alone() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it
    _, errors = process.communicate(timeout=20)  # which waits for the workers' stderr too
    assert process.returncode == -signal.SIGINT
    assert errors.count("Traceback") == 1


def test_a_bug_in_a_worker_shows_its_traceback() -> None:
    with Workers(1) as pool:
        ticket = pool.submit(divmod, 0)  # of a list: a TypeError
        with pytest.raises(RuntimeError, match=r"(?s)in a worker process.*TypeError"):
            pool.result(ticket)
        assert pool.result(pool.submit(len)) == 0  # and it goes on


@pytest.mark.parametrize("count", [0, 2])
def test_map_keeps_the_order_and_can_be_stopped(count: int) -> None:
    with Workers(count) as pool:
        arguments = [([number],) for number in range(50)]
        # A task gets the list of buffers first; here it is empty.
        assert list(pool.map(operator.add, arguments)) == [[number] for number in range(50)]
        stop = False
        results = pool.map(operator.add, arguments, lambda: stop)
        next(results)
        stop = True
        with pytest.raises(Stopped):
            next(results)


def test_large_tasks_and_results_do_not_block_each_other() -> None:
    load = [bytes(2**20)]
    with Workers(1) as pool:
        tickets = [pool.submit(operator.add, load) for _ in range(8)]
        assert all(found == load for found in pool.collect(tickets))


def test_workers_do_not_import_torch() -> None:
    code = "import sys, resnet_repro.data.photos.worker, resnet_repro.data.photos.tasks as t; "
    code += "print('torch' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True
    )
    assert answer.stdout.strip() == "False"


def test_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RESNET_REPRO_WORKERS", raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    monkeypatch.setattr(workers, "usable_cores", lambda: 12)
    assert default_workers() == 12
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert default_workers() == 1
    monkeypatch.setenv("RESNET_REPRO_WORKERS", "5")
    assert default_workers() == 5
    monkeypatch.setenv("RESNET_REPRO_WORKERS", "many")
    with pytest.raises(ConfigError, match="RESNET_REPRO_WORKERS=many: should be a number"):
        default_workers()


def test_shared_memory_is_shared_and_given_back() -> None:
    buffer = SharedBuffer(1000)
    other = shared_buffer.map_bytes(buffer.descriptor, 1000)
    buffer.bytes[7] = 42
    assert other[7] == 42
    descriptor = buffer.descriptor
    buffer.close()
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(descriptor)
    assert other[7] == 42  # as long as somebody looks at it
    assert len(SharedBuffer(0).bytes) == 0


def test_a_containers_limit_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("5000000\n", encoding="utf-8")
    (tmp_path / "memory.current").write_text("4000000\n", encoding="utf-8")
    (tmp_path / "memory.stat").write_text(
        "anon 3000000\ninactive_file 700000\nfile 900000\n", encoding="utf-8"
    )
    names = ("memory.max", "memory.current", "inactive_file")
    monkeypatch.setattr(shared_buffer, "_CGROUPS", ((str(tmp_path), *names),))
    assert available_memory() == 1_700_000
    (tmp_path / "memory.max").write_text("max\n", encoding="utf-8")
    found = available_memory()
    assert found is None or found > 1_700_000
