"""`--launcher ray[:ADDRESS]`: runs on the nodes of a Ray cluster that share the results folder."""

from __future__ import annotations

import contextlib
import math
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError, TaskCancelledError

from resnet_repro.base.errors import ConfigError, StoreError
from resnet_repro.base.provenance import code_version
from resnet_repro.launch.pool import Pool
from resnet_repro.launch.ray_connection import Log, connected
from resnet_repro.launch.where import Where
from resnet_repro.launch.worker import Ended, Order, RunProcess, code_folder
from resnet_repro.plan.progress import Progress
from resnet_repro.runner.options import Outcome
from resnet_repro.runner.runner import Runner
from resnet_repro.spec.run import Run

__all__ = ["Share", "TaskOnNode", "share_of", "train_on_node", "train_with_ray"]

POLL_EVERY = 0.1  # seconds between two checks of a process by its node
SAVE_PATIENCE = 120.0  # seconds that a process gets to save at the end


@dataclass(frozen=True)
class Share:
    """The CPUs and GPUs of one run."""

    cpus: int
    gpus: float

    def __str__(self) -> str:
        gpus = f" and {self.gpus:g} GPU" if self.gpus else ""
        return f"{self.cpus} CPU{'s' if self.cpus > 1 else ''}{gpus}"

    def fits(self, node: dict[str, float]) -> int:
        """The number of runs that fit on a node with these resources."""
        by_cpu = int(node.get("CPU", 0)) // self.cpus
        return min(by_cpu, int(node.get("GPU", 0) / self.gpus)) if self.gpus else by_cpu


def share_of(where: Where, device: str, nodes: Sequence[dict[str, float]], runs: int) -> Share:
    """The share of a run, as far as the command line does not say.

    One GPU if the cluster has any (and `--device` is not cpu), with a proportional part of its
    node's CPUs. Without GPUs: as many CPUs as allow all runs at once, but at least two and at most
    those of the smallest node.

    Raises:
        ConfigError: `--device` says otherwise.
    """
    gpu_nodes = [node for node in nodes if node.get("GPU", 0) >= 1]
    gpus = where.gpus_per_run
    if gpus is None:
        gpus = 1.0 if gpu_nodes and device != "cpu" else 0.0
    if device != "auto" and (device == "cpu") == (gpus > 0):
        raise ConfigError(f"--device {device}: each run would have {gpus:g} GPUs of this cluster")
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


def train_with_ray(where: Where, runner: Runner, runs: Sequence[Run]) -> dict[str, Outcome]:
    """Train the runs that are not done on a cluster; see `Pool.run_all`.

    Raises:
        ConfigError: `--device` names one device, or not what a run gets; no cluster answers; or its
            nodes do not share the results folder, or have another version.
        StoreError: the results folder cannot be written.
    """
    device = runner.options.device
    if ":" in device or device == "mps":
        raise ConfigError(f"--device {device}: Ray chooses the device; say auto, cuda or cpu")
    todo = runner.todo(runs)
    if not todo:
        return runner.run_all(runs)
    # Ray prints messages about nodes on stdout, where `--json` goes.
    with (
        contextlib.redirect_stdout(Log()),
        connected(where.address),
        _probe(runner.store.root) as probe,
    ):
        list_nodes: Any = ray.nodes
        nodes = [node["Resources"] for node in list_nodes() if node["Alive"]]
        share, code = share_of(where, device, nodes, len(todo)), code_version()[0]
        _say_what_is_asked(runner.progress, share, nodes, len(todo))
        beside = max(1, *map(share.fits, nodes))

        def start(order: Order, place: int) -> TaskOnNode:
            order = order.with_options(device="cuda" if share.gpus else "cpu").with_whole_paths()
            return TaskOnNode(order.to_json(), share, beside, probe, code, runner.progress)

        return Pool(runner, len(todo), start).run_all(runs)


@contextlib.contextmanager
def _probe(results: Path) -> Iterator[Path]:
    """A file in the results folder with which nodes check that they share it."""
    path = results.resolve() / f".shared-{secrets.token_hex(8)}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror}") from error
    try:
        yield path
    finally:
        for file in path.parent.glob(f"{path.name}*"):
            file.unlink(missing_ok=True)


