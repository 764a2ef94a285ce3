"""How fast this processor trains in fp32 and in bf16: measured once, kept for the machine.

Instructions for bf16 do not make it the faster precision: on an AMD EPYC (Zen 4) it is, on an
Intel Xeon whose matrix units (AMX) are hidden it is not (docs/performance.md).
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import torch
import torch.nn.functional as F
from pydantic import Field, ValidationError

from resnet_repro.base.errors import StoreError
from resnet_repro.base.files import locked, read_regular, write_atomically
from resnet_repro.base.machine import cpu_features, processor_name
from resnet_repro.base.records import Frozen
from resnet_repro.networks.network import build_network
from resnet_repro.spec.run import Resolved

__all__ = ["Rates", "cache_folder", "measure_rates", "rates_here"]

NETWORK, BATCH = "resnet-8", 64
ROUNDS, FEWEST_ROUNDS = 5, 3
SECONDS = 3.0  # after which there are fewer rounds
GAIN = 1.05  # by so much bf16 must be faster: fp32 is the paper's arithmetic
LOCK_PATIENCE = 60.0  # seconds for another process that is measuring
LARGEST_FILE = 100_000  # bytes
# Environment variables that keep torch and oneDNN from instructions that the processor has.
LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")

_log = logging.getLogger(__name__)
_known: dict[tuple[Path | None, _Place], Rates] = {}  # in this process


class _Place(Frozen):
    """All that the rates depend on."""

    processor: str
    features: str
    limits: str
    torch: str


class Rates(Frozen):
    """Images per second of training `NETWORK` with one thread, in either precision."""

    place: _Place
    fp32: float = Field(gt=0, allow_inf_nan=False)
    bf16: float = Field(gt=0, allow_inf_nan=False)

    @property
    def faster(self) -> Resolved:
        """The precision to train in; fp32 unless bf16 gains something."""
        return "bf16" if self.bf16 > GAIN * self.fp32 else "fp32"


def rates_here(*, anew: bool = False) -> Rates | None:
    """The rates of this processor: as kept, or measured now and kept.

    Only one process of a machine measures at a time; the others wait and take its answer. Where
    nothing can be kept, each process measures.

    Args:
        anew: measure although an answer is kept.

    Returns:
        None where a precision cannot be trained in here.
    """
    here, folder = _place(), cache_folder()
    if not anew and (known := _known.get((folder, here))):
        return known
    digest = sha256(here.model_dump_json().encode()).hexdigest()[:16]
    path = folder and folder / f"precision-{digest}.json"
    found = None if anew else _read(path, here)
    if found is None:
        lock = path and locked(path.with_suffix(".lock"), LOCK_PATIENCE)
        with lock or contextlib.nullcontext():
            found = None if anew else _read(path, here)  # another process may have measured
            found = found or _measure_and_keep(path, here)
    if found:
        _known[folder, here] = found
    return found


def cache_folder() -> Path | None:
    """RESNET_REPRO_CACHE, else the place in the user's cache folder; None if there is no home."""
    if own := os.environ.get("RESNET_REPRO_CACHE"):
        return Path(own).absolute()
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # such are to be ignored, says the XDG specification
        try:
            home = Path.home()
        except RuntimeError:
            return None
        if not home.is_dir():
            return None
        base = home / ".cache"
    return base / "resnet-repro"


def measure_rates() -> dict[Resolved, float]:
    """Images per second of `NETWORK` with one thread, by the thread's processor time.

    Processor time hardly notices what else the machine does, and nor does one thread, which waits
    for no other. The precisions take turns and the fastest iteration of each counts. Neither the
    state of torch's random numbers nor its number of threads is changed.

    Raises:
        RuntimeError, MemoryError: a precision cannot be trained in here.
    """
    precisions: tuple[Resolved, ...] = ("fp32", "bf16")
    with torch.random.fork_rng(devices=[]), _one_thread():
        steps = {precision: _training_step(precision) for precision in precisions}
        best = dict.fromkeys(precisions, math.inf)
        begun = time.perf_counter()
        for turn in range(ROUNDS):
            if turn >= FEWEST_ROUNDS and time.perf_counter() - begun > SECONDS:
                break
            for precision, step in steps.items():
                start = time.thread_time()
                step()
                best[precision] = min(best[precision], time.thread_time() - start)
    return {precision: round(BATCH / seconds, 1) for precision, seconds in best.items()}


def _training_step(precision: Resolved) -> Callable[[], None]:
    """An iteration of random images, in bf16 without `Trainer`'s kept casts of the weights."""
    network = build_network(NETWORK).to(memory_format=torch.channels_last).train()
    updates = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, fused=True)
    images = torch.randn(BATCH, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(BATCH) % 10

    def step() -> None:
        updates.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            logits = network(images)
        F.cross_entropy(logits.float(), labels).backward()
        updates.step()

    return step


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _place() -> _Place:
    limits = {name: value for name in LIMITS if (value := os.environ.get(name))}
    return _Place(
        processor=processor_name(),
        features=" ".join(sorted(cpu_features())),
        limits=" ".join(f"{name}={value}" for name, value in limits.items()),
        torch=torch.__version__,
    )


def _read(path: Path | None, here: _Place) -> Rates | None:
    """What is kept, if it is an answer for this place."""
    try:
        if path is None or not path.is_file():
            return None
        found = Rates.model_validate_json(read_regular(path, LARGEST_FILE))
    except (OSError, ValidationError) as error:
        _log.debug("%s is not used: %s", path, error)
        return None
    return found if found.place == here else None


def _measure_and_keep(path: Path | None, here: _Place) -> Rates | None:
    try:
        measured = measure_rates()
    except (RuntimeError, MemoryError) as error:
        _log.warning("precision auto is fp32: trying both failed (%s)", str(error)[:200])
        return None
    rates = Rates(place=here, **measured)
    _log.info(
        "precision auto is %s here: ResNet-8 trains %.0f images/s in bf16, %.0f in fp32",
        *(rates.faster, rates.bf16, rates.fp32),
    )
    if path is not None:
        try:
            write_atomically(path, rates.model_dump_json(indent=1), durable=False)
        except StoreError as error:
            _log.debug("the precision is not kept: %s", error)
    return rates
