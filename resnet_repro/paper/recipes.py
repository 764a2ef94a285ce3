"""How a run's recipe differs from presets' and papers', in words."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from resnet_repro.paper.papers import PAPERS
from resnet_repro.spec.presets import Preset, preset_recipe, presets_of, training_differences
from resnet_repro.spec.recipe import Recipe
from resnet_repro.spec.run import Run

__all__ = ["by_a_papers_recipe", "changes_of", "differences_in_words", "nearest_preset"]


def changes_of(run: Run) -> tuple[str, ...]:
    """The differences between a run's recipe and the preset that it is closest to."""
    return nearest_preset(run.recipe, run.network, run.dataset)[1]


def by_a_papers_recipe(run: Run) -> bool:
    """Whether a run's recipe is a paper's, however many images batch normalisation sees by it."""
    base, changes = nearest_preset(run.recipe, run.network, run.dataset)
    return base == "paper" and changes in [paper.changes for paper in PAPERS.values()]


@lru_cache(maxsize=1024)  # many runs have the same recipe
def nearest_preset(recipe: Recipe, network: str, dataset: str) -> tuple[Preset, tuple[str, ...]]:
    """The preset with the fewest differences from a run's recipe, and these differences."""
    bases = {preset: preset_recipe(preset, network, dataset) for preset in presets_of(network)}
    candidates = [(preset, differences_in_words(recipe, base)) for preset, base in bases.items()]
    return min(candidates, key=lambda candidate: len(candidate[1]))


def differences_in_words(recipe: Recipe, base: Recipe) -> tuple[str, ...]:
    """The fields in which one recipe trains differently from another: `batch_size=64`, sorted."""
    before = base.model_dump(mode="json")
    changed = training_differences(recipe, base)
    changed.pop("micro_batch_size", None)  # which stands beside them, as what BN saw
    words = []
    if "warmup" in changed and recipe.warmup and recipe.warmup.length:
        del changed["warmup"]  # said in the same words whatever the base has
        words = [f"warmup={recipe.warmup.length} iterations at {recipe.warmup.learning_rate:g}"]
    words += [text for k, v in changed.items() for text in _changes(k, v, before[k])]
    return tuple(sorted(words))


def _changes(field: str, value: Any, before: Any) -> list[str]:
    """`field=value`; for two mappings, one such text for each part that differs."""
    if isinstance(value, dict) and isinstance(before, dict):
        return [
            text
            for key in value
            if value[key] != before.get(key)
            for text in _changes(f"{field}.{key}", value[key], before.get(key))
        ]
    return [f"{field}={json.dumps(value)}"]
