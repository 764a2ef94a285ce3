"""Estimates of the time for training and testing, from speeds measured on this machine's device."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from resnet_repro.base.errors import ConfigError
from resnet_repro.base.files import read_text
from resnet_repro.base.machine import (
    BF16_FEATURES,
    allowed_threads,
    cpu_features,
    cpu_name,
    gpu_name,
    mps_name,
    usable_cores,
)
from resnet_repro.networks.architecture import architecture
from resnet_repro.networks.detector_cost import LANDSCAPE, forward_cost
from resnet_repro.spec.dataset_names import DATASETS
from resnet_repro.spec.detection import Detection
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.network_names import parse_network
from resnet_repro.spec.run import Precision, Run
from resnet_repro.store.store import Store
from resnet_repro.store.stored_run import StoredRun

__all__ = ["BENCH", "Estimator", "training_cost"]

UNKNOWN_TEST_IMAGES = 10_000  # of a folder that was not scanned yet
PRODUCTS, PRODUCT_PASSES = 60, 6  # to find the eigenvalues at a point; what each costs
FORWARD_SHARE = 1 / 3  # of the cost of training on an image
# Multiply-adds of the forward pass per second of training, for one core, if nothing was measured.
# Deliberately low; estimates from it are marked with "~". Processors with bf16 instructions are
# newer, and faster in either precision.
GUESSED_RATE_PER_CORE = {"older": 6e9, "newer": 12e9}
GUESSED_GPU_RATE = 2e12
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
    compiled: bool = False
    threads: int = 0  # of the processor; 0 if unknown

    @property
    def key(self) -> tuple[str, int, str, bool, int]:
        """What it is the speed of, on its hardware."""
        return self.network, self.side, self.precision, self.compiled, self.threads

    @cached_property
    def rate(self) -> float:
        """Multiply-adds of the forward pass per second of training."""
        return self.images_per_second * forward_cost(self.network, self.side, self.detection)


def input_side(run: Run) -> int:
    """The side of a run's input in pixels."""
    return run.recipe.side or architecture(run.network).side


class Estimator:
    """Estimates times from speeds that were measured on this machine's device."""

    def __init__(
        self,
        store: Store,
        device: str = "auto",
        runs: list[StoredRun] | None = None,
        test_images: Mapping[str, int] | None = None,
        compiled: bool = False,
    ) -> None:
        """`runs` are the store's where they have been read already; `compiled`: as is planned.

        `test_images` are those of folders of photographs by their data sets' names, where known.
        """
        self._test_images = {
            **{name: known.test_images for name, known in DATASETS.items()},
            **(test_images or {}),
        }
        gpu = gpu_name() if device == "auto" or device.startswith("cuda") else None
        self.hardware = gpu or (mps_name() if device == "mps" else cpu_name())
        # Of a GPU it does not matter much how many threads the processor had.
        self._threads = 0 if gpu or device == "mps" else allowed_threads(usable_cores())
        # Benchmarks take precedence over runs of the same network, as they run alone.
        bench = {s.key: s for s in self._here(speeds_of_bench(store))}
        trained = self._here(speeds_of_runs(store.all_runs() if runs is None else runs))
        every = [*bench.values(), *(s for s in trained if s.key not in bench)]
        self._compiled = compiled
        self._speeds = [s for s in every if compiled or not s.compiled]
        if gpu:
            self._guess = GUESSED_GPU_RATE
        else:
            newer = cpu_features() & BF16_FEATURES
            cores = allowed_threads(usable_cores())
            self._guess = GUESSED_RATE_PER_CORE["newer" if newer else "older"] * cores

    def _here(self, speeds: Iterable[Speed]) -> list[Speed]:
        """Those of this hardware."""
        own = [s for s in speeds if s.hardware == self.hardware]
        return own if self._threads else [replace(s, threads=0) for s in own]

    def doubt(self, run: Run) -> str | None:
        """Why an estimate is only a guess, or None."""
        measured = self._relatives(run.network)
        if not measured:
            return "nothing like it was measured on this machine"
        if run.precision != "auto" and run.precision not in {s.precision for s in measured}:
            return f"nothing like it was measured in {run.precision} on this machine"
        if self._compiled and not any(s.compiled for s in measured):
            return "nothing like it was measured compiled on this machine"
        if run.dataset not in self._test_images:
            return f"how many test images {run.dataset} has is not known yet"
        return None

    def basis(self, *runs: Run) -> Literal["measured", "guessed"]:
        """Whether an estimate is `measured`, or `guessed` because of a `doubt` about a run."""
        return "guessed" if any(map(self.doubt, runs)) else "measured"

    def _relatives(self, network: str) -> list[Speed]:
        """Speeds of the same family; if asked for, of compiled ones where there are any."""
        family = parse_network(network).family
        found = [s for s in self._speeds if parse_network(s.network).family == family]
        return [s for s in found if s.compiled == self._compiled] or found

    def images_per_second(
        self,
        network: str,
        side: int | None = None,
        precision: Precision = "auto",
        detection: Detection | None = None,
    ) -> float:
        """Training speed: measured for the network, or scaled by cost from that of others.

        Networks of the same family, whose layers are similar, take precedence over others, speeds
        in the given precision over those in another one, and of these those with the number of
        threads that is nearest to this process's.
        """
        side = side or architecture(network).side
        speeds = self._relatives(network) or self._speeds
        speeds = [s for s in speeds if s.precision == precision] or speeds
        distance = min((abs(s.threads - self._threads) for s in speeds), default=0)
        speeds = [s for s in speeds if abs(s.threads - self._threads) == distance]
        same = [s for s in speeds if (s.network, s.side) == (network, side)]
        if same:
            return _faster((s.precision, s.images_per_second) for s in same)
        rate = _faster((s.precision, s.rate) for s in speeds) if speeds else self._guess
        return rate / forward_cost(network, side, detection)

    def _tested(self, run: Run) -> int:
        return self._test_images.get(run.dataset, UNKNOWN_TEST_IMAGES)

    def seconds(self, run: Run, iterations_done: int = 0) -> float:
        """Seconds for the rest of a run, evaluation included."""
        recipe = run.recipe
        left = max(0, recipe.iterations - iterations_done)
        tests = 0 if recipe.detection else left / recipe.evaluate_every
        tested = self._tested(run) + recipe.validation_images
        averaged = recipe.bn_average_iterations * recipe.batch_size if left else 0
        images = left * recipe.batch_size + (tests * tested + averaged) * FORWARD_SHARE
        return images / self._speed(run)

    def _speed(self, run: Run) -> float:
        side, detection = input_side(run), run.recipe.detection
        return self.images_per_second(run.network, side, run.precision, detection)

    def measuring_seconds(self, run: Run, experiment: Experiment, missing: Sequence[str]) -> float:
        """Seconds that what is missing of an experiment's measurements takes.

        Those from several views, of average precision, of loss surfaces, paths and curvature;
        others take none.
        """
        passes = 0.0  # of one image through the network
        known = DATASETS.get(run.dataset)
        training = (known.train_images if known else 0) - run.recipe.validation_images
        if "surface" in missing and (surface := experiment.settings_of("surface")):
            grids = math.prod(surface.points) * len(surface.directions)
            passes += grids * (surface.images or training) + training
        if "path" in missing and (path := experiment.settings_of("path")):
            passes += path.points * (path.images or training)
        if "curvature" in missing and (curvature := experiment.settings_of("curvature")):
            products = len(curvature.at) * PRODUCTS * PRODUCT_PASSES
            passes += products * (curvature.images or training)
        passes += self._tested(run) * sum(_passes_an_image(run, what) for what in missing)
        return passes * FORWARD_SHARE / self._speed(run) if passes else 0.0


