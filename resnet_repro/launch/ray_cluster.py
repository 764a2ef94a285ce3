"""`--launcher ray[:ADDRESS]`: runs on the nodes of a Ray cluster."""

from __future__ import annotations

import contextlib
import io
import logging
import math
import os
import secrets
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import filelock

from resnet_repro import provenance
from resnet_repro.errors import ConfigError, StoreError
from resnet_repro.launch.copying import changed_files, put_files
from resnet_repro.launch.messages import Event, TrainOrder, options_elsewhere, read_events
from resnet_repro.launch.pool import Pool
from resnet_repro.launch.ray_node import NodeFacts, NodeWorker, Report
from resnet_repro.launch.where import Where
from resnet_repro.launch.work import is_forced
from resnet_repro.runner import Options, Outcome, Progress
from resnet_repro.spec import Run
from resnet_repro.stop import StopFlag
from resnet_repro.store import RunFolder, Store

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # before it is loaded: nothing goes out

import ray
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayError

_log = logging.getLogger(__name__)

__all__ = ["RayLauncher", "Share", "share_of"]

SILENCE = 60.0  # seconds that a node may be out of reach before its runs go on elsewhere
ASKING_AGAIN = 1.0  # seconds between two tries to reach it meanwhile
FAREWELL = 150.0  # seconds for a worker to save and end
LOCAL_OBJECTS = 100_000_000  # bytes for the object store of a cluster started here


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


def share_of(where: Where, device: str, nodes: Sequence[dict[str, float]], runs: int) -> Share:
    """What a run gets where the command line leaves it open.

    A whole GPU where the cluster has any (and `--device` is not cpu), with its part of its node's
    CPUs. Without GPUs: as many CPUs as still leave room for all runs at once, though at least two
    and at most a whole (the smallest) node.
    """
    gpu_nodes = [node for node in nodes if node.get("GPU", 0) >= 1]
    gpus = where.gpus_per_run
    if gpus is None:
        gpus = 1.0 if gpu_nodes and device != "cpu" else 0.0
    if where.cpus_per_run is not None:
        return Share(where.cpus_per_run, gpus)
    if gpus:
        parts = [int(n.get("CPU", 1) / math.floor(n["GPU"] / gpus)) for n in gpu_nodes]
        return Share(max(1, min(parts, default=1)), gpus)
    sizes = [int(node["CPU"]) for node in nodes if node.get("CPU", 0) >= 1]
    smallest = min(sizes, default=1)
    for cpus in range(smallest, 1, -1):
        if cpus == min(2, smallest) or sum(size // cpus for size in sizes) >= runs:
            return Share(cpus, gpus)
    return Share(1, gpus)


class RayLauncher:
    """Trains every run in a worker process that an actor somewhere in the cluster looks after."""

    def __init__(
        self, where: Where, store: Store, options: Options, stop: StopFlag, progress: Progress
    ) -> None:
        if ":" in options.device or options.device == "mps":
            raise ConfigError(
                f"--device {options.device}: Ray chooses the device; say auto, cuda or cpu"
            )
        self.where, self.stop, self.progress = where, stop, progress
        self.store = Store(store.root.resolve())
        self.options = options_elsewhere(options)
        self.carries_files = False  # True: as if no node shared the results folder

    def run_all(self, runs: Sequence[Run]) -> dict[str, Outcome]:
        """Train what is missing; see `Launcher.run_all`."""
        # Ray prints what happens to nodes on stdout, where `--json` goes.
        with (
            contextlib.redirect_stdout(_Log()),
            _connected(self.where.address),
            self._probe() as probe,
        ):
            list_nodes: Any = ray.nodes
            nodes = [node["Resources"] for node in list_nodes() if node["Alive"]]
            share = share_of(self.where, self.options.device, nodes, max(1, len(runs)))
            self._say_what_is_asked(share, nodes, len(runs))
            device = "cuda" if share.gpus else "cpu"
            pool = Pool(
                self.store,
                self.options,
                self.stop,
                self.progress,
                lambda _: _RaySlot(share, probe, self.store, self.progress),
                max(1, len(runs)),
                lambda _: device,
            )
            return pool.run_all(runs)

    @contextlib.contextmanager
    def _probe(self) -> Iterator[str]:
        """A file in the results folder, by which nodes see whether they share it."""
        if self.carries_files:
            yield ""
            return
        path = self.store.root / f".shared-{secrets.token_hex(8)}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            yield str(path)
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}") from error
        finally:
            path.unlink(missing_ok=True)

    def _say_what_is_asked(
        self, share: Share, nodes: Sequence[dict[str, float]], runs: int
    ) -> None:
        places = sum(share.fits(node) for node in nodes)
        text = f"Ray: {len(nodes)} node{'s' if len(nodes) != 1 else ''}, {share} for each run"
        if places:
            self.progress.note(f"{text}, {min(places, runs)} at a time")
        else:
            self.progress.note(
                f"{text}: no node has as much now; waiting for one (Ctrl-C ends). "
                "--cpus-per-run and --gpus-per-run ask for less"
            )


class _Log(io.TextIOBase):
    """A stream whose lines go to the log (`-v`)."""

    def write(self, text: str) -> int:
        for line in text.splitlines():
            if line.strip():
                _log.debug("%s", line)
        return len(text)


@contextlib.contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """Connect to a cluster, or start one on this machine if none is named and none runs here.

    Raises:
        ConfigError: nothing answers at the address.
    """
    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        try:
            ray.init(address=address or "auto", **quiet)
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            if address is not None or os.environ.get("RAY_ADDRESS"):
                named = address or os.environ["RAY_ADDRESS"]
                raise ConfigError(
                    f"no Ray cluster answers at {named}; start one with: ray start --head"
                ) from error
            ray.init(
                address="local",
                include_dashboard=False,
                object_store_memory=LOCAL_OBJECTS,
                **quiet,
            )
        for number, handler in before.items():
            signal.signal(number, handler)  # Ray puts its own in their place
        yield
    finally:
        ray.shutdown()


class _RaySlot:
    """An actor somewhere in the cluster as a `pool.Slot`."""

    def __init__(self, share: Share, probe: str, store: Store, progress: Progress) -> None:
        self._store, self._progress = store, progress
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
        self._actor.give.remote(order.model_dump_json(), order.run.id, files)
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
        if facts.code != here:
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
        return Event(kind="died", text=f"{where}{text[-1][:200] if text else 'its node is gone'}")

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
