"""Where a network is trained, in which precision, and what that is on record as."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from resnet_repro.base import provenance
from resnet_repro.base.errors import ConfigError
from resnet_repro.base.machine import BF16_FEATURES, check_device, cpu_features, cpu_name, mps_name
from resnet_repro.spec.run import Resolved
from resnet_repro.store.models import Origin
from resnet_repro.training.memory import keep_freed_memory
from resnet_repro.training.precision_speed import Rates, rates_here

__all__ = [
    "Backend",
    "auto_precision",
    "choose_backend",
    "hardware_name",
    "origin_here",
]


@dataclass(frozen=True)
class Backend:
    """A device and the precision of convolutions and matrix products on it.

    Weights, their updates, BN statistics and the loss are fp32 in either precision.
    """

    device: torch.device
    precision: Resolved

    def autocast(self) -> AbstractContextManager[object]:
        """The context of a forward pass."""
        return torch.autocast(
            self.device.type,
            torch.bfloat16,
            enabled=self.precision == "bf16",
            cache_enabled=True,
        )

    def with_precision(self, precision: Resolved) -> Backend:
        """The same device in another precision."""
        return replace(self, precision=precision)

    def synchronize(self) -> None:
        """Wait for the device, before a clock is read."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()


class AutoPrecision(NamedTuple):
    """What a precision of `auto` comes to on a device, and why."""

    precision: Resolved
    why: str
    rates: Rates | None = None  # where both were measured

    def __str__(self) -> str:
        return f"auto is {self.precision}: {self.why}"

    def to_dict(self) -> dict[str, object]:
        """For JSON; `images_per_second` by precision, None where nothing was measured."""
        speeds = self.rates and {"fp32": self.rates.fp32, "bf16": self.rates.bf16}
        return {"precision": self.precision, "why": self.why, "images_per_second": speeds}


def native_bf16(device: torch.device) -> bool:
    """Whether the hardware multiplies bf16 natively, which it may still do more slowly."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return bool(cpu_features() & BF16_FEATURES)
    return False


def auto_precision(device: torch.device, *, anew: bool = False) -> AutoPrecision:
    """The faster precision: on a processor that has both as measured there, see `rates_here`.

    Args:
        anew: measure although the machine's answer is kept.
    """
    if not native_bf16(device):
        return AutoPrecision("fp32", "bf16 is not native here")
    if device.type == "cuda":
        return AutoPrecision("bf16", "native from compute capability 8.0 on")
    rates = rates_here(anew=anew)
    if rates is None:
        return AutoPrecision("fp32", "trying both precisions failed")
    why = (
        f"one thread trains ResNet-8 on {rates.bf16:,.0f} images/s in bf16 "
        f"and {rates.fp32:,.0f} in fp32"
    )
    return AutoPrecision(rates.faster, why, rates)


def choose_backend(device: str, precision: str, local_rank: int | None = None) -> Backend:
    """Resolve `auto` and check that the device is there.

    Args:
        device: auto, cpu, cuda, cuda:N or mps.
        precision: auto (the faster one, see `auto_precision`), fp32 or bf16.
        local_rank: the number on this machine of one of several processes, each of which has a
            GPU of its own; None for a process that trains alone.

    Raises:
        ConfigError: no such device here.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if local_rank is not None:
        device = _own_device(device, local_rank)
    check_device(device)
    chosen = torch.device(device)
    if chosen.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (chosen.index or 0) >= count:
            found = f"{count} found" if count else "no usable CUDA device here"
            raise ConfigError(f"--device {device}: {found}; use --device cpu or auto")
        if chosen.index is not None:  # else torch would open the first GPU as well
            torch.cuda.set_device(chosen)
        _check_kernels(chosen)
        # fp32 is fp32: convolutions would otherwise be rounded to TF32.
        torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
        torch.backends.cuda.matmul.fp32_precision = "ieee"
    elif chosen.type == "mps":
        if not torch.backends.mps.is_available():
            raise ConfigError("--device mps: not available here; use --device cpu or auto")
    else:
        keep_freed_memory()
    if precision == "auto":
        precision = auto_precision(chosen).precision
    return Backend(chosen, "bf16" if precision == "bf16" else "fp32")


def _check_kernels(gpu: torch.device) -> None:
    """Whether the GPU is not older than all that torch was built for, of which torch only warns.

    Raises:
        ConfigError: it is.
    """
    built = re.findall(r"\bsm_(\d+)", " ".join(torch.cuda.get_arch_list()))  # none on ROCm
    major, minor = torch.cuda.get_device_capability(gpu)
    if built and 10 * major + minor < min(map(int, built)):
        raise ConfigError(
            f"torch {torch.__version__} has no kernels for {torch.cuda.get_device_name(gpu)} "
            f"(compute capability {major}.{minor}): install a build that has them (those for "
            "CUDA 12.6 do), or use --device cpu"
        )


def _own_device(device: str, local_rank: int) -> str:
    """The device of one of several processes.

    Raises:
        ConfigError: they would have to share one.
    """
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"--device {device}: several processes train on cuda (a GPU each) or cpu")
    if device == "cpu":
        return device
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise ConfigError(
            f"process {local_rank} of this machine has no GPU ({count} found); "
            "start as many processes as there are GPUs"
        )
    return f"cuda:{local_rank}"


def hardware_name(device: torch.device) -> str:
    """What the device is called: a GPU's name, or the processor's with its number of cores."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return mps_name() if device.type == "mps" else cpu_name()


def origin_here(backend: Backend, command: str, processes: int = 1) -> Origin:
    """What makes the numbers that so many processes with such a backend compute for a command."""
    code, dirty = provenance.code_version()
    return Origin(
        code=code,
        dirty=dirty,
        command=command,
        device=backend.device.type,
        hardware=hardware_name(backend.device),
        precision=backend.precision,
        threads=torch.get_num_threads(),
        versions=provenance.versions(),
        processes=processes,
    )
