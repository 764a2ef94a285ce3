"""A process on this machine that trains one run, seen from the process that started it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["NOTE", "UNWRITABLE", "Ended", "RunProcess"]

_log = logging.getLogger(__name__)

NOTE = "note: "  # lines of the process that begin with this are passed on
UNWRITABLE = 74  # its exit code where results cannot be written, which is 1 elsewhere; EX_IOERR
SAVING = 600.0  # seconds that a process gets to save before it is killed
KEPT_LINES = 200  # of its output
OUTCOMES = (0, 1, 4, 130)  # exit codes that need no explanation
ERROR = "resnet-repro: "  # the command line's errors begin with this


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (negative: by that signal), and the error it printed."""

    code: int
    error: str = ""


class RunProcess:
    """Runs `resnet-repro train-run` and passes on its notes.

    The process has its own session, so Ctrl-C reaches it only through `stop`. It ends when this
    process is gone. This module does not import torch.

    Args:
        order: an `Order` as JSON.
        threads: the number of its threads.
        note: called with each note, in a thread.
        cores: cores to pin it to, if any.
        passive: whether waiting threads sleep instead of spinning, for shared cores.
    """

    def __init__(
        self,
        order: str,
        threads: int,
        note: Callable[[str], None],
        cores: Sequence[int] = (),
        *,
        passive: bool = False,
    ) -> None:
        command = [sys.executable, "-m", "resnet_repro", "train-run", order]
        command += ["--threads", str(threads), "--cores", ",".join(map(str, cores))]
        variables = {"OMP_NUM_THREADS": str(threads), "PYTHONIOENCODING": "utf-8:backslashreplace"}
        if passive:
            variables |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **variables},
            start_new_session=True,
        )
        self._note = note
        self._printed: deque[str] = deque(maxlen=KEPT_LINES)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            text = line.decode(errors="replace").rstrip()
            if text.startswith(NOTE):
                self._note(text.removeprefix(NOTE))
            elif text:
                _log.debug("%s", text)
                self._printed.append(text)

    def poll(self) -> Ended | None:
        """How it ended; None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        self._reader.join(timeout=1.0)  # its children may keep the pipe open
        return Ended(code, self._error(code))

    def _error(self, code: int) -> str:
        if code == -signal.SIGKILL:
            return "killed, perhaps for want of memory"
        if code < 0:
            return f"ended by {signal.Signals(-code).name}"
        lines = list(self._printed)
        for number in reversed(range(len(lines))):
            if lines[number].startswith(ERROR):
                return "\n".join(lines[number:]).removeprefix(ERROR)
            if lines[number].startswith("Traceback "):  # a bug
                return lines[-1]
        return "" if code in OUTCOMES else "".join(lines[-1:])

    def stop(self) -> None:
        """Ask it to save and end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def close(self, patience: float = SAVING) -> None:
        """Wait until it has saved and ended; kill it if that takes too long."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            if hasattr(os, "killpg"):  # its own child processes
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signal.SIGKILL)
        self._reader.join(timeout=1.0)
        if not self._reader.is_alive():
            self._process.stdout.close()
