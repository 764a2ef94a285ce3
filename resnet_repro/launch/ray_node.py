"""What runs on a node of a Ray cluster: an actor that looks after one worker process."""

from __future__ import annotations

import json
import shutil
import socket
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from resnet_repro.base import provenance
from resnet_repro.launch.copying import Changes, changed_files, put_files
from resnet_repro.launch.process import WorkerProcess
from resnet_repro.store.run_folder import RunFolder

__all__ = ["NodeFacts", "NodeWorker", "Report"]

LISTENING = 0.5  # seconds that a look at the worker waits for news
SAVING = 120.0  # seconds that the worker gets to save at the end


@dataclass(frozen=True)
class NodeFacts:
    """What a node says of itself."""

    host: str
    code: str  # version, and commit where known
    shares_results: bool  # whether it sees the results folder of the one who asks


@dataclass(frozen=True)
class Report:
    """What a worker told, and the files of its run that changed, where they are carried."""

    lines: list[str]
    files: dict[str, bytes] = field(default_factory=dict)


class NodeWorker:
    """A worker process on this node; ends with the actor. Loads no torch itself."""

    def __init__(self, threads: int) -> None:
        self._process = WorkerProcess(threads)
        self._own: Path | None = None  # a results folder, where none is shared
        self._folder: RunFolder | None = None
        self._seen: Changes = {}
        self._last = (0, Report([]))

    def describe(self, probe: str) -> NodeFacts:
        """Who this is, and whether the file `probe` is to be seen from here."""
        return NodeFacts(socket.gethostname(), provenance.code_version()[0], Path(probe).exists())

    def give(self, order: str, run_id: str, files: dict[str, bytes] | None) -> None:
        """Hand the worker an order. With `files`, those of its run, results stay here.

        They are then carried back in reports.
        """
        self._folder = None
        if files is not None:
            self._own = self._own or Path(tempfile.mkdtemp(prefix="resnet-repro-"))
            self._folder = RunFolder(self._own / "runs" / run_id)
            put_files(self._folder, files)
            self._seen = {}
            changed_files(self._folder, self._seen)  # known already
            order = json.dumps({**json.loads(order), "results": str(self._own)})
        self._process.say(order)

    def report(self, number: int) -> Report:
        """What is new; waits for it a little.

        Asked for the same number again, the answer is the same: the first one got lost.
        """
        if number == self._last[0]:
            return self._last[1]
        deadline = time.monotonic() + LISTENING
        while not (lines := self._process.poll()) and time.monotonic() < deadline:
            time.sleep(0.02)
        files = changed_files(self._folder, self._seen) if self._folder and lines else {}
        report = Report(lines, files)
        self._last = (number, report)
        return report

    def stop(self) -> None:
        """Ask the worker to save and end."""
        self._process.stop()

    def close(self) -> None:
        """End the worker and remove what it stored only here."""
        self._process.close(SAVING)
        if self._own:
            shutil.rmtree(self._own, ignore_errors=True)
