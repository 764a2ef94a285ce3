"""The option `--set`: assignments that change the contents of an experiment's file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from resnet_repro.base.errors import ConfigError
from resnet_repro.spec.recipe import OF_CROP
from resnet_repro.spec.yaml_io import parse_yaml

__all__ = ["with_assignments"]

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
