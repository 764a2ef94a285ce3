"""Worker processes that decode photographs while the main process trains.

Plain child processes with a socket each, instead of torch's DataLoader or multiprocessing: they
import neither torch nor the main script, start in a fraction of a second, never share locks or
threads with a process that has used them, and end by themselves when their socket closes, however
the main process died.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from resnet_repro.base.errors import ConfigError, DataError, ReproError
from resnet_repro.base.machine import usable_cores
from resnet_repro.base.stop import Stopped
from resnet_repro.data.photos.shared_buffer import SharedBuffer, local_processes

__all__ = ["Workers", "default_workers", "pool_size"]

MOST_WORKERS = 16
VARIABLE = "RESNET_REPRO_WORKERS"
_PATIENCE = 0.2  # seconds between two looks at whether to stop
_FEW = 2  # tasks; done sooner than a process starts
_AHEAD = 3  # tasks that each worker has waiting in `map`
_SOCKET_BYTES = 2**18  # that fit into a socket before sending blocks, as far as the system allows
_INBOX_BYTES = 2**15  # of tasks that may wait there; see `Workers.submit`

_ENDED = "the worker processes that read photographs have been ended"

Task = Callable[..., Any]


def default_workers() -> int:
    """Worker processes for this process: its share of the cores, or what RESNET_REPRO_WORKERS says.

    Raises ConfigError when that is not a number.
    """
    text = os.environ.get(VARIABLE, "")
    if text:
        if not text.isdecimal() or int(text) > 1024:
            raise ConfigError(f"{VARIABLE}={text[:20]}: should be a number of worker processes")
        return int(text)
    if os.name != "posix":  # the descriptors are handed over as only POSIX can
        return 0
    return max(1, min(MOST_WORKERS, usable_cores() // local_processes()))


def pool_size(task_count: int, workers: int | None = None) -> int:
    """How many workers to start for so many tasks that are known beforehand."""
    if workers is None:
        workers = default_workers()
    return 0 if task_count <= _FEW else min(workers, task_count)


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    tasks: dict[int, int] = field(default_factory=dict)  # ticket -> bytes, oldest first


class Workers:
    """A few processes that call functions; with a count of 0 this process calls them itself.

    Tasks are functions of modules that do not import torch; they get the arrays of `buffers` as
    their first argument, then picklable arguments. Which worker does what never shows in a result.
    """

    def __init__(self, count: int, buffers: Sequence[SharedBuffer] = ()) -> None:
        self.buffers = list(buffers)
        self._in_process = count == 0
        self._tickets = itertools.count()
        self._waiting: dict[int, tuple[Task, tuple[Any, ...]]] = {}  # with no workers
        self._results: dict[int, tuple[str, Any]] = {}
        self._workers: list[_Worker] = []
        self._finalizer = weakref.finalize(self, _end, self._workers, os.getpid())
        try:
            for _ in range(count):
                self._workers.append(_start(self.buffers))
        except OSError as error:
            self.close()
            raise ReproError(f"cannot start a worker process: {error.strerror}") from error

    def __len__(self) -> int:
        return len(self._workers)

    def submit(self, task: Task, *arguments: Any) -> int:
        """Have `task` done by the worker with the least to do; returns a ticket for `result`.

        A worker gets another task before it has answered the last only if that surely fits into
        its socket. Otherwise both sides might wait for the other to read.
        """
        ticket = next(self._tickets)
        if self._in_process:
            self._waiting[ticket] = task, arguments
            return ticket
        if not self._workers:
            raise ReproError(_ENDED)
        worker = min(self._workers, key=lambda w: len(w.tasks))
        message = pickle.dumps((task, arguments), pickle.HIGHEST_PROTOCOL)
        while worker.tasks and sum(worker.tasks.values()) + len(message) > _INBOX_BYTES:
            self._receive()
        try:
            worker.connection.send_bytes(message)
        except OSError:
            raise self._death(worker) from None
        worker.tasks[ticket] = len(message)
        return ticket

    def result(self, ticket: int, should_stop: Callable[[], bool] | None = None) -> Any:
        """What the task returned; waits for it.

        Raises:
            DataError: the task did.
            ReproError: the worker died.
            Stopped: `should_stop` said so while waiting.
        """
        if ticket in self._waiting:
            task, arguments = self._waiting.pop(ticket)
            return task([buffer.bytes for buffer in self.buffers], *arguments)
        while ticket not in self._results:
            self._receive()
            if should_stop and should_stop():
                raise Stopped
        kind, value = self._results.pop(ticket)
        if kind == "data":
            raise DataError(value)
        if kind == "bug":
            raise RuntimeError(f"in a worker process:\n{value}")
        return value

    def collect(
        self, tickets: Sequence[int], should_stop: Callable[[], bool] | None = None
    ) -> list[Any]:
        """The results of several tasks. Raises like `result`, but only once all are done."""
        results: list[Any] = []
        try:
            results.extend(self.result(ticket, should_stop) for ticket in tickets)
        finally:
            self.forget(tickets)
        return results

    def forget(self, tickets: Iterable[int]) -> None:
        """Wait until these tasks are done, unless they are collected already; drop the results."""
        for ticket in tickets:
            self._waiting.pop(ticket, None)
            while any(ticket in worker.tasks for worker in self._workers):
                try:
                    self._receive()
                except ReproError:  # no worker is left that could do anything
                    return
            self._results.pop(ticket, None)

    def map(
        self,
        task: Task,
        arguments: Iterable[tuple[Any, ...]],
        should_stop: Callable[[], bool] | None = None,
    ) -> Iterator[Any]:
        """The results of `task` for each of `arguments`, in order, a few of them ahead."""
        tickets: list[int] = []
        pending = iter(arguments)
        while True:
            if should_stop and should_stop():
                raise Stopped
            wanted = _AHEAD * max(1, len(self)) - len(tickets)
            tickets += [self.submit(task, *some) for some in itertools.islice(pending, wanted)]
            if not tickets:
                return
            yield self.result(tickets.pop(0), should_stop)

    def close(self) -> None:
        """End the workers at once; nothing that they do needs to be finished."""
        self._finalizer()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _receive(self) -> None:
        """Take the answers that are there, or wait a moment for one."""
        if not self._workers:
            raise ReproError(_ENDED)
        by_connection = {worker.connection: worker for worker in self._workers}
        for connection in wait(list(by_connection), _PATIENCE):
            worker = by_connection[connection]  # type: ignore[index]
            try:
                answer = worker.connection.recv()
            except (EOFError, OSError):
                raise self._death(worker) from None
            ticket = next(iter(worker.tasks))
            del worker.tasks[ticket]
            self._results[ticket] = answer

    def _death(self, worker: _Worker) -> ReproError:
        """What to tell about a worker that is gone; the others are ended too."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.process.wait(2)
        code = worker.process.returncode
        self.close()
        how = f"exit code {code}"
        if code is None:
            how = "it closed its connection"
        elif code < 0:
            how = next((s.name for s in signal.Signals if s == -code), f"signal {-code}")
            if -code == signal.SIGKILL:
                how += ", often for want of memory"
        return ReproError(
            f"a worker process that reads photographs died ({how})\n"
            f"run the command again; fewer workers ({VARIABLE}=2) need less memory"
        )


def _start(buffers: Sequence[SharedBuffer]) -> _Worker:
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BYTES)
    package_parent = str(Path(__file__).resolve().parents[3])
    paths = [package_parent, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    }
    handed = [f"{theirs.fileno()}", *(f"{b.descriptor}:{b.size}" for b in buffers)]
    try:
        process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-W",
                "ignore",
                "-m",
                f"{__package__}.worker",
                *handed,
            ],
            pass_fds=[theirs.fileno(), *(buffer.descriptor for buffer in buffers)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=environment,
            process_group=0,  # Ctrl-C is for the main process; this one ends with its socket
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return _Worker(process, Connection(ours.detach()))


def _end(workers: list[_Worker], owner: int) -> None:
    if os.getpid() != owner:  # a fork of the owner has only copies
        return
    for worker in workers:
        worker.connection.close()
        worker.process.kill()
    for worker in workers:
        worker.process.wait()
    workers.clear()
