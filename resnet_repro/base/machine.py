"""What this machine is called, without importing torch."""

from __future__ import annotations

import os
import platform
from pathlib import Path

__all__ = [
    "BF16_FEATURES",
    "cpu_features",
    "cpu_name",
    "process_rank",
    "processor_name",
    "usable_cores",
]

# Instructions that multiply bf16, as the kernel names them: AVX-512's, Intel's AMX, Arm's.
BF16_FEATURES = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


def _cpu_info(*keys: str) -> str:
    """The first of the kernel's lines on the processor with one of these keys; empty if none."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in keys:
            return value.strip()
    return ""


def cpu_features() -> frozenset[str]:
    """The processor's features as the kernel names them; empty where it does not say."""
    return frozenset(_cpu_info("flags", "Features").split())


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def process_rank() -> int:
    """The number of this process among those that torchrun started to train together; 0 alone.

    RANK and WORLD_SIZE alone do not say so: some clusters set them in every shell of a container.
    """
    world, rank = (os.environ.get(name, "") for name in ("WORLD_SIZE", "RANK"))
    alone = "TORCHELASTIC_RESTART_COUNT" not in os.environ or world in ("", "0", "1")
    return int(rank) if not alone and rank.isascii() and rank.isdecimal() else 0


def processor_name() -> str:
    """What the processor is called: `AMD EPYC`."""
    return _cpu_info("model name") or platform.processor() or platform.machine()


def cpu_name() -> str:
    """The processor's name with its number of usable cores: `AMD EPYC (2 cores)`."""
    cores = usable_cores()
    return f"{processor_name()} ({cores} core{'s' if cores > 1 else ''})"
