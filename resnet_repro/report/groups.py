"""Which runs may share a table cell: those of the same protocol on the same data.

A group is everything that decides a result except the network and the seed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from resnet_repro.recipe import PRESETS, Preset, Recipe, differences, preset_recipe
from resnet_repro.spec import DatasetName, Run
from resnet_repro.store import StoredRun, Summary

__all__ = ["DATASET_TITLES", "Group", "group_of", "slugs"]

PAPER_DATASET = "cifar10"
DATASET_TITLES = {"cifar10": "CIFAR-10", "synthetic": "synthetic images"}
WITHOUT_EFFECT = "evaluate_every"  # how often a run was measured does not change its outcome


@dataclass(frozen=True)
class Group:
    """A protocol and a data set. Results of different groups never share a table cell."""

    base: Preset  # the preset that the recipe is closest to
    changes: tuple[str, ...]  # what differs from it: "batch_size=64"
    iterations: int
    dataset: DatasetName
    official: bool  # whether the data are verified to be the official ones
    sha256: str  # of the data
    precision: str  # as asked for: auto, fp32 or bf16
    resolved: str  # what that came to: fp32 or bf16

    @property
    def preset(self) -> str:
        """`paper`, `short`, `demo` or `custom`."""
        return "custom" if self.changes else self.base

    @property
    def faithful(self) -> bool:
        """Whether this is the paper's protocol on the paper's data set (official copy or not)."""
        return self.preset == "paper" and self.dataset == PAPER_DATASET

    @property
    def reduced(self) -> bool:
        """Whether less was spent than the paper did, or other images were used."""
        return self.iterations < Recipe().iterations or self.dataset != PAPER_DATASET

    @property
    def data(self) -> str:
        """The data set as a reader knows it: `CIFAR-10 (unofficial copy)`."""
        title = DATASET_TITLES.get(self.dataset, self.dataset)
        return title if self.official else f"{title} (unofficial copy)"

    @property
    def protocol(self) -> str:
        """The preset with its size: `short preset (6,400 of 64,000 iterations)`."""
        text = f"{self.base} preset"
        if self.changes:
            text += f" changed to {', '.join(self.changes)}"
        elif self.base != "paper":
            text += f" ({self.iterations:,} of {Recipe().iterations:,} iterations)"
        return text

    @property
    def caption(self) -> str:
        """Protocol, data and precision in one phrase, marked if it is not the paper's."""
        asked = "" if self.precision == "auto" else " as asked for"
        text = f"{self.protocol}, {self.data}, {self.resolved}{asked}"
        if self.faithful:
            return text
        return f"{'REDUCED' if self.reduced else 'NOT THE PAPER’S PROTOCOL'}: {text}"

    @property
    def order(self) -> tuple[Any, ...]:
        """Sorts the most faithful group first."""
        return (
            self.dataset != PAPER_DATASET,
            PRESETS.index(self.base),
            len(self.changes),
            not self.official,
            self.precision != "auto",
            self.changes,
            self.resolved,
            self.sha256,
            self.precision,
        )

    @property
    def digest(self) -> str:
        """Six hex digits that tell this group from similar ones."""
        return hashlib.sha256(repr(self.order).encode()).hexdigest()[:6]


def group_of(stored: StoredRun) -> Group | None:
    """The group of a stored run, or None if too little is known of it to say."""
    run, summary = stored.run, stored.summary
    if stored.problem or run is None or summary is None:
        return None
    base, changes = _nearest_preset(run)
    return Group(
        base=base,
        changes=changes,
        iterations=run.recipe.iterations,
        dataset=run.dataset,
        official=summary.provenance.dataset.get("official") is True,
        sha256=_checksum(summary),
        precision=run.precision,
        resolved=summary.provenance.precision,
    )


def slugs(groups: Sequence[Group]) -> dict[Group, str]:
    """A short name for each group, good for file names: `short-cifar10`."""
    names: dict[Group, str] = {}
    for group in sorted(set(groups), key=lambda g: g.order):
        name = f"{group.preset}-{group.dataset}"
        clashes = group.changes or name in names.values()
        names[group] = f"{name}-{group.digest}" if clashes else name
    return names


def _checksum(summary: Summary) -> str:
    return str(summary.provenance.dataset.get("sha256", ""))


def _nearest_preset(run: Run) -> tuple[Preset, tuple[str, ...]]:
    """The preset with the fewest differences from a run's recipe, and these differences."""
    candidates = []
    for preset in PRESETS:
        base = preset_recipe(preset, run.network)
        changed = differences(run.recipe, base)
        changed.pop(WITHOUT_EFFECT, None)
        before = base.model_dump(mode="json")
        changes = [text for k, v in changed.items() for text in _changes(k, v, before[k])]
        candidates.append((preset, tuple(sorted(changes))))
    return min(candidates, key=lambda candidate: len(candidate[1]))


def _changes(field: str, value: Any, before: Any) -> list[str]:
    """`field=value`, or one such text for each part that differs where both are mappings."""
    if isinstance(value, dict) and isinstance(before, dict):
        return [
            text
            for key in value
            if value[key] != before.get(key)
            for text in _changes(f"{field}.{key}", value[key], before.get(key))
        ]
    return [f"{field}={json.dumps(value)}"]
