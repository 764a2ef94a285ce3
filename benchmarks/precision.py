"""bf16 against fp32: the same trainings in two results folders, seed by seed.

    python benchmarks/precision.py benchmarks/precision/fp32 benchmarks/precision/bf16

Pairs runs that differ in precision only. Both of a pair see the same batches from the same weights;
the seeds say how far apart two trainings are that nobody would call different. A pair of which one
is not finished is compared where its curve ends. The trainings that docs/performance.md speaks of:

    resnet-repro run table6 --preset short --networks resnet-20 --seeds 3 \\
        --set recipe.iterations=960 --set recipe.milestones=[480,720] \\
        --precision fp32 --results benchmarks/precision/fp32
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from resnet_repro.report.markdown import table
from resnet_repro.spec.run import Run
from resnet_repro.store.models import CurveRow
from resnet_repro.store.store import Store
from resnet_repro.store.stored_run import StoredRun


@dataclass(frozen=True)
class Pair:
    """Two runs that differ in precision only, where both were measured last."""

    run: Run  # of the first folder
    first: CurveRow
    second: CurveRow

    @property
    def network(self) -> str:
        """`resnet-20, 960 of 960 iterations`."""
        return (
            f"{self.run.network}, {self.first.iteration:,} of "
            f"{self.run.recipe.iterations:,} iterations"
        )


def find_pairs(folders: tuple[Path, Path]) -> list[Pair]:
    """Pairs of runs of two results folders, ordered by network and seed."""
    first, second = (_by_what_is_trained(Store(folder).all_runs()) for folder in folders)
    pairs = []
    for key in sorted(first.keys() & second.keys()):
        points = {row.iteration: row for row in second[key].curve()}
        common = [row for row in first[key].curve() if row.iteration in points]
        run = first[key].run
        if common and run is not None:
            pairs.append(Pair(run, common[-1], points[common[-1].iteration]))
    return pairs


def _by_what_is_trained(runs: Iterable[StoredRun]) -> dict[tuple[str, int, str], StoredRun]:
    return {
        (s.run.network, s.run.seed, s.run.recipe.model_dump_json()): s
        for s in runs
        if s.run is not None and s.summary is not None and s.problem is None
    }


def by_seed(pairs: Sequence[Pair], names: tuple[str, str]) -> list[str]:
    """A table with a line for each pair."""
    header = ["network", "seed"]
    header += [f"{part} error, {name}" for part in ("training", "test") for name in names]
    rows = [
        [
            pair.network,
            str(pair.run.seed),
            f"{pair.first.train_error:.2f}",
            f"{pair.second.train_error:.2f}",
            f"{pair.first.test_error:.2f}",
            f"{pair.second.test_error:.2f}",
        ]
        for pair in pairs
    ]
    return table(header, rows, range(1, len(header)))


def over_seeds(pairs: Sequence[Pair], names: tuple[str, str]) -> list[str]:
    """A table with a line for each network of several seeds: means, and how far they differ."""
    found: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        found[pair.network].append(pair)
    rows = [
        [
            network,
            part,
            str(len(own)),
            *_compared(
                [getattr(pair.first, field) for pair in own],
                [getattr(pair.second, field) for pair in own],
            ),
        ]
        for network, own in found.items()
        for part, field in (("training", "train_error"), ("test", "test_error"))
        if len(own) > 1
    ]
    header = ["network", "error", "seeds", *names, "difference", "its standard error"]
    return table(header, rows, range(2, len(header)))


def _compared(first: Sequence[float], second: Sequence[float]) -> list[str]:
    """Both means with their standard deviations, the mean difference and its standard error.

    The runs are pairs: those of a seed have the same initial weights and batches.
    """
    spreads = statistics.stdev(first), statistics.stdev(second)
    means = statistics.fmean(first), statistics.fmean(second)
    apart = [b - a for a, b in zip(first, second, strict=True)]
    error = statistics.stdev(apart) / math.sqrt(len(apart))
    texts = [f"{mean:.2f} ± {spread:.2f}" for mean, spread in zip(means, spreads, strict=True)]
    return [*texts, f"{means[1] - means[0]:+.2f}", f"{error:.2f}"]


def compare(folders: tuple[Path, Path], names: tuple[str, str]) -> str:
    """What `main` prints."""
    pairs = find_pairs(folders)
    if not pairs:
        return "no runs that differ in precision only"
    means = over_seeds(pairs, names)
    several = ["", *means] if len(means) > 2 else []
    return "\n".join([*by_seed(pairs, names), *several])


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("first", type=Path, help="results folder, as of fp32")
    parser.add_argument("second", type=Path, help="another, as of bf16")
    chosen = parser.parse_args()
    print(compare((chosen.first, chosen.second), (chosen.first.name, chosen.second.name)))


if __name__ == "__main__":
    main()
