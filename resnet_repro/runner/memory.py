"""What to say when a device or the machine has no more memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from resnet_repro.base.errors import ReproError
from resnet_repro.training.trainer import Trainer

__all__ = ["enough_memory"]


@contextlib.contextmanager
def enough_memory(trainer: Trainer) -> Iterator[None]:
    """Say what helps when a training lacks memory.

    Raises:
        ReproError: it does.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_want_of_memory(error):
            raise
        raise ReproError(_advice(trainer)) from error


def _is_want_of_memory(error: Exception) -> bool:
    """Whether it is that; on the CPU torch has no class for it."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        "DefaultCPUAllocator" in str(error)
    )


def _advice(trainer: Trainer) -> str:
    run, size = trainer.run, trainer.bn_images
    text = f"{run.id}: not enough memory on {trainer.backend.device}"
    if trainer.iteration:
        text += "; it continues from the last checkpoint when there is more"
    if size > 1:
        text += (
            f"\nbatches can pass in parts, each of which batch normalisation sees by itself: "
            f"--set recipe.micro_batch_size={_smaller(size)} instead of {size}, a run of its own"
        )
    return text


def _smaller(size: int) -> int:
    """The largest proper divisor."""
    return next(size // n for n in range(2, size + 1) if size % n == 0)
