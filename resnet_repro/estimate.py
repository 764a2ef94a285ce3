"""How long a run takes on this machine: from runs and benchmarks here, else a labelled guess."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from resnet_repro.machine import cpu_features, cpu_name, usable_cores
from resnet_repro.names import parse_network
from resnet_repro.spec import Run
from resnet_repro.store import Store

__all__ = ["BENCH", "Estimator", "cifar_multiply_adds"]

BENCH = "bench"  # name of the CSV that `resnet-repro bench` writes

TEST_IMAGES = {"cifar10": 10_000, "synthetic": 2_000}
FORWARD_SHARE = 1 / 3  # of the cost of training on an image
FEWEST_ITERATIONS = 50  # before a run's speed counts as measured
# Multiply-adds per second of a forward pass in training (which costs three), for one core, when
# nothing has been measured. Deliberately low; anything computed from it is marked with "~".
GUESSED_RATE_PER_CORE = {"fp32": 6e9, "bf16": 12e9}
GUESSED_GPU_RATE = 2e12


def cifar_multiply_adds(network: str) -> int:
    """Multiply-adds of a CIFAR network for one image, by hand; option B adds 1%, C 5%.

    Raises:
        ConfigError: no such network.
    """
    name = parse_network(network)
    if name.family != "cifar":
        raise ValueError(f"{network} is not a CIFAR network")
    layers = (name.depth - 2) // 3  # 3x3 layers per stage
    total = 32 * 32 * 9 * 3 * 16 + 64 * 10
    channels = 16
    for width, side in ((16, 32), (32, 16), (64, 8)):
        total += side * side * 9 * width * (channels + (layers - 1) * width)
        channels = width
    return total


def _gpu_name() -> str | None:
    """The first NVIDIA GPU's name as the driver lists it, or None."""
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        try:
            for line in path.read_text().splitlines():
                if line.startswith("Model:"):
                    return line.partition(":")[2].strip()
        except OSError:
            continue
    return None


@dataclass(frozen=True)
class _Speed:
    network: str
    hardware: str
    images_per_second: float


def _measured_runs(store: Store) -> list[_Speed]:
    """Speeds of the runs that were trained into a store."""
    return [
        _Speed(s.network, s.provenance.hardware, s.images_per_second)
        for run in store.all_runs()
        if run.problem is None
        and (s := run.summary) is not None
        and s.images_per_second
        and s.iteration >= FEWEST_ITERATIONS
    ]


def _benchmarks(store: Store) -> list[_Speed]:
    """Speeds that `resnet-repro bench` measured; a damaged file counts as none."""
    try:
        with store.csv_path(BENCH).open(newline="") as file:
            return [
                _Speed(row["network"], row["hardware"], float(row["images_per_second"]))
                for row in csv.DictReader(file)
            ]
    except (OSError, KeyError, TypeError, ValueError, csv.Error):
        return []


class Estimator:
    """Estimates from speeds that were measured on this machine's device."""

    def __init__(self, store: Store, device: str = "auto") -> None:
        gpu = _gpu_name() if device == "auto" or device.startswith("cuda") else None
        self.hardware = gpu or cpu_name()
        # A benchmark has the machine to itself, so it goes before runs of the same network.
        bench = [s for s in _benchmarks(store) if s.hardware == self.hardware]
        known = {s.network for s in bench}
        self._speeds = bench + [
            s
            for s in _measured_runs(store)
            if s.hardware == self.hardware and s.network not in known
        ]
        if gpu:
            self._guess = GUESSED_GPU_RATE
        else:
            native = cpu_features() & {"avx512_bf16", "amx_bf16", "bf16"}
            self._guess = GUESSED_RATE_PER_CORE["bf16" if native else "fp32"] * usable_cores()

    @property
    def measured(self) -> bool:
        """Whether estimates come from measurements on this machine."""
        return bool(self._speeds)

    def images_per_second(self, network: str) -> float:
        """Training speed: as measured for the network, or scaled by cost from others'."""
        own = [s.images_per_second for s in self._speeds if s.network == network]
        if own:
            return sum(own) / len(own)
        cost = cifar_multiply_adds(network)
        rates = [s.images_per_second * cifar_multiply_adds(s.network) for s in self._speeds]
        return (sum(rates) / len(rates) if rates else self._guess) / cost

    def seconds(self, run: Run, iterations_done: int = 0) -> float:
        """Seconds that the rest of a run takes, evaluation included."""
        recipe = run.recipe
        left = max(0, recipe.iterations - iterations_done)
        tests = left / recipe.evaluate_every
        tested = TEST_IMAGES.get(run.dataset, 10_000) + recipe.validation_images
        images = left * recipe.batch_size + tests * tested * FORWARD_SHARE
        return images / self.images_per_second(run.network)