def _passes_an_image(run: Run, measurement: str) -> float:
    """What testing costs, in forward passes like those of training; 0 for what tests nothing."""
    photographs = run.recipe.photographs
    if measurement == "average-precision":
        return _regions_of_a_test(run)
    if photographs is None or measurement not in ("10-crop", "multi-scale"):
        return 0
    if measurement == "10-crop":
        return 10
    one = forward_cost(run.network, photographs.crop)
    sides = (forward_cost(run.network, side) / one for side in photographs.multi_scale)
    return 2 * LANDSCAPE * sum(sides)  # the image and its mirror


def _regions_of_a_test(run: Run) -> float:
    """What a test image costs a detector, which looks at more regions than in training."""
    settings, side = run.recipe.detection, input_side(run)
    assert settings is not None, "average precision is of detectors"
    tested = settings.model_copy(update={"rois_per_image": settings.proposals[1]})
    costs = [forward_cost(run.network, side, each) for each in (tested, settings)]
    return costs[0] / costs[1]


def speeds_of_runs(runs: list[StoredRun]) -> list[Speed]:
    """The training speeds of runs whose last session was long enough.

    Not of several processes: a plan is for one.
    """
    return [
        Speed(
            s.network,
            input_side(stored.run),
            s.provenance.hardware,
            s.images_per_second,
            s.provenance.precision,
            stored.run.recipe.detection,
            s.provenance.compiled,
            s.provenance.threads,
        )
        for stored in runs
        if stored.problem is None
        and stored.run is not None
        and (s := stored.summary) is not None
        and s.images_per_second
        and s.iteration - s.provenance.first_iteration >= FEWEST_ITERATIONS
        and s.provenance.processes == 1
    ]


def speeds_of_bench(store: Store) -> list[Speed]:
    """Speeds that `resnet-repro bench` measured, most threads last; a damaged file has none."""
    try:
        text = read_text(store.csv_path(BENCH))
        if not text.endswith("\n"):
            raise ValueError("its last line is cut off")
        rows = csv.DictReader(io.StringIO(text, newline=""), restval="")
        return sorted(map(_benchmark, rows), key=lambda speed: speed.threads)
    except (OSError, KeyError, TypeError, ValueError, ConfigError, csv.Error):
        return []


def _benchmark(row: dict[str, str]) -> Speed:
    name = parse_network(row["network"])
    side = row.get("crop") or architecture(str(name)).side
    speed = float(row["images_per_second"])
    if not name.trainable or not 0 < speed < 1e12 or not 0 < int(side) < 100_000:
        raise ValueError("a speed that cannot be")
    threads = int(row.get("threads") or 0)
    known = (row.get("precision") or "", None, bool(row.get("compiled")), threads)
    return Speed(str(name), int(side), row["hardware"], speed, *known)


def training_cost(run: Run) -> int:
    """Multiply-adds of all forward passes of a training, to compare runs."""
    recipe = run.recipe
    one = forward_cost(run.network, input_side(run), recipe.detection)
    return one * recipe.iterations * recipe.batch_size


def _faster(values: Iterable[tuple[str, float]]) -> float:
    """The mean of the values of the faster precision, in which `auto` trains."""
    by_precision: dict[str, list[float]] = {}
    for precision, value in values:
        by_precision.setdefault(precision, []).append(value)
    return max(sum(numbers) / len(numbers) for numbers in by_precision.values())
