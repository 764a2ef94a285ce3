"""Where an iteration's time goes on a CPU: seconds in each tensor operation, counted in place.

    python benchmarks/profile_iteration.py resnet-20

Every operation is timed where it happens, with the caches as they are; `torch.profiler` itself
slows an iteration threefold on some machines. What is left over is Python and autograd.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from resnet_repro.data import datasets
from resnet_repro.spec.presets import preset_recipe
from resnet_repro.spec.run import Run
from resnet_repro.training.device import choose_backend
from resnet_repro.training.feed import make_feed
from resnet_repro.training.trainer import Trainer


class Stopwatch(TorchDispatchMode):
    """Counts seconds and calls by operation."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        start = time.perf_counter()
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        self.seconds[name] += time.perf_counter() - start
        self.calls[name] += 1
        return result


def main() -> None:
    """Print a table of operations, the slowest first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("network", nargs="?", default="resnet-20")
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    parser.add_argument("--iterations", type=int, default=10)
    chosen = parser.parse_args()

    dataset = datasets.load("synthetic", Path("data"))
    recipe = preset_recipe("paper", chosen.network, "synthetic")
    run = Run(network=chosen.network, dataset="synthetic", recipe=recipe, seed=0)
    backend = choose_backend("cpu", chosen.precision)
    trainer = Trainer(run, make_feed(run, dataset, backend), backend)
    trainer.network.train()
    for _ in range(3):
        trainer.step()
    whole = []
    for _ in range(chosen.iterations):
        start = time.perf_counter()
        trainer.step()
        whole.append(time.perf_counter() - start)
    with Stopwatch() as watch:
        for _ in range(chosen.iterations):
            trainer.step()

    step = statistics.median(whole)
    print(f"{chosen.network}, {trainer.backend.precision}, {torch.get_num_threads()} threads: ")
    print(f"{1e3 * step:.1f} ms an iteration, {recipe.batch_size / step:.0f} images/s\n")
    print(f"{'operation':32}{'calls':>7}{'ms':>9}{'share':>8}")
    inside = 0.0
    for name, seconds in sorted(watch.seconds.items(), key=lambda item: -item[1]):
        mine = seconds / chosen.iterations
        inside += mine
        if mine >= 0.005 * step:
            calls = watch.calls[name] // chosen.iterations
            print(f"{name:32}{calls:>7}{1e3 * mine:>9.2f}{mine / step:>8.1%}")
    print(f"{'everything counted':32}{'':>7}{1e3 * inside:>9.2f}{inside / step:>8.1%}")


if __name__ == "__main__":
    main()
