"""Measured training speeds, of benchmarks and of runs."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from resnet_repro.base.errors import ConfigError
from resnet_repro.base.files import read_text
from resnet_repro.networks.architecture import architecture
from resnet_repro.networks.detector_cost import forward_cost
from resnet_repro.spec.detection import Detection
from resnet_repro.spec.network_names import parse_network
from resnet_repro.spec.run import Run
from resnet_repro.store.store import Store
from resnet_repro.store.stored_run import StoredRun

__all__ = ["BENCH", "Speed", "benchmarks", "gpu_name", "input_side", "measured_runs"]

BENCH = "bench"  # name of the CSV that `resnet-repro bench` writes
FEWEST_ITERATIONS = 50  # before a run's speed counts as measured


@dataclass(frozen=True)
class Speed:
    """The training speed of one network at one input size on one kind of hardware."""

    network: str
    side: int  # pixels
    hardware: str
    images_per_second: float
    precision: str  # fp32 or bf16; empty if unknown
    detection: Detection | None = None  # of a detector

    @cached_property
    def rate(self) -> float:
        """Multiply-adds of the forward pass per second of training."""
        return self.images_per_second * forward_cost(self.network, self.side, self.detection)


def input_side(run: Run) -> int:
    """The side of a run's input in pixels."""
    recipe = run.recipe
    side = recipe.photographs.crop if recipe.photographs else recipe.image_size
    if recipe.detection:
        side = recipe.detection.shorter_side
    return side or architecture(run.network).side


def measured_runs(runs: list[StoredRun]) -> list[Speed]:
    """The training speeds of runs, if their last session was long enough."""
    return [
        Speed(
            s.network,
            input_side(stored.run),
            s.provenance.hardware,
            s.images_per_second,
            s.provenance.precision,
            stored.run.recipe.detection,
        )
        for stored in runs
        if stored.problem is None
        and stored.run is not None
        and (s := stored.summary) is not None
        and s.images_per_second
        and s.iteration - s.provenance.first_iteration >= FEWEST_ITERATIONS
    ]


def benchmarks(store: Store) -> list[Speed]:
    """Speeds that `resnet-repro bench` measured; a damaged file counts as none."""
    try:
        text = read_text(store.csv_path(BENCH))
        if not text.endswith("\n"):
            raise ValueError("its last line is cut off")
        rows = csv.DictReader(io.StringIO(text, newline=""), restval="")
        return [_benchmark(row) for row in rows]
    except (OSError, KeyError, TypeError, ValueError, ConfigError, csv.Error):
        return []


def _benchmark(row: dict[str, str]) -> Speed:
    name = parse_network(row["network"])
    side = row.get("crop") or architecture(str(name)).side
    speed = float(row["images_per_second"])
    if not name.trainable or not 0 < speed < 1e12 or not 0 < int(side) < 100_000:
        raise ValueError("a speed that cannot be")
    return Speed(str(name), int(side), row["hardware"], speed, row.get("precision") or "")


def gpu_name() -> str | None:
    """The first NVIDIA GPU's name as the driver lists it, or None."""
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        try:
            for line in path.read_text(encoding="utf-8").splitlines():
                if line.startswith("Model:"):
                    return line.partition(":")[2].strip()
        except OSError:
            continue
    return None
