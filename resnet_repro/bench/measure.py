"""Training speed here: ours, the textbook loop's and the hardware's limit, interleaved.

The contenders take turns in one process, a few seconds each, round after round, so that a machine
that slows down or is shared slows all of them: ratios are taken within a round.
"""

from __future__ import annotations

import contextlib
import csv
import io
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

from resnet_repro.bench.limits import MatrixProduct, memory_bandwidth
from resnet_repro.bench.textbook import TextbookLoop
from resnet_repro.data import Dataset
from resnet_repro.networks import count_cost
from resnet_repro.recipe import preset_recipe
from resnet_repro.spec import DatasetName, Precision, Run
from resnet_repro.store import csv_text
from resnet_repro.training import Backend, Trainer, choose_backend, hardware_name

__all__ = ["Measurement", "bench_csv", "measure_network"]

WARM_UP = 3  # iterations of each contender before the clock counts


@dataclass(frozen=True)
class Measurement:
    """Speeds of one network on one device: medians over rounds, with the lowest and the highest."""

    hardware: str
    device: str
    precision: str
    threads: int
    torch: str
    network: str
    batch_size: int
    rounds: int
    images_per_second: float
    images_per_second_low: float
    images_per_second_high: float
    textbook_images_per_second: float | None
    ratio: float | None  # ours to textbook, median over rounds
    ratio_low: float | None
    ratio_high: float | None
    matrix_tflops: float  # measured rate of a large matrix product, 1e12 operations per second
    share_of_matrix_rate: float  # counting 3 forward multiply-adds, 2 operations each
    memory_gb_per_second: float
    peak_memory_gb: float | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON and CSV."""
        return asdict(self)

    def cells(self) -> list[str]:
        """What a table shows: network, speed, the textbook's, ratio, share, memory."""
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
            f"{100 * self.share_of_matrix_rate:.0f}%",
            "" if self.peak_memory_gb is None else f"{self.peak_memory_gb:.1f} GB",
        ]


def bench_csv(before: str, measured: Sequence[Measurement]) -> str:
    """The benchmark file with new measurements; those replace older ones of the same thing."""
    names = [field.name for field in fields(Measurement)]
    identity = ("hardware", "device", "precision", "network")
    rows: dict[tuple[Any, ...], list[Any]] = {}
    for row in csv.DictReader(io.StringIO(before)):
        if set(names) <= set(row):
            rows[tuple(row[key] for key in identity)] = [row[name] for name in names]
    for measurement in measured:
        values = measurement.to_dict()
        rows[tuple(values[key] for key in identity)] = [values[name] for name in names]
    return csv_text(names, list(rows.values()))


def _speed(
    step: Callable[[], object], backend: Backend, images: int, seconds: float, warm_up: int
) -> float:
    """Images per second over at least `seconds` and two iterations."""
    for _ in range(warm_up):
        step()
    backend.synchronize()
    iterations, start = 0, time.perf_counter()
    while True:
        step()
        iterations += 1
        if iterations >= 2 and time.perf_counter() - start >= seconds:
            backend.synchronize()
            return iterations * images / (time.perf_counter() - start)


def measure_network(
    network: str,
    dataset: Dataset,
    device: str,
    precision: Precision,
    *,
    rounds: int = 5,
    seconds: float = 4.0,
    textbook: bool = True,
    progress: Callable[[str], None] = lambda _: None,
) -> Measurement:
    """Measure one network at the paper's batch size.

    Args:
        network: a CIFAR network's name.
        dataset: what to train on; data loading and augmentation are part of what is timed.
        device: as for `choose_backend`; precision likewise.
        rounds: how often the contenders take turns; seconds: how long each turn takes at least.
        textbook: whether to time the textbook loop too.
        progress: hears of every round.

    Raises:
        ConfigError: unknown network, or no such device.
    """
    backend = choose_backend(device, precision)
    name: DatasetName = "cifar10" if dataset.identity.name == "cifar10" else "synthetic"
    recipe = preset_recipe("paper", network)
    run = Run(network=network, dataset=name, recipe=recipe, seed=0)
    ours = Trainer(run, dataset, backend)
    ours.network.train()
    other = TextbookLoop(run, dataset, backend.device) if textbook else None
    product = MatrixProduct(backend)
    own_speeds, other_speeds, rates = [], [], []
    peak = None
    for turn in range(rounds):
        warm_up = WARM_UP if turn == 0 else 1
        _reset_peak(backend)
        own_speeds.append(_speed(ours.step, backend, recipe.batch_size, seconds, warm_up))
        peak = _peak(backend) if peak is None else peak
        if other:
            speed = _speed(other.step, backend, recipe.batch_size, seconds, warm_up)
            other_speeds.append(speed)
        rates.append(product.rate())
        line = f"{network}: round {turn + 1} of {rounds}, {own_speeds[-1]:,.0f} images/s"
        progress(line + (f", textbook {other_speeds[-1]:,.0f}" if other else ""))
    if other:
        other.close()
    ratios = [a / b for a, b in zip(own_speeds, other_speeds, strict=bool(other))] if other else []
    speed, rate = statistics.median(own_speeds), statistics.median(rates)
    return Measurement(
        hardware=hardware_name(backend.device),
        device=backend.device.type,
        precision=backend.precision,
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        network=network,
        batch_size=recipe.batch_size,
        rounds=rounds,
        images_per_second=round(speed, 1),
        images_per_second_low=round(min(own_speeds), 1),
        images_per_second_high=round(max(own_speeds), 1),
        textbook_images_per_second=round(statistics.median(other_speeds), 1) if other else None,
        ratio=round(statistics.median(ratios), 3) if other else None,
        ratio_low=round(min(ratios), 3) if other else None,
        ratio_high=round(max(ratios), 3) if other else None,
        matrix_tflops=round(rate / 1e12, 4),
        share_of_matrix_rate=round(
            statistics.median(
                s * 6 * count_cost(network).multiply_adds / r
                for s, r in zip(own_speeds, rates, strict=True)
            ),
            4,
        ),
        memory_gb_per_second=round(memory_bandwidth(backend) / 1e9, 1),
        peak_memory_gb=None if peak is None else round(peak / 1e9, 3),
    )


def _reset_peak(backend: Backend) -> None:
    """Forget the memory peak so far."""
    if backend.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(backend.device)
    else:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")


def _peak(backend: Backend) -> float | None:
    """Most bytes in use since `_reset_peak`: on the GPU, else of this process (Linux only)."""
    if backend.device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(backend.device))
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) * 1024
    except OSError:
        pass
    return None