def _say_what_is_asked(
    progress: Progress, share: Share, nodes: Sequence[dict[str, float]], runs: int
) -> None:
    places = sum(share.fits(node) for node in nodes)
    text = f"Ray: {len(nodes)} node{'s' if len(nodes) != 1 else ''}, {share} for each run"
    if places:
        progress.news(f"{text}, {min(places, runs)} at a time")
    else:
        progress.note(
            f"{text}: no node has as much now; waiting for one (Ctrl-C ends). "
            "--cpus-per-run and --gpus-per-run ask for less"
        )


class TaskOnNode:
    """A task of the cluster that trains one run; a `pool.Attempt`."""

    def __init__(
        self, order: str, share: Share, beside: int, probe: Path, code: str, progress: Progress
    ) -> None:
        self._progress = progress
        self._told_to_stop = Path(f"{probe}-{secrets.token_hex(8)}")
        task: Any = ray.remote(train_on_node)
        self._result = task.options(num_cpus=share.cpus, num_gpus=share.gpus, max_retries=0).remote(
            *(order, share.cpus, str(probe), code, str(self._told_to_stop), beside, code_folder())
        )

    def poll(self) -> Ended | None:
        """How it ended; None while it runs. `Pool` decides about tasks of dead nodes."""
        if not ray.wait([self._result], timeout=0)[0]:
            return None
        try:
            ended, notes = ray.get(self._result)
        except TaskCancelledError:
            return Ended(130)
        except RayError as error:
            last = str(error).strip().splitlines()[-1:] or ["its node is gone"]
            text = last[0].strip()[:200]
            if isinstance(error, RayTaskError):  # other runs would have it too
                return Ended(2, f"a node cannot train ({text}): install resnet-repro on every node")
            return Ended(-9, text)
        for note in notes:
            self._progress.note(note)
        return ended  # type: ignore[no-any-return]

    def stop(self) -> None:
        """Have its process save and end; cancel a task that has not started.

        A file in the results folder asks for it as well, since Ray's interrupt can get lost.
        """
        with contextlib.suppress(OSError):
            self._told_to_stop.touch()
        ray.cancel(self._result)

    def close(self) -> None:
        """Wait until it has ended."""
        ray.wait([self._result], timeout=SAVE_PATIENCE)


def train_on_node(
    order: str,
    threads: int,
    probe: str,
    code: str,
    stop: str,
    beside: int,
    folder: str,
) -> tuple[Ended, list[str]]:
    """The task on a node: train a run in a process; returns how that ended, and its notes.

    It ends, after saving, by `ray.cancel` (KeyboardInterrupt) or when the file `stop` exists. As
    many as `beside` may share the node. `folder` is where the command has its code from: Ray's
    worker finds one in the command's working directory first.
    """
    host, here = socket.gethostname(), code_version()[0]
    if not _is_same_code(here, code):
        text = f"{host} has resnet-repro {here}, this machine {code}"
        return Ended(2, f"{text}: install the same version on every node"), []
    if not Path(probe).exists():
        text = f"{host} does not see the results folder {Path(probe).parent}"
        return Ended(2, f"{text}: all nodes have to share it, at the same path"), []
    notes: list[str] = []
    process = RunProcess(order, threads, notes.append, jobs=beside, workers=threads, code=folder)
    try:
        while (ended := process.poll()) is None:
            if stop and Path(stop).exists():
                process.stop()
                stop = ""  # once is enough
            time.sleep(POLL_EVERY)
    finally:
        process.stop()
        process.close(SAVE_PATIENCE)
    if ended.error:  # it may be specific to the node
        ended = replace(ended, error=f"{ended.error} (on {host})")
    return ended, notes


def _is_same_code(one: str, other: str) -> bool:
    """Whether two versions are the same, and their commits (1.0+g1a2b) if both are known."""
    return f"{one}+".startswith(f"{other}+") or f"{other}+".startswith(f"{one}+")
