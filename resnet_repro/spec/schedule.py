"""The learning rate: a pure function of the iteration and of the curve so far."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

from resnet_repro.spec.recipe import Recipe

__all__ = ["learning_rate", "plateau_divisions"]


def learning_rate(
    recipe: Recipe, iteration: int, warmup_end: int | None, divisions: Sequence[int] = ()
) -> float:
    """The learning rate of an iteration, counted from 0 (sections 3.4 and 4.2).

    `warmup_end` is the first iteration after the warm-up, None while it lasts; recipes without a
    warm-up ignore it. The milestones count from the start of training either way. `divisions` are
    those of a plateau rule, which recipes have instead of milestones.
    """
    if recipe.warmup and (warmup_end is None or iteration < warmup_end):
        return recipe.warmup.learning_rate
    passed = bisect_right(recipe.milestones, iteration) + bisect_right(divisions, iteration)
    return recipe.learning_rate / recipe.learning_rate_divisor**passed


def plateau_divisions(
    recipe: Recipe,
    points: Sequence[Any],  # of the curve: each has an `iteration` and a `train_error`
    warmup_end: int | None = None,
) -> list[int]:
    """The iterations at which a plateau rule divides the learning rate (section 3.4).

    Assumption, as the paper only says "when the error plateaus": it is divided after `patience`
    points in a row whose running training error is not below the best one before by more than
    `threshold` percentage points. Points of the warm-up do not count. It depends only on the curve,
    which is in every checkpoint, so resuming cannot change it.
    """
    rule = recipe.plateau
    if rule is None:
        return []
    divisions: list[int] = []
    best, without_progress = float("inf"), 0
    for point in points:
        if recipe.warmup and (warmup_end is None or point.iteration <= warmup_end):
            continue
        if point.train_error < best - rule.threshold:
            best, without_progress = point.train_error, 0
            continue
        without_progress += 1
        if without_progress == rule.patience and len(divisions) < rule.divisions:
            if point.iteration < recipe.iterations:
                divisions.append(point.iteration)
            without_progress = 0
    return divisions
