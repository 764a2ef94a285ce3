"""Training speed here: ours, the textbook loop's and the hardware's limit, interleaved.

The contenders take turns, a few seconds each, round after round, so that a machine that slows down
or is shared slows all of them: ratios are taken within a round. Each network has a process of its
own, so that what one leaves in memory is not counted for the next.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from resnet_repro.base.errors import ConfigError, ReproError
from resnet_repro.base.records import first_problem
from resnet_repro.bench.limits import (
    LargeProducts,
    WorkCounter,
    launch_seconds,
    memory_bandwidth,
)
from resnet_repro.bench.textbook import TextbookLoop
from resnet_repro.data import datasets
from resnet_repro.data.boxes.boxes import BoxDataset
from resnet_repro.networks.blocks import fuse
from resnet_repro.networks.outline import outline
from resnet_repro.spec.network_names import parse_network
from resnet_repro.spec.presets import preset_recipe
from resnet_repro.spec.run import Precision, Run
from resnet_repro.training.device import Backend, choose_backend, hardware_name
from resnet_repro.training.feed import make_feed
from resnet_repro.training.graph import graph_wanted
from resnet_repro.training.subject import check_compiled
from resnet_repro.training.trainer import Trainer

__all__ = [
    "Plan",
    "TrainingMeasurement",
    "bench_run",
    "measure_network",
    "median_and_range",
    "speed",
]

# Iterations before the clock of a loop's first turn counts; later turns have one. On a GPU the
# fourth is captured as a graph.
WARM_UP = 4
PATIENCE = 10.0  # seconds that a process gets to end by itself


@dataclass(frozen=True)
class TrainingMeasurement:
    """Speeds of one network on one device: medians over rounds, with the lowest and the highest."""

    hardware: str
    device: str
    precision: str
    threads: int
    torch: str
    network: str
    crop: int | None  # pixels of a photograph's side; None for 32x32 images
    batch_size: int
    rounds: int
    images_per_second: float
    images_per_second_low: float
    images_per_second_high: float
    textbook_images_per_second: float | None
    ratio: float | None  # ours to textbook, median over rounds
    ratio_low: float | None
    ratio_high: float | None
    matrix_tflops: float  # of a large matrix product or convolution, 1e12 operations per second
    share_of_matrix_rate: float  # counting 3 forward multiply-adds, 2 operations each
    memory_gb_per_second: float
    peak_memory_gb: float | None
    operations: int  # of an iteration, uncompiled
    share_of_memory_bandwidth: float  # the same, if nothing stayed in a cache in between
    share_of_launch_rate: float
    compiled: bool = False  # `run --compile`

    @property
    def limits(self) -> str:
        """How close an iteration is to each limit, in percent, the closest first."""
        shares = {
            "matrix rate": self.share_of_matrix_rate,
            "memory": self.share_of_memory_bandwidth,
            "launches": self.share_of_launch_rate,
        }
        ordered = sorted(shares.items(), key=lambda item: -item[1])
        return ", ".join(f"{name} {100 * share:.0f}%" for name, share in ordered)

    def cells(self) -> list[str]:
        """What a table shows: network, speed, the textbook's, ratio, limits, memory."""
        low, high = self.images_per_second_low, self.images_per_second_high
        ratio = ""
        if self.ratio is not None:
            ratio = f"{self.ratio:.2f} ({self.ratio_low:.2f} to {self.ratio_high:.2f})"
        return [
            self.network,
            f"{self.images_per_second:,.0f} ({low:,.0f} to {high:,.0f})",
            ""
            if self.textbook_images_per_second is None
            else f"{self.textbook_images_per_second:,.0f}",
            ratio,
            self.limits,
            "" if self.peak_memory_gb is None else f"{self.peak_memory_gb:.1f} GB",
        ]


