"""A worker process of this machine, seen from the one who started it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence

__all__ = ["WorkerProcess"]

SAVING = 600.0  # seconds that a worker gets to save before it is killed
KEPT_LINES = 40  # of what it printed to stderr


class WorkerProcess:
    """Starts a worker, hands it lines and collects the lines that it answers with.

    What they mean is in `messages`, which a process that only passes them on need not load. The
    worker runs in a session of its own, so that Ctrl-C reaches it only through `stop`, and ends by
    itself when this process is gone. Threads that wait for others do not spin where cores are
    shared (`passive`).
    """

    def __init__(
        self,
        threads: int,
        cores: Sequence[int] = (),
        passive: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        command = [sys.executable, "-m", "resnet_repro.launch.worker", "--threads", str(threads)]
        command += ["--cores", ",".join(map(str, cores))]
        variables = {**os.environ, "OMP_NUM_THREADS": str(threads), **(environment or {})}
        if passive:
            variables |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=variables,
            start_new_session=True,
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._printed: deque[str] = deque(maxlen=KEPT_LINES)
        self._readers = [
            threading.Thread(target=read, daemon=True) for read in (self._hear, self._keep)
        ]
        for reader in self._readers:
            reader.start()
        self._told_death = False

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def _hear(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith(b"\n"):  # the last one may be torn by its death
                self._lines.put(line.decode())

    def _keep(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._printed.append(line.decode(errors="replace").rstrip())

    def say(self, line: str) -> None:
        """Hand over a line; of a worker that is dead already `poll` tells."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def poll(self) -> list[str]:
        """What it has told since, at last that it `died`, for whatever reason."""
        code = self._process.poll()
        if code is not None:  # what it said last may still be on its way; its children's may not
            self._readers[0].join(timeout=1.0)
        lines = []
        with contextlib.suppress(queue.Empty):
            while True:
                lines.append(self._lines.get_nowait())
        if code is not None and not self._told_death:
            self._told_death = True
            lines.append(json.dumps({"kind": "died", "text": self._cause(code)}))
        return lines

    def _cause(self, code: int) -> str:
        if code == -9:  # SIGKILL
            return "killed, perhaps for want of memory"
        if code < 0:
            return f"ended by {signal.Signals(-code).name}"
        self._readers[1].join(timeout=1.0)
        last = next((line for line in reversed(self._printed) if line), "")
        return f"ended with {code}" + (f": {last[:300]}" if last else "")

    def stop(self) -> None:
        """Ask it to save and end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def close(self, patience: float = SAVING) -> None:
        """Let it end, after saving what it is at; kill it if that takes too long."""
        with contextlib.suppress(BrokenPipeError, OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()
        try:
            self._process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            if hasattr(os, "killpg"):  # what it may have left behind
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)
        deadline = time.monotonic() + 1.0
        for reader in self._readers:
            reader.join(timeout=max(0.0, deadline - time.monotonic()))
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None and not any(reader.is_alive() for reader in self._readers):
                pipe.close()
