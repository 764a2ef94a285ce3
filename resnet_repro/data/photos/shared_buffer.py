"""Memory that worker processes see as well, and how much of it there is."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

__all__ = ["SharedBuffer", "available_memory", "local_processes"]

_CGROUPS = (  # folder, limit, used, and which line of memory.stat is cache that can go
    ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
    (
        "/sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)


class SharedBuffer:
    """So many bytes of memory behind a file descriptor that child processes can be given.

    Not a segment of /dev/shm, which containers often limit to 64 MB, and nothing with a name, so
    that nothing can be left behind. Raises OSError when the memory is not there.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        if hasattr(os, "memfd_create"):
            self.descriptor = os.memfd_create("resnet-repro")
        else:
            with tempfile.TemporaryFile() as file:
                self.descriptor = os.dup(file.fileno())
        try:
            if hasattr(os, "posix_fallocate") and size:
                os.posix_fallocate(self.descriptor, 0, size)  # fails now rather than when filled
            else:
                os.ftruncate(self.descriptor, size)
            self.bytes = map_bytes(self.descriptor, size)
        except BaseException:
            os.close(self.descriptor)
            raise

    def close(self) -> None:
        """Give the descriptor back; the memory goes when the last array on it does."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __del__(self) -> None:
        self.close()


def map_bytes(descriptor: int, size: int) -> NDArray[np.uint8]:
    """The memory behind a `SharedBuffer`'s descriptor as an array [size]."""
    if not size:
        return np.empty(0, np.uint8)
    return np.frombuffer(mmap.mmap(descriptor, size), np.uint8)


def available_memory() -> int | None:
    """Bytes that can be used without swapping, within the container's limit; None if unknown."""
    known = [*_system_memory(), *_container_memory()]
    return max(0, min(known)) if known else None


def local_processes() -> int:
    """Training processes on this machine, as torchrun tells; 1 without it."""
    count = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, int(count)) if count.isdecimal() else 1


def _system_memory() -> Iterator[int]:
    try:
        for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                yield int(line.split()[1]) * 1024
                return
    except (OSError, ValueError):
        pass
    try:
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (OSError, ValueError, AttributeError):
        return


def _container_memory() -> Iterator[int]:
    for folder, limit, used, cache in _CGROUPS:
        try:
            left = int(Path(folder, limit).read_text(encoding="utf-8")) - int(
                Path(folder, used).read_text(encoding="utf-8")
            )
            lines = Path(folder, "memory.stat").read_text(encoding="utf-8").splitlines()
            yield left + sum(int(line.split()[1]) for line in lines if line.startswith(f"{cache} "))
        except (OSError, ValueError):  # "max" is no limit
            continue
