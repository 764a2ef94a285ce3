"""The learning rate: a pure function of the iteration and of when the warm-up ended."""

from __future__ import annotations

from bisect import bisect_right

from resnet_repro.recipe import Recipe

__all__ = ["learning_rate"]


def learning_rate(recipe: Recipe, iteration: int, warmup_end: int | None) -> float:
    """The learning rate of an iteration, counted from 0 (section 4.2).

    `warmup_end` is the first iteration after the warm-up, None while it lasts; recipes without a
    warm-up ignore it. The milestones count from the start of training either way.
    """
    if recipe.warmup and (warmup_end is None or iteration < warmup_end):
        return recipe.warmup.learning_rate
    passed = bisect_right(recipe.milestones, iteration)
    return recipe.learning_rate / recipe.learning_rate_divisor**passed
