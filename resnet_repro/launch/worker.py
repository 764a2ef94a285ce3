"""A process that trains one run: its order, starting it, and the command `train-run` that it is.

The hidden command has the exit codes of `run`, but for those named here. Its progress is in the
results folder; notes are printed as lines that begin with `NOTE`, errors as in every command. It
saves and ends on SIGTERM, and when stdin closes because the process that started it is gone.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import sysconfig
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from resnet_repro.base.errors import StoreError
from resnet_repro.base.records import Frozen
from resnet_repro.base.stop import StopFlag
from resnet_repro.data.photos.workers import MOST_WORKERS, VARIABLE
from resnet_repro.plan.progress import Progress
from resnet_repro.runner.options import Options, Outcome, to_replace
from resnet_repro.runner.runner import Runner
from resnet_repro.spec.run import Run
from resnet_repro.store.store import Store

__all__ = [
    "FAILED",
    "UNWRITABLE",
    "Ended",
    "Order",
    "RunProcess",
    "code_folder",
    "import_variables",
    "train_order",
]

_log = logging.getLogger(__name__)

NOTE = "note: "  # lines of the process that begin with this are passed on
UNWRITABLE = 74  # exit code where results cannot be written, which is 1 elsewhere; EX_IOERR
FAILED = 65  # exit code where the results or a note say why; EX_DATAERR
ERROR = "resnet-repro: "  # the command line's errors begin with this
EXIT_CODES = {"done": 0, "failed": FAILED, "locked": 4, "stopped": 130, None: 130}  # by outcome
SAVE_PATIENCE = 600.0  # seconds that a process gets to save before it is killed
KEPT_LINES = 200  # of its output


class Order(Frozen):
    """An order to train a run into a results folder.

    `replaces` is the `StoredRun.last_session` of a result that is to be trained again. Any other
    result there stays: it was made by this order (repeated after a process died or a job was
    requeued) or by another command. Orders of earlier versions hold only its time.
    """

    run: Run
    results: Path
    options: Options  # its `force` is False: `replaces` decides
    replaces: str | None = None

    @classmethod
    def of(cls, run: Run, store: Store, options: Options, replaces: str | None) -> Order:
        """The order for a run, with the options of the command; see `to_replace`."""
        watched = options.observe_gradients & {run.id}
        own = replace(options, force=False, observe_gradients=watched)
        return cls(run=run, results=store.root, options=own, replaces=replaces)

    def to_json(self) -> str:
        """One line of JSON; not pydantic's, which fails for paths that are not UTF-8."""
        return json.dumps(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, text: str) -> Order:
        """The inverse of `to_json`."""
        return cls.model_validate(json.loads(text))

    def with_options(self, **changes: object) -> Order:
        """The order with some options changed."""
        return self.model_copy(update={"options": replace(self.options, **changes)})  # type: ignore[arg-type]

    def with_whole_paths(self) -> Order:
        """The order with absolute paths, for other machines and working directories."""
        folders = {name: path.resolve() for name, path in self.options.folders.items()}
        whole = self.with_options(data_dir=self.options.data_dir.resolve(), folders=folders)
        return whole.model_copy(update={"results": self.results.resolve()})

    @property
    def is_forced(self) -> bool:
        """Whether there is no result of this order yet, so that it begins anew.

        Checkpoints beside a summary that is torn are this order's own: those before went first.
        """
        store = Store(self.results)
        there = to_replace(self.run, store, force=self.replaces is not None)
        if there == "" and self.replaces:
            return not store.folder(self.run).checkpoints()
        return there is not None and f"{there} ".startswith(f"{self.replaces} ")

    def train(self, stop: StopFlag, progress: Progress) -> Outcome | None:
        """Train as ordered; None if it was time to stop before that.

        Raises:
            ReproError: as `Runner.run_all`.
        """
        options = replace(self.options, force=self.is_forced)
        runner = Runner(Store(self.results), options, stop, progress)
        return runner.run_all([self.run]).get(self.run.id)


def code_folder() -> str:
    """The folder from which this package is imported; "" where it is installed, and found there."""
    folder = str(Path(__file__).parents[2])
    return "" if folder == sysconfig.get_path("purelib") else folder


def import_variables(folder: str | None = None) -> dict[str, str]:
    """Variables with which Python imports this package, not one in the working directory.

    `folder` is the `code_folder` to import it from, by default this process's.
    """
    first = code_folder() if folder is None else folder
    path = [part for part in (first, os.environ.get("PYTHONPATH")) if part]
    return {"PYTHONSAFEPATH": "1"} | ({"PYTHONPATH": os.pathsep.join(path)} if path else {})


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (negative: by that signal), and the error it printed."""

    code: int
    error: str = ""


class RunProcess:
    """Runs `resnet-repro train-run` and passes on its notes.

    The process has its own session, so Ctrl-C reaches it only through `stop`. It ends when this
    process is gone.

    Args:
        order: an `Order` as JSON.
        threads: the number of its threads.
        note: called with each note, in a thread.
        cores: cores to pin it to, if any.
        jobs: how many processes like it share this machine's memory.
        workers: how many processes may read photographs for it, unless the user says.
        passive: whether waiting threads sleep instead of spinning, for shared cores.
        code: see `import_variables`.
    """

    def __init__(
        self,
        order: str,
        threads: int,
        note: Callable[[str], None],
        cores: Sequence[int] = (),
        *,
        jobs: int = 1,
        workers: int = 1,
        passive: bool = False,
        code: str | None = None,
    ) -> None:
        command = [sys.executable, "-m", "resnet_repro", "train-run", order]
        command += ["--threads", str(threads), "--cores", ",".join(map(str, cores))]
        variables = {"OMP_NUM_THREADS": str(threads), "PYTHONIOENCODING": "utf-8:backslashreplace"}
        # As torchrun says it: photographs may take a part of the memory.
        variables["LOCAL_WORLD_SIZE"] = str(jobs)
        variables[VARIABLE] = os.environ.get(VARIABLE) or str(min(workers, MOST_WORKERS))
        if passive:
            variables |= {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **import_variables(code), **variables},
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
            known = -code in set(signal.Signals)  # unlike those for real time
            return f"ended by {signal.Signals(-code).name if known else f'signal {-code}'}"
        lines = list(self._printed)
        for number in reversed(range(len(lines))):
            if lines[number].startswith(ERROR):
                return "\n".join(lines[number:]).removeprefix(ERROR)
            if lines[number].startswith("Traceback "):  # a bug
                return lines[-1]
        return "" if code in EXIT_CODES.values() else "".join(lines[-1:])

    def stop(self) -> None:
        """Ask it to save and end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def close(self, patience: float = SAVE_PATIENCE) -> None:
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


def train_order(order: str, threads: int, stop: StopFlag) -> int:
    """Train the run of an `Order`; returns the exit code.

    Raises:
        ReproError: as `Runner.run_all`.
    """
    threading.Thread(target=_stop_when_stdin_closes, args=(stop,), daemon=True).start()
    torch.set_num_threads(threads)
    try:
        return EXIT_CODES[Order.from_json(order).train(stop, _Notes())]
    except StoreError as error:
        error.exit_code = UNWRITABLE
        raise


def _stop_when_stdin_closes(stop: StopFlag) -> None:
    # Not sys.stdin: this thread would hold its lock, which blocks the process's end.
    while os.read(0, 1024):
        pass
    stop.signalled = stop.signalled or "EOF"


class _Notes(Progress):
    """Prints notes; all else is in the results folder."""

    def note(self, text: str) -> None:
        for line in text.splitlines():
            print(f"{NOTE}{line}", flush=True)
