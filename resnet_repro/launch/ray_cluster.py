"""`--launcher ray[:ADDRESS]`: runs on the nodes of a Ray cluster."""

from __future__ import annotations

import contextlib
import math
import secrets
from collections.abc import Iterator, Sequence
from typing import Any

import ray

from resnet_repro.base.errors import ConfigError, StoreError
from resnet_repro.base.stop import StopFlag
from resnet_repro.launch.messages import options_elsewhere
from resnet_repro.launch.pool import Pool
from resnet_repro.launch.ray_connection import Log, connected
from resnet_repro.launch.ray_slot import RaySlot, Share
from resnet_repro.launch.where import Where
from resnet_repro.runner.options import Options, Outcome, Progress
from resnet_repro.spec.run import Run
from resnet_repro.store.store import Store

__all__ = ["RayLauncher", "share_of"]


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
            contextlib.redirect_stdout(Log()),
            connected(self.where.address),
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
                lambda _: RaySlot(share, probe, self.store),
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
        except OSError as error:
            raise StoreError(f"cannot write {path}: {error.strerror}") from error
        try:
            yield str(path)
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
