"""`--jobs N`: runs side by side on one device, each in a process with cores of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from resnet_repro.base.machine import usable_cores
from resnet_repro.base.stop import StopFlag
from resnet_repro.launch.cores import allowed_threads, split_cores
from resnet_repro.launch.messages import Event, SpeedOrder, TrainOrder, as_line, read_events
from resnet_repro.launch.pool import Pool
from resnet_repro.launch.process import WorkerProcess
from resnet_repro.launch.worker import GO
from resnet_repro.plan.estimator import training_cost
from resnet_repro.runner.options import Options, Outcome, Progress
from resnet_repro.runner.runner import Runner
from resnet_repro.spec.run import Run
from resnet_repro.store.store import Store
from resnet_repro.training.device import choose_backend

__all__ = ["LocalSlot", "Places", "SideBySide"]


class LocalSlot:
    """A worker process of this machine as a `pool.Slot`."""

    ready = True  # an order waits in its pipe while it starts

    def __init__(self, process: WorkerProcess) -> None:
        self.process = process

    def give(self, order: TrainOrder | SpeedOrder) -> None:
        """Hand over an order."""
        self.process.say(as_line(order))

    def go(self) -> None:
        """Start the clock of a `SpeedOrder`."""
        self.process.say(GO)

    def poll(self) -> list[Event]:
        """What it has told since."""
        return read_events(self.process.poll())

    def stop(self) -> None:
        """Ask it to save and end."""
        self.process.stop()

    def close(self) -> None:
        """Wait for its end."""
        self.process.close()


class Places:
    """How a machine is divided among `jobs` workers.

    On the CPU each worker is pinned to its own cores and uses as many threads. Workers that train
    on a GPU are not pinned, for their threads do little; several GPUs are taken in turns.

    Raises:
        ConfigError: the device is not there.
    """

    def __init__(self, jobs: int, device: str) -> None:
        self.jobs = jobs
        kind = choose_backend(device, "fp32").device.type
        self.on_cpu = kind == "cpu"
        self.devices = [device]
        if kind == "cuda" and ":" not in device:
            import torch

            self.devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
        self.cores = split_cores(jobs) if self.on_cpu else [()] * jobs
        self.threads = allowed_threads(max(1, usable_cores() // jobs))
        # Threads of several processes that wait for each other on the same cores must not spin:
        # two ResNet-20 with two threads each on two cores trained 2 to 6 times as fast so. Alone,
        # spinning is up to a tenth faster.
        self.passive = not self.on_cpu or jobs > usable_cores()

    def start(self, number: int) -> LocalSlot:
        """Start the worker with this number."""
        return LocalSlot(WorkerProcess(self.threads, self.cores[number], passive=self.passive))

    def decided(self, options: Options, runs: Sequence[Run]) -> Options:
        """Options for the workers, with what a precision of `auto` comes to.

        On the CPU it is found out here, before workers load the cores, so that all have one answer.
        """
        if not self.on_cpu or all(run.precision != "auto" for run in runs):
            return options
        return replace(options, auto_precision=choose_backend("cpu", "auto").precision)

    def device(self, number: int) -> str:
        """The device of the worker with this number."""
        return self.devices[number % len(self.devices)]


class SideBySide:
    """Trains `jobs` runs at a time on this machine; "auto" picks the fastest number first."""

    def __init__(
        self,
        jobs: int | Literal["auto"],
        store: Store,
        options: Options,
        stop: StopFlag,
        progress: Progress,
    ) -> None:
        self.jobs = jobs
        self.store, self.options, self.stop, self.progress = store, options, stop, progress

    def run_all(self, runs: Sequence[Run]) -> dict[str, Outcome]:
        """Train what is missing; see `Launcher.run_all`."""
        jobs = self.jobs
        if jobs == "auto":
            from resnet_repro.launch.auto import pick_jobs

            todo = [run for run in runs if self.options.force or not self.store.get(run).finished]
            if len(todo) > 1:
                self.progress.note("--jobs auto: trying how many are fastest, a few seconds each")
            picked = pick_jobs(todo, self.options, self.stop)
            self.progress.note(f"--jobs auto: {picked.why}")
            jobs = picked.jobs
        if jobs == 1:
            return Runner(self.store, self.options, self.stop, self.progress).run_all(runs)
        # The longest first: started last, it would leave the other workers idle at the end.
        runs = sorted(runs, key=training_cost, reverse=True)
        places = Places(jobs, self.options.device)
        options = places.decided(self.options, runs)
        pool = Pool(
            self.store, options, self.stop, self.progress, places.start, jobs, places.device
        )
        return pool.run_all(runs)
