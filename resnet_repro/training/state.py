"""What a checkpoint says of how far a training is, read without believing it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resnet_repro.spec.recipe import Recipe
from resnet_repro.training.curve import Point, point_from, whole_number

__all__ = ["Progress", "read_progress"]


@dataclass(frozen=True)
class Progress:
    """How far a training is, apart from its tensors."""

    iteration: int
    warmup_end: int | None
    points: list[Point]
    seconds: float
    training_seconds: float
    bn_sizes: list[int]


def read_progress(state: Mapping[str, Any], recipe: Recipe, share: int) -> Progress:
    """The progress that a checkpoint's state holds, for a process that sees `share` images.

    Raises:
        KeyError, TypeError, ValueError: it holds none of such a recipe.
    """
    iteration = whole_number(state["iteration"], recipe.iterations)
    warmup_end = state["warmup_end"]
    if warmup_end is not None:
        whole_number(warmup_end, iteration)
    seconds, training_seconds = float(state["seconds"]), float(state["training_seconds"])
    if not (0 <= seconds < math.inf and 0 <= training_seconds < math.inf):
        raise ValueError("a duration that cannot be")
    points = [point_from(values, iteration) for values in state["points"]]
    # Checkpoints of earlier versions lack it: there, BN saw what the recipe says.
    sizes = state.get("bn_sizes", [recipe.micro_batch_size or recipe.batch_size])
    bn_sizes = _continued_sizes(sizes, recipe, share)
    return Progress(iteration, warmup_end, points, seconds, training_seconds, bn_sizes)


def _continued_sizes(sizes: Any, recipe: Recipe, share: int) -> list[int]:
    """What each BN has seen so far, and what it will see: the same, where that divides the share.

    Where it does not, the largest number that does is added.
    """
    known = isinstance(sizes, list) and all(type(size) is int for size in sizes)
    if not known or not sizes or not all(1 <= size <= recipe.batch_size for size in sizes):
        raise ValueError("a number of images that cannot be")
    last = sizes[-1]
    if share % last == 0:
        return sizes
    return [*sizes, max(size for size in range(1, last + 1) if share % size == 0)]
