"""The option `--set`: assignments that change an experiment's file, and which would do nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from resnet_repro.base.errors import ConfigError
from resnet_repro.spec.experiment import Choices, Experiment
from resnet_repro.spec.experiment_parts import Selection
from resnet_repro.spec.recipe import OF_CROP, merge
from resnet_repro.spec.yaml_io import parse_yaml

__all__ = ["refuse_chosen", "refuse_overruled", "with_assignments"]

_CROP = re.compile(r"\s*(runs\.\d+\.)?recipe\.photographs\.crop\s*=")


def with_assignments(data: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """An experiment that is not validated yet, with `recipe.batch_size=64` and so on applied.

    Where a crop is set, the other sizes of photographs are left out: those in the file go with the
    crop that it had.

    Raises:
        ConfigError: no assignment, a value that is not YAML, or a place that cannot be.
    """
    if any(_CROP.match(assignment) for assignment in assignments):
        data = _without_sizes(data)
    for assignment in assignments:
        data = _assign(data, assignment)
    return data


def _without_sizes(data: dict[str, Any]) -> dict[str, Any]:
    """An experiment's recipes without the sizes of photographs that go with a crop."""
    recipe = data.get("recipe")
    photographs = recipe.get("photographs") if isinstance(recipe, dict) else None
    if isinstance(recipe, dict) and isinstance(photographs, dict):
        kept = {key: value for key, value in photographs.items() if key not in OF_CROP}
        data = data | {"recipe": recipe | {"photographs": kept}}
    if isinstance(runs := data.get("runs"), list):
        own = [_without_sizes(entry) if isinstance(entry, dict) else entry for entry in runs]
        data = data | {"runs": own}
    return data


def _assign(data: dict[str, Any], assignment: str) -> dict[str, Any]:
    """Apply one `--set path.to.field=value`; the value is YAML."""
    path, sign, text = assignment.partition("=")
    parts = path.strip().split(".")
    if not sign or not all(parts) or len(parts) > 10:
        raise ConfigError(f"--set {assignment[:80]}: should look like recipe.batch_size=64")
    value = parse_yaml(text, f"--set {path[:80]}").data

    def put(node: Any, rest: list[str]) -> Any:
        if not rest:
            return value
        head, tail = rest[0], rest[1:]
        if isinstance(node, list):
            if not head.isdecimal() or len(head) > 9 or int(head) >= len(node):
                there = f"0 to {len(node) - 1}" if node else "the list is empty"
                raise ConfigError(f"--set {path[:80]}: there is no item {head[:40]} ({there})")
            return [put(v, tail) if i == int(head) else v for i, v in enumerate(node)]
        if node is not None and not isinstance(node, dict):
            raise ConfigError(f"--set {path[:80]}: {head[:40]} is not inside a mapping")
        node = node or {}
        return {**node, head: put(node.get(head), tail)}

    changed: dict[str, Any] = put(data, parts)
    return changed


def refuse_chosen(paths: Sequence[str], experiment: Experiment, choices: Choices) -> None:
    """Raise ConfigError for a `--set` of what an option or the preset chooses in its place.

    `paths` are the places that were set, and `experiment` is what they have made.
    """
    preset = choices.preset or experiment.preset
    selection = experiment.presets.get(preset, Selection())
    by_option = {
        "preset": choices.preset not in (None, experiment.preset),
        "precision": choices.precision not in (None, experiment.precision),
        "dataset": choices.dataset not in (None, *experiment.datasets),
        "seeds": choices.seeds is not None,
    }
    by_preset = {
        "dataset": choices.dataset is None and experiment.dataset_at(preset) is not None,
        "seeds": choices.seeds is None and selection.seeds is not None,
        "networks": choices.networks is None and selection.networks is not None,
    }
    for path in paths:
        for field in _fields_set(path.split("."), experiment):
            if by_option.get(field):
                raise ConfigError(f"--set {path}: --{field} chooses another; leave out one of them")
            if by_preset.get(field):
                own = f"--set {path}: the preset {preset} has its own {field}, which would stay"
                raise ConfigError(f"{own}; choose by --{field}")


def _fields_set(parts: Sequence[str], experiment: Experiment) -> set[str]:
    """What a place that was set is of: `preset`, or `seeds` of `runs.0.seeds`."""
    if parts[0] != "runs":
        return {parts[0]}
    if len(parts) > 2:
        return {parts[2]}
    entries = experiment.runs  # which a later assignment may have made fewer
    if len(parts) > 1:
        entries = entries[int(parts[1]) :][:1]
    return {field for entry in entries for field in entry.model_fields_set}


def refuse_overruled(
    paths: Sequence[str], loaded: Experiment, chosen: Experiment, name: str
) -> None:
    """Raise ConfigError for a `--set recipe.X` to which a chosen entry of `runs` has its own X.

    `paths` are the places that were set; `name` is that of the file.
    """
    kept = [entry.recipe for entry in chosen.runs]
    for index, entry in enumerate(loaded.runs):
        if not any(entry.recipe is recipe for recipe in kept):
            continue
        together = merge(loaded.recipe, entry.recipe)
        for path in paths:
            own, (where, *parts) = f"runs.{index}.{path}", path.split(".")
            if where != "recipe" or own in paths:
                continue
            if merge(together, _part(loaded.recipe, parts)) != together:
                raise ConfigError(
                    f"--set {path}: {', '.join(entry.networks)} has its own in {name}, "
                    f"which would stay; set {own} as well, or choose others by --networks"
                )


def _part(recipe: dict[str, Any], parts: Sequence[str]) -> dict[str, Any]:
    """What a recipe has at a place (of a list, the whole), and nothing else."""
    if not parts:
        return recipe
    first, *rest = parts
    there = recipe.get(first)
    return {first: _part(there, rest) if isinstance(there, dict) else there}
