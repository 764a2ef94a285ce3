"""Where the time goes on a GPU, and what several runs at once gain there.

    python benchmarks/gpu_probe.py profile resnet-20     # kernels by name
    python benchmarks/gpu_probe.py processes resnet-20   # a process each, as with --jobs

What an H100 said is in docs/gpu.md. On a CPU (`--device cpu`) it only shows that it works.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from torch.profiler import ProfilerActivity, profile

from resnet_repro.data import datasets
from resnet_repro.spec.presets import preset_recipe
from resnet_repro.spec.run import Precision, Run
from resnet_repro.training.device import Backend, choose_backend, hardware_name
from resnet_repro.training.feed import make_feed
from resnet_repro.training.trainer import Trainer

WARM_UP = 5  # iterations: three from Python, the capture, one replay


def make_trainer(network: str, seed: int, backend: Backend) -> Trainer:
    """A training at the paper's recipe, of generated images, warmed up."""
    recipe = preset_recipe("paper", network, "synthetic")
    run = Run(network=network, dataset="synthetic", recipe=recipe, seed=seed)
    dataset = datasets.load("synthetic", Path("data"))
    trainer = Trainer(run, make_feed(run, dataset, backend), backend)
    trainer.network.train()
    for _ in range(WARM_UP):
        trainer.step()
    return trainer


def show_profile(network: str, backend: Backend, iterations: int) -> None:
    """Print the kernels of an iteration by name, those that take longest first."""
    trainer = make_trainer(network, 0, backend)
    on_gpu = backend.device.type == "cuda"
    activity = ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU
    backend.synchronize()
    with profile(activities=[activity]) as found:
        for _ in range(iterations):
            trainer.step()
        backend.synchronize()
    order = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    averages = found.key_averages()
    print(f"{network}, {backend.precision}, {iterations} iterations")
    print(averages.table(sort_by=order, row_limit=30, max_name_column_width=90))
    print(f"{sum(event.count for event in averages) / iterations:.0f} events an iteration")


def _train_beside(
    network: str, seed: int, device: str, precision: Precision, iterations: int,
    together: Barrier, seconds: SimpleQueue[float],
) -> None:  # fmt: skip
    """Warm up, wait for the others, and put the seconds of the iterations into a queue."""
    backend = choose_backend(device, precision)
    trainer = make_trainer(network, seed, backend)
    backend.synchronize()
    together.wait()
    start = time.perf_counter()
    for _ in range(iterations):
        trainer.step()
    backend.synchronize()
    seconds.put(time.perf_counter() - start)


def show_processes(network: str, backend: Backend, iterations: int, counts: Sequence[int]) -> None:
    """Print the time of an iteration for trainings that share the device, a process each."""
    device = str(backend.device)
    print(f"{network}, {backend.precision}, on {hardware_name(backend.device)}, in processes")
    print("runs  ms an iteration of each  iterations/s of all")
    context = get_context("spawn")
    for count in counts:
        together, seconds = context.Barrier(count), context.SimpleQueue()
        fixed = (device, backend.precision, iterations, together, seconds)
        children = [
            context.Process(target=_train_beside, args=(network, seed, *fixed))
            for seed in range(count)
        ]
        for child in children:
            child.start()
        for child in children:
            child.join()
        if any(child.exitcode for child in children):
            raise SystemExit("a process failed; see above")
        spent = max(seconds.get() for _ in children)
        print(f"{count:>4}  {1e3 * spent / iterations:>23.3f}  {count * iterations / spent:>19.1f}")


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=["profile", "processes"])
    parser.add_argument("network", nargs="?", default="resnet-20")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto")
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--counts", type=int, nargs="+", help="numbers of runs (1 2 4 8)")
    chosen = parser.parse_args()
    backend = choose_backend(chosen.device, chosen.precision)
    few = backend.device.type != "cuda"
    if chosen.what == "profile":
        show_profile(chosen.network, backend, chosen.iterations or (1 if few else 10))
    else:
        counts = chosen.counts or ([1, 2] if few else [1, 2, 4, 8])
        show_processes(chosen.network, backend, chosen.iterations or (1 if few else 300), counts)


if __name__ == "__main__":
    main()