def bench_run(network: str, dataset: str) -> Run:
    """What is benchmarked: the paper's recipe; for photographs but ImageNet's, the reduced one.

    Raises:
        ConfigError: unknown network, or one that does not go with the data set.
    """
    reduced = parse_network(network).family == "imagenet" and dataset != "imagenet"
    recipe = preset_recipe("short" if reduced else "paper", network, dataset)
    try:
        return Run(network=network, dataset=dataset, recipe=recipe, seed=0)
    except ValidationError as error:
        raise ConfigError(f"bench: {first_problem(error)[1]}") from error


@dataclass(frozen=True)
class Plan:
    """What is measured, and how long."""

    network: str
    dataset: str  # data loading and augmentation are part of what is timed
    data_dir: Path
    device: str  # as for `choose_backend`
    precision: Precision  # of our loop; the textbook loop trains in fp32
    rounds: int = 5  # in which the contenders take turns
    seconds: float = 4.0  # that each turn takes at least
    textbook: bool = True  # whether to time the textbook loop too
    compiled: bool = False  # ours, as `run --compile` does
    folders: Mapping[str, Path] = field(default_factory=dict)  # as for `data.datasets.load`


def measure_network(
    plan: Plan, progress: Callable[[str], None] = lambda _: None
) -> TrainingMeasurement:
    """Measure one network, as `bench_run` has it, in a process of its own.

    `progress` hears of every round. To be called in the main thread.

    Raises:
        ConfigError: unknown network, or no such device.
        ReproError: the process ended, for want of memory perhaps; or what it raised.
    """
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    pipe, theirs = context.Pipe(duplex=False)
    # Not a daemon: loaders start processes of their own.
    process = context.Process(target=_serve, args=(theirs, plan), daemon=False)
    progress(f"{plan.network}: starting")
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # in the process, too, from its start on
    process.start()
    signal.signal(signal.SIGINT, handler)
    theirs.close()
    try:
        while isinstance(message := pipe.recv(), str):
            progress(message)
    except KeyboardInterrupt:  # as the process ignores it
        process.terminate()
        raise
    except (EOFError, OSError):
        raise ReproError(
            f"bench: the process that trained {plan.network} ended unexpectedly, perhaps for want"
            " of memory"
        ) from None
    finally:
        pipe.close()
        process.join(PATIENCE)
        if process.is_alive():
            process.terminate()
            process.join()
    if isinstance(message, Exception):
        raise message
    assert isinstance(message, TrainingMeasurement)
    return message


def _serve(pipe: Connection, plan: Plan) -> None:
    """Send lines of progress, then the measurement or what went wrong."""
    answer: object
    with contextlib.suppress(OSError):
        try:
            answer = measure_here(plan, pipe.send)
        except ReproError as error:
            answer = error
        except BrokenPipeError:  # the parent has gone
            return
        except Exception as error:  # any: the parent raises it
            line = str(error).partition("\n")[0][:300]
            answer = ReproError(f"bench: {type(error).__name__}: {line}")
        pipe.send(answer)


def measure_here(plan: Plan, progress: Callable[[str], None]) -> TrainingMeasurement:
    """Measure in this process; see `measure_network`."""
    run = bench_run(plan.network, plan.dataset)
    backend = choose_backend(plan.device, plan.precision)
    if plan.compiled:
        check_compiled(run, backend.device)
    found = _take_turns(plan, run, backend, progress)
    crop = run.recipe.photographs.crop if run.recipe.photographs else None
    operations = 6 * outline(plan.network, crop).multiply_adds
    bandwidth = memory_bandwidth(backend)
    per_second = statistics.median(found.own) / run.recipe.batch_size
    graphed = crop is None and graph_wanted(backend.device)
    launch = launch_seconds(backend, graphed=graphed)
    shares = [own * operations / rate for own, rate in zip(found.own, found.rates, strict=True)]
    ratios = (
        [a / b for a, b in zip(found.own, found.textbook, strict=True)] if plan.textbook else []
    )
    textbook = round(statistics.median(found.textbook), 1) if plan.textbook else None
    return TrainingMeasurement(
        hardware=hardware_name(backend.device),
        device=backend.device.type,
        precision=backend.precision,
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        network=plan.network,
        crop=crop,
        batch_size=run.recipe.batch_size,
        rounds=plan.rounds,
        **median_and_range("images_per_second", found.own, 1),
        textbook_images_per_second=textbook,
        **median_and_range("ratio", ratios, 3),
        matrix_tflops=round(statistics.median(found.rates) / 1e12, 4),
        share_of_matrix_rate=round(statistics.median(shares), 4),
        memory_gb_per_second=round(bandwidth / 1e9, 1),
        peak_memory_gb=None if found.peak is None else round(found.peak / 1e9, 3),
        operations=found.work.operations,
        share_of_memory_bandwidth=round(per_second * found.work.bytes / bandwidth, 4),
        share_of_launch_rate=round(per_second * found.work.operations * launch, 4),
        compiled=plan.compiled,
    )


