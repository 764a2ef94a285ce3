"""Training speed here: ours, the textbook loop's and the hardware's limit, interleaved.

The contenders take turns, a few seconds each, round after round, so that a machine that slows down
or is shared slows all of them: ratios are taken within a round. Each has a process of its own.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from resnet_repro.bench.contender import Contender, LoopChoice, bench_run
from resnet_repro.bench.limits import MatrixProduct, launch_seconds, memory_bandwidth
from resnet_repro.networks.outline import multiply_adds
from resnet_repro.spec.run import Precision
from resnet_repro.training.device import choose_backend, hardware_name
from resnet_repro.training.graph import graph_wanted

__all__ = ["Measurement", "measure_network"]


@dataclass(frozen=True)
class Measurement:
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
    matrix_tflops: float  # measured rate of a large matrix product, 1e12 operations per second
    share_of_matrix_rate: float  # counting 3 forward multiply-adds, 2 operations each
    memory_gb_per_second: float
    peak_memory_gb: float | None
    # Earlier versions did not measure these.
    operations: int | None = None  # of an iteration
    share_of_memory_bandwidth: float | None = None  # if nothing stayed in a cache in between
    share_of_launch_rate: float | None = None

    @property
    def limits(self) -> str:
        """How close an iteration is to each limit, in percent, the closest first."""
        shares = {
            "matrix rate": self.share_of_matrix_rate,
            "memory": self.share_of_memory_bandwidth,
            "launches": self.share_of_launch_rate,
        }
        known = {name: share for name, share in shares.items() if share is not None}
        ordered = sorted(known.items(), key=lambda item: -item[1])
        return ", ".join(f"{name} {100 * share:.0f}%" for name, share in ordered)

    def to_dict(self) -> dict[str, Any]:
        """For JSON and CSV."""
        return asdict(self)

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


def measure_network(
    network: str,
    dataset: str,
    data_dir: Path,
    device: str,
    precision: Precision,
    *,
    rounds: int = 5,
    seconds: float = 4.0,
    textbook: bool = True,
    progress: Callable[[str], None] = lambda _: None,
) -> Measurement:
    """Measure one network, as `bench_run` has it.

    Args:
        network: its name.
        dataset: what to train on, to be found in `data_dir`; data loading and augmentation are part
            of what is timed.
        device: as for `choose_backend`; precision likewise.
        rounds: how often the contenders take turns; seconds: how long each turn takes at least.
        textbook: whether to time the textbook loop too.
        progress: hears of every round.

    Raises:
        ConfigError: unknown network, or no such device.
        ReproError: a contender ended, for want of memory perhaps.
    """
    recipe = bench_run(network, dataset).recipe
    crop = recipe.photographs.crop if recipe.photographs else None
    backend = choose_backend(device, precision)
    here = str(backend.device)
    product = MatrixProduct(backend)
    loops: list[Literal["ours", "textbook"]] = ["ours", "textbook"] if textbook else ["ours"]
    speeds: dict[str, list[float]] = {loop: [] for loop in loops}
    rates = []
    with contextlib.ExitStack() as stack:
        contenders = {
            loop: stack.enter_context(
                Contender(LoopChoice(loop, network, dataset, data_dir, here, backend.precision))
            )
            for loop in loops
        }
        work, moved = contenders["ours"].work()
        for turn in range(rounds):
            for loop, contender in contenders.items():
                speeds[loop].append(contender.speed(seconds))
            rates.append(product.rate())
            line = f"{network}: round {turn + 1} of {rounds}, {speeds['ours'][-1]:,.0f} images/s"
            progress(line + (f", textbook {speeds['textbook'][-1]:,.0f}" if textbook else ""))
        peak = contenders["ours"].peak_memory()
    own = speeds["ours"]
    ratios = [a / b for a, b in zip(own, speeds["textbook"], strict=True)] if textbook else []
    operations = 6 * multiply_adds(network, crop)
    iterations = statistics.median(own) / recipe.batch_size  # per second
    bandwidth = memory_bandwidth(backend)
    graphed = backend.device.type == "cuda" and crop is None and graph_wanted()
    launch = launch_seconds(backend, graphed=graphed)
    return Measurement(
        hardware=hardware_name(backend.device),
        device=backend.device.type,
        precision=backend.precision,
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        network=network,
        crop=crop,
        batch_size=recipe.batch_size,
        rounds=rounds,
        images_per_second=round(statistics.median(own), 1),
        images_per_second_low=round(min(own), 1),
        images_per_second_high=round(max(own), 1),
        textbook_images_per_second=(
            round(statistics.median(speeds["textbook"]), 1) if textbook else None
        ),
        ratio=round(statistics.median(ratios), 3) if textbook else None,
        ratio_low=round(min(ratios), 3) if textbook else None,
        ratio_high=round(max(ratios), 3) if textbook else None,
        matrix_tflops=round(statistics.median(rates) / 1e12, 4),
        share_of_matrix_rate=round(
            statistics.median(s * operations / r for s, r in zip(own, rates, strict=True)), 4
        ),
        memory_gb_per_second=round(bandwidth / 1e9, 1),
        peak_memory_gb=None if peak is None else round(peak / 1e9, 3),
        operations=work,
        share_of_memory_bandwidth=round(iterations * moved / bandwidth, 4),
        share_of_launch_rate=round(iterations * work * launch, 4),
    )
