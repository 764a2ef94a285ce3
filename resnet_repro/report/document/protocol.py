"""The report's section on the protocol: its open choices, and how each group differs."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from resnet_repro.paper.papers import FAMILIES, PAPER_RECIPES
from resnet_repro.paper.reading import read_package_file
from resnet_repro.report.groups import Group
from resnet_repro.report.markdown import bullets, table
from resnet_repro.spec.dataset_names import dataset_title
from resnet_repro.spec.network_names import Family
from resnet_repro.spec.recipe import Recipe, open_choices

__all__ = ["as_text", "protocol_section"]


def protocol_section(groups: Mapping[Group, int]) -> list[str]:
    """The recipe's assumptions and deviations, and how each group differs from the paper.

    Only those that affect these results; all if there are no results.
    """
    families = {group.family for group in groups} or set(FAMILIES)
    rows = [
        [f"`{field}`", kind, _paper_values(field, value, families), reason]
        for field, kind, value, reason in open_choices(*families)
    ]
    papers = " and ".join(FAMILIES[family].section for family in FAMILIES if family in families)
    sizes = " and, off ImageNet, the size of the photographs" if "imagenet" in families else ""
    if "detection" in families:
        sizes += ", and of detectors the rate, the images' size and the numbers of regions"
    lines = [
        "## Protocol, assumptions and deviations",
        "",
        f"The `paper` preset is {papers}; the other presets change its length{sizes}. What the "
        "paper leaves open (assumption) or has otherwise (deviation) affects every result here.",
        "",
        *table(["field", "kind", "paper preset", "why"], rows),
    ]
    fixed_choices = read_package_file("fixed_choices.yaml", dict[Family, dict[str, str]])
    chosen = [choices for family, choices in fixed_choices.items() if family in families]
    fixed = [[what, how] for choices in chosen for what, how in choices.items()]
    if fixed:
        lines += ["", *table(["assumption without a field", "what is done"], fixed)]
    differing = [
        f"[{number}] {group.caption}{_preset(group)}"
        for group, number in groups.items()
        if not group.faithful or not group.official or group.precision != "fp32"
    ]
    if differing:
        lines += ["", "Results here that differ further from the paper:", "", *bullets(differing)]
    return lines


def _paper_values(field: str, default: Any, families: Collection[Family]) -> str:
    """A field's value at the paper preset, for each family if they differ."""
    values = {family: _value(PAPER_RECIPES[family], field, default) for family in families}
    texts = {family: f"`{as_text(value)}`" for family, value in values.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    titles = {family: dataset_title(FAMILIES[family].dataset) for family in families}
    return ", ".join(f"{texts[f]} on {titles[f]}" for f in sorted(texts))


def _value(recipe: Recipe, field: str, default: Any) -> Any:
    """`plateau.patience` of a recipe; the default if the recipe has no such part."""
    value: Any = recipe
    for name in field.split("."):
        value = getattr(value, name, None)
        if value is None and "." in field:
            return default
    return value


def _preset(group: Group) -> str:
    """What a preset that is not the paper's changes, field by field."""
    changes = group.preset_changes
    return f" (the {group.preset_title} has {', '.join(changes)})" if changes else ""


def as_text(value: Any) -> str:
    """A value as JSON, but texts without quotes."""
    return json.dumps(value) if not isinstance(value, str) else value
