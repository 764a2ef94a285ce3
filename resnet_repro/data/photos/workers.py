"""Processes that decode photographs while the main process trains: torch's DataLoader.

An item of the DataLoader is a task: to make the batch of an iteration, or to decode some files. So
a training resumes exactly at any iteration, and results do not depend on the number of workers.
What is added to the DataLoader: workers end with the main process, however it ends, and leave
signals to it; one that dies, whatever it was doing, is one plain error; its signal handler does not
stay.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from resnet_repro.base.errors import ConfigError, DataError, ReproError
from resnet_repro.base.machine import local_processes, usable_cores
from resnet_repro.base.stop import Stopped, signals_blocked
from resnet_repro.data.photos.photos import ArrayPhotos, HeldPhotos, Photos

__all__ = [
    "chunks",
    "default_workers",
    "map_files",
    "map_photos",
    "parallel_map",
    "worker_count",
]

_log = logging.getLogger(__name__)

_FORKS = sys.platform == "linux"  # elsewhere each worker gets a copy of the photographs
MOST_WORKERS = 16
VARIABLE = "RESNET_REPRO_WORKERS"
_FEW = 2  # items that are done sooner than a process starts
_CHUNK = 64  # photographs in a task
_FILES = 256  # in a task, where they are not decoded
_USUAL_CODES = (None, 0, -signal.SIGTERM)  # exit codes: still at work, done, ended by torch
_PROGRESS_EVERY = 10.0  # seconds between two progress messages

Item = TypeVar("Item")
Result = TypeVar("Result")


def default_workers(photos: Photos | None = None) -> int:
    """The number of workers for this process: its share of the cores, or RESNET_REPRO_WORKERS.

    None are for `photos` in memory that are small images, or that a worker would have to copy.

    Raises ConfigError if that variable is not a number.
    """
    if isinstance(photos, ArrayPhotos) and not (_FORKS and isinstance(photos, HeldPhotos)):
        return 0
    if os.name != "posix":
        return 0
    text = os.environ.get(VARIABLE, "")
    if text:
        if not text.isdecimal() or int(text) > 1024:
            raise ConfigError(f"{VARIABLE}={text[:20]}: should be a number of worker processes")
        return int(text)
    return max(1, min(MOST_WORKERS, usable_cores() // local_processes()))


def worker_count(items: Collection[Any], photos: Photos | None = None) -> int:
    """The number of workers for some items, which are parts of `photos` or of something else."""
    return min(default_workers(photos), len(items)) if len(items) > _FEW else 0


def parallel_map(
    task: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    should_stop: Callable[[], bool] | None = None,
) -> Generator[Result]:
    """`task(item)` for each of `items` in order, computed ahead by workers (0: in this process).

    Results come through pipes, as containers often have only 64 MB of shared memory.

    Raises:
        DataError: a task did.
        ReproError: a worker died, or cannot be started.
        Stopped: `should_stop` said so between two items.
    """
    results = _in_processes(task, items, workers) if workers else (task(i) for i in items)
    with contextlib.closing(results):
        for result in results:
            if isinstance(result, DataError):
                raise result
            if should_stop and should_stop():
                raise Stopped
            yield result


def map_photos(
    task: Callable[[Photos, range], Result],
    photos: Photos,
    verb: str,
    should_stop: Callable[[], bool] | None = None,
) -> Generator[Result]:
    """`task(photos, part)` for consecutive parts of photographs; raises what `parallel_map` raises.

    Logs how far it is: "decoded 640 of 9,469 photographs".
    """
    parts = list(chunks(len(photos), _CHUNK))
    told = time.monotonic()
    count = worker_count(parts, photos)
    results = parallel_map(partial(task, photos), parts, count, should_stop)
    for part, result in zip(parts, results, strict=True):
        if time.monotonic() - told > _PROGRESS_EVERY:
            told = time.monotonic()
            _log.info(f"{verb} {part.stop:,} of {len(photos):,} photographs")
        yield result


def map_files(
    task: Callable[[Item], Result],
    files: Sequence[Item],
    should_stop: Callable[[], bool] | None = None,
) -> Generator[Result]:
    """`task(file)` for each of `files`, where little is done; raises what `parallel_map` raises."""
    parts = [files[part.start : part.stop] for part in chunks(len(files), _FILES)]
    for results in parallel_map(partial(_each, task), parts, worker_count(parts), should_stop):
        yield from results


def _each(task: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    return [task(item) for item in items]


def chunks(count: int, size: int) -> Iterator[range]:
    """Consecutive ranges of `size` (the last may be shorter) that cover `count` items."""
    return (range(start, min(start + size, count)) for start in range(0, count, size))


class _Tasks:
    """A data set for torch's DataLoader: the sample of an item is the task's result."""

    def __init__(self, task: Callable[[Any], Any]) -> None:
        self.task = task

    def __getitem__(self, item: Any) -> Any:
        try:
            return self.task(item)
        except DataError as error:  # returned, since DataLoader would turn it into a traceback
            return error


def _in_processes(task: Callable[[Any], Any], items: Iterable[Any], workers: int) -> Generator[Any]:
    import torch  # slow to import, so only when needed
    from torch.utils.data import DataLoader

    context = copy.copy(multiprocessing.get_context("fork" if _FORKS else "spawn"))
    context.Event = _Flag  # type: ignore[method-assign, assignment]
    with warnings.catch_warnings():
        # A warning if there are fewer cores than workers.
        warnings.filterwarnings("ignore", "This DataLoader will create")
        loader: DataLoader[Any] = DataLoader(
            _Tasks(task),  # type: ignore[arg-type]
            batch_size=None,
            sampler=items,
            num_workers=workers,
            collate_fn=_unchanged,
            worker_init_fn=_begin_worker,
            multiprocessing_context=context,
            generator=torch.Generator(),  # it draws a number, but not from the training's generator
        )
    others = multiprocessing.active_children()
    try:
        with signals_blocked(), _signal_handler_kept():
            results: Any = iter(loader)
            processes = [one for one in multiprocessing.active_children() if one not in others]
            writer = results._worker_result_queue._writer
            threading.Thread(target=_end_together, args=[processes, writer], daemon=True).start()
    except OSError as error:
        raise ReproError(f"cannot start a worker process: {error.strerror}") from error
    try:
        yield from results
        return
    except RuntimeError as error:
        if "exited unexpectedly" not in str(error):
            raise
    raise ReproError(
        "a worker process that reads photographs died, often for want of memory\n"
        f"run the command again; fewer workers ({VARIABLE}=2) need less memory"
    )


class _Flag:
    """An Event without a lock, which would stay locked if a worker died while it looks."""

    def __init__(self) -> None:
        self._value = multiprocessing.RawValue("b", 0)

    def set(self) -> None:
        self._value.value = 1

    def is_set(self) -> bool:
        return bool(self._value.value)


def _unchanged(result: Any) -> Any:
    return result


@contextlib.contextmanager
def _signal_handler_kept() -> Iterator[None]:
    """Take back the handler of SIGCHLD that torch sets: it would raise anywhere in the code."""
    handler = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, handler)


def _end_together(processes: Sequence[BaseProcess], writer: Connection) -> None:
    """Kill the others if one of `processes` dies; when all have ended, close the pipe of results.

    Else torch waits for ever for the rest of a result whose sender was killed as it wrote it.
    """
    running = list(processes)
    while running:
        wait([process.sentinel for process in running])
        codes = [process.exitcode for process in running]  # None: or another thread is asking
        if any(code not in _USUAL_CODES for code in codes):
            for process in running:
                process.kill()
        running = [process for process, code in zip(running, codes, strict=True) if code is None]
    writer.close()


def _begin_worker(_: int) -> None:
    """Leave the main process's group, which gets Ctrl-C, and end with the main process."""
    os.setpgid(0, 0)
    if hasattr(signal, "sigwaitinfo"):
        threading.Thread(target=_end_when_told, daemon=True).start()
    else:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_when_told() -> None:
    """End at the main process's SIGTERM, with which torch ends workers, but at no other's.

    Who ends a whole job signals all its processes: the main one is still to finish its iteration,
    and may wait for a batch. SIGTERM is blocked in all threads.
    """
    if parent := multiprocessing.parent_process():
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent.pid:
            pass
        os._exit(0)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
