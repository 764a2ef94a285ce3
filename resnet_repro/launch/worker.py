"""The process that trains for another: `python -m resnet_repro.launch.worker`.

It reads orders from stdin and answers with events on stdout, one JSON object a line. It saves and
ends on SIGTERM, and when stdin closes: then the process that started it is gone.
"""

from __future__ import annotations

import argparse
import os
import queue
import threading
from typing import TextIO

from resnet_repro.base.stop import StopFlag

__all__ = ["main"]

GO = "go"  # the line that starts the clock of a `SpeedOrder`


class _Lines:
    """The lines of stdin, read by a thread; the end of it stops the work."""

    def __init__(self, stop: StopFlag) -> None:
        self._stop = stop
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        rest = b""
        # Not sys.stdin: its lock, held by this thread, would be in the way of the process's end.
        while data := os.read(0, 1 << 16):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._queue.put(line.decode())
        self._stop.signalled = self._stop.signalled or "EOF"

    def next(self, patience: float | None = None) -> str | None:
        """The next line; None if none comes in time (None: for ever), or when it is time to stop.

        What has arrived is not handed out any more once it is time to stop.
        """
        while not self._stop.reason:
            try:
                return self._queue.get(timeout=0.2 if patience is None else patience)
            except queue.Empty:
                if patience is not None:
                    return None
        return None


def main() -> None:
    """Obey until told to end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cores", default="")
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    cores = {int(core) for core in arguments.cores.split(",") if core}
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)  # before torch is loaded, which looks at it
    told = _private_stdout()
    with StopFlag() as stop:
        lines = _Lines(stop)
        from resnet_repro.launch.work import Work

        work = Work(told, stop, lambda: lines.next(0.0) == GO)
        import torch

        torch.set_num_threads(arguments.threads)
        while (line := lines.next()) is not None:
            if line != GO:
                work.obey(line)


def _private_stdout() -> TextIO:
    """The pipe to the one who listens; what else is printed goes to stderr."""
    told = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    return told


if __name__ == "__main__":
    main()
