"""What this machine is called, without importing torch."""

from __future__ import annotations

import os
import platform
from pathlib import Path

__all__ = ["cpu_features", "cpu_name", "process_rank", "usable_cores"]


def _cpu_info(*keys: str) -> str:
    """The first of the kernel's lines on the processor with one of these keys; empty if none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
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
    """The number of this process among those that a launcher started to train together; 0 alone."""
    world, rank = (os.environ.get(name, "") for name in ("WORLD_SIZE", "RANK"))
    return int(rank) if world.isdecimal() and int(world) > 1 and rank.isdecimal() else 0


def cpu_name() -> str:
    """The processor's name with its number of usable cores: `AMD EPYC (2 cores)`."""
    name = _cpu_info("model name") or platform.processor() or platform.machine()
    cores = usable_cores()
    return f"{name} ({cores} core{'s' if cores > 1 else ''})"
