"""A worker somewhere in a Ray cluster, seen from the one who trains there."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any

import filelock
import ray
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayError

from resnet_repro.base import provenance
from resnet_repro.base.errors import ConfigError, StoreError
from resnet_repro.launch.copying import changed_files, put_files
from resnet_repro.launch.messages import Event, TrainOrder, as_line, read_events
from resnet_repro.launch.ray_node import NodeFacts, NodeWorker, Report
from resnet_repro.launch.work import is_forced
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.store.store import Store

__all__ = ["RaySlot", "Share"]

SILENCE = 60.0  # seconds that a node may be out of reach before its runs go on elsewhere
ASKING_AGAIN = 1.0  # seconds between two tries to reach it meanwhile
FAREWELL = 150.0  # seconds for a worker to save and end


@dataclass(frozen=True)
class Share:
    """What one run gets of a node."""

    cpus: int
    gpus: float

    def __str__(self) -> str:
        gpus = f" and {self.gpus:g} GPU" if self.gpus else ""
        return f"{self.cpus} CPU{'s' if self.cpus > 1 else ''}{gpus}"

    def fits(self, node: dict[str, float]) -> int:
        """How many runs a node with these resources trains at a time."""
        by_cpu = int(node.get("CPU", 0)) // self.cpus
        return min(by_cpu, int(node.get("GPU", 0) / self.gpus)) if self.gpus else by_cpu


class RaySlot:
    """An actor somewhere in the cluster as a `pool.Slot`."""

    def __init__(self, share: Share, probe: str, store: Store) -> None:
        self._store = store
        actor_class: Any = ray.remote(NodeWorker)
        self._actor = actor_class.options(
            num_cpus=share.cpus, num_gpus=share.gpus, max_restarts=0, max_task_retries=0
        ).remote(share.cpus)
        self._hello = self._actor.describe.remote(probe)
        self._facts: NodeFacts | None = None
        self._news: Any = None  # a report that is on its way
        self._heard = 0  # reports
        self._reachable = self._asked = time.monotonic()
        self._lock: filelock.BaseFileLock | None = None
        self._folder: RunFolder | None = None
        self._events: list[Event] = []  # of this side
        self._gone = False

    @property
    def ready(self) -> bool:
        """Whether the cluster has found room for it."""
        return self._facts is not None

    def give(self, order: TrainOrder) -> None:
        """Hand over a run, with its files if the node does not share the results folder."""
        assert self._facts is not None
        files = None
        if not self._facts.shares_results:
            self._folder = self._store.folder(order.run)
            if not self._take_lock(self._folder):
                self._events = [
                    Event(kind="ended", outcome="locked"),
                    Event(kind="result", outcome="locked"),
                ]
                return
            if is_forced(order, self._store):
                self._folder.clear()
            files = changed_files(self._folder, {})
        self._actor.give.remote(as_line(order), order.run.id, files)
        self._reachable = time.monotonic()
        self._ask()

    def _ask(self) -> None:
        self._asked = time.monotonic()
        self._news = self._actor.report.remote(self._heard + 1)

    def _take_lock(self, folder: RunFolder) -> bool:
        """Keep others from a run whose files are carried here."""
        folder.make()
        self._lock = filelock.FileLock(folder.lock, timeout=0)
        try:
            self._lock.acquire()
        except filelock.Timeout:
            self._lock = None
            return False
        except OSError as error:
            raise StoreError(f"cannot lock {folder.lock}: {error.strerror}") from error
        folder.sweep()
        return True

    def _let_go(self) -> None:
        self._news = self._folder = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def poll(self) -> list[Event]:
        """What the worker has told since, and `died` when its node does not answer any more."""
        events, self._events = self._events, []
        if self._gone or events:
            return events
        try:
            if self._facts is None:
                self._greet()
            elif self._news is not None:
                events = self._hear()
            self._reachable = time.monotonic()
        except (ActorUnavailableError, GetTimeoutError) as error:
            if time.monotonic() - self._reachable > SILENCE:
                return [self._death(error)]
            if self._news is not None and time.monotonic() - self._asked > ASKING_AGAIN:
                self._ask()
        except RayError as error:
            return [self._death(error)]
        return events

    def _greet(self) -> None:
        if not ray.wait([self._hello], timeout=0)[0]:
            return
        facts: NodeFacts = ray.get(self._hello)
        here = provenance.code_version()[0]
        if not _is_same_code(facts.code, here):
            raise ConfigError(
                f"{facts.host} has resnet-repro {facts.code}, this machine {here}: "
                "install the same version on every node"
            )
        self._facts = facts

    def _hear(self) -> list[Event]:
        if not ray.wait([self._news], timeout=0)[0]:
            return []
        report: Report = ray.get(self._news)
        self._heard += 1
        if self._folder is not None and report.files:
            put_files(self._folder, report.files)
        events = read_events(report.lines)
        over = [event for event in events if event.kind in ("result", "error", "died")]
        if any(event.kind == "died" for event in over):
            self._gone = True
        if over:
            self._let_go()
        else:
            self._ask()
        return [self._named(event) for event in events]

    def _named(self, event: Event) -> Event:
        """The event, an error with the name of the node, which may lack what others have."""
        if event.kind != "error" or self._facts is None:
            return event
        return event.model_copy(update={"text": f"{event.text} (on {self._facts.host})"})

    def _death(self, error: Exception) -> Event:
        self._gone = True
        self._let_go()
        text = str(error).strip().splitlines()
        where = f"{self._facts.host}: " if self._facts else ""
        return Event(
            kind="died", text=f"{where}{text[-1].strip()[:200] if text else 'its node is gone'}"
        )

    def stop(self) -> None:
        """Ask it to save and end; one that has no place yet is simply given up."""
        if self._facts is None:
            self._gone = True
            ray.kill(self._actor)
        elif not self._gone:
            self._actor.stop.remote()

    def close(self) -> None:
        """Take what it saved last and give its place back."""
        if not self._gone:
            with contextlib.suppress(RayError):
                ray.get(self._actor.close.remote(), timeout=FAREWELL)
        self._let_go()
        with contextlib.suppress(RayError, ValueError):
            ray.kill(self._actor)


def _is_same_code(one: str, other: str) -> bool:
    """Whether two versions are the same, and their commits where both are known."""
    (version, _, commit), (other_version, _, other_commit) = (
        one.partition("+"),
        other.partition("+"),
    )
    return version == other_version and (not commit or not other_commit or commit == other_commit)
