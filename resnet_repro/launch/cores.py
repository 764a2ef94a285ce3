"""Which processor cores each of several processes gets."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["allowed_threads", "split_cores"]

_TOPOLOGY = Path("/sys/devices/system/cpu")


def _place(core: int) -> tuple[int, int, int]:
    """Where a core sits, so that neighbours in this order share a socket and a physical core."""
    folder = _TOPOLOGY / f"cpu{core}" / "topology"
    try:
        package = int((folder / "physical_package_id").read_text(encoding="utf-8"))
        return package, int((folder / "core_id").read_text(encoding="utf-8")), core
    except (OSError, ValueError):
        return 0, core, core


def split_cores(parts: int, cores: set[int] | None = None) -> list[tuple[int, ...]]:
    """Divide cores (default: those this process may use) into disjoint, equal sets.

    Left-over cores stay unused, so that all parts are as fast as each other. With more parts than
    cores they share them, one core each. Empty sets where the system cannot pin processes.
    """
    if cores is None:
        if not hasattr(os, "sched_getaffinity"):
            return [()] * parts
        cores = os.sched_getaffinity(0)
    ordered = sorted(cores, key=_place)
    size = len(ordered) // parts
    if size == 0:
        return [(ordered[part % len(ordered)],) for part in range(parts)]
    return [tuple(ordered[part * size : (part + 1) * size]) for part in range(parts)]


def allowed_threads(share: int) -> int:
    """Threads of a process that has `share` cores: no more than OMP_NUM_THREADS asks for."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    limit = int(wanted) if wanted.isdigit() and int(wanted) else share
    return max(1, min(share, limit))
