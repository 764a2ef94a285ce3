"""Memory: what the C library does with freed blocks, and what to say when there is none left."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
from collections.abc import Callable, Iterator

import torch

from resnet_repro.base.errors import ReproError

__all__ = ["enough_memory", "is_lack_of_memory", "keep_freed_memory"]

# From <malloc.h>; ctypes cannot read them there.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK = 1 << 30  # bytes; glibc before 2.35 allows only its default's upper limit
_OLD_LARGEST_BLOCK = 32 << 20
# In errors of the CPU, of CUDA, NCCL and Triton outside torch's allocator, of cuBLAS and cuDNN.
_LACK = ("DefaultCPUAllocator", "out of memory", "STATUS_ALLOC_FAILED", "ALLOCATION_FAILED")


@functools.cache
def keep_freed_memory() -> None:
    """Let glibc keep freed memory for the next iteration.

    By default it returns an iteration's activations (megabytes each) to the system and gets them
    back as fresh pages: up to 5,700 page faults and 13 ms of system time in an iteration of
    ResNet-20 (docs/performance.md). Does nothing where the C library is another one.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    for size in (_LARGEST_BLOCK, _OLD_LARGEST_BLOCK):
        if mallopt(_M_MMAP_THRESHOLD, size):
            mallopt(_M_TRIM_THRESHOLD, -1)
            return


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is used up; torch has not always a class for that."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _LACK)
    )


@contextlib.contextmanager
def enough_memory(advice: Callable[[], str]) -> Iterator[None]:
    """Turn a lack of memory into an error that says what helps.

    Raises:
        ReproError: memory is used up; `advice` is its text.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_lack_of_memory(error):
            raise
        raise ReproError(advice()) from error