@dataclass(frozen=True)
class _Turns:
    """What the contenders did, a value a round."""

    own: list[float]  # images per second
    textbook: list[float]  # none where it is not timed
    rates: list[float]  # operations per second of a large matrix product or convolution
    work: WorkCounter  # of an iteration of ours
    peak: float | None  # bytes, before others take some


def _take_turns(plan: Plan, run: Run, backend: Backend, progress: Callable[[str], None]) -> _Turns:
    """Time our loop, the textbook's and large products, one after another in every round."""
    dataset = datasets.load(plan.dataset, plan.data_dir, plan.folders)
    assert not isinstance(dataset, BoxDataset), "a run of a detector is not benchmarked"

    def timed(step: Callable[[], object], turn: int) -> float:
        warm_up = 1 if turn else WARM_UP
        return speed(step, run.recipe.batch_size, plan.seconds, warm_up, backend.synchronize)

    with contextlib.ExitStack() as stack:
        feed = make_feed(run, dataset, backend, data_dir=plan.data_dir)
        stack.callback(feed.close)
        trainer = Trainer(run, feed, backend, compiled=plan.compiled)
        trainer.network.train()
        trainer.step()  # which makes the momentum
        fuse(trainer.network, False)  # operation by operation: what is fused cannot be counted
        with WorkCounter() as work:  # later iterations may be a graph, which does not tell
            trainer.step()
        fuse(trainer.network, plan.compiled)
        own = [timed(trainer.step, 0)]
        found = _Turns(own, [], [], work, _peak_memory(backend))
        products, textbook = LargeProducts(backend), None
        if plan.textbook:
            textbook = TextbookLoop(run, dataset, backend.device)
            stack.callback(textbook.close)
        for turn in range(plan.rounds):
            if turn:
                own.append(timed(trainer.step, turn))
            line = f"{plan.network}: round {turn + 1} of {plan.rounds}, {own[-1]:,.0f} images/s"
            if textbook:
                found.textbook.append(timed(textbook.step, turn))
                line += f", textbook {found.textbook[-1]:,.0f}"
            found.rates.append(products.rate())
            progress(line)
    return found


def median_and_range(name: str, values: Sequence[float], digits: int) -> dict[str, Any]:
    """The median over rounds with the lowest and the highest, None where nothing was measured."""
    if not values:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    found = (statistics.median(values), min(values), max(values))
    keys = (name, f"{name}_low", f"{name}_high")
    return {key: round(value, digits) for key, value in zip(keys, found, strict=True)}


def speed(
    step: Callable[[], object],
    images: int,
    seconds: float,
    warm_up: int,
    synchronize: Callable[[], object] = lambda: None,
) -> float:
    """Images per second of steps of `images` each, over at least `seconds` and two steps.

    The first `warm_up` steps do not count.
    """
    for _ in range(warm_up):
        step()
    synchronize()
    steps, start = 0, time.perf_counter()
    while steps < 2 or time.perf_counter() - start < seconds:
        step()
        steps += 1
    synchronize()
    return steps * images / (time.perf_counter() - start)


def _peak_memory(backend: Backend) -> float | None:
    """Most bytes in use so far: on the GPU, else of this process (Linux only)."""
    if backend.device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(backend.device))
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) * 1024
    return None
