"""The report's sections on the protocol's open choices and on the power of the rules."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from resnet_repro.paper.claims import (
    POWER_SEEDS,
    POWER_STDS,
    Claim,
    load_changes,
    load_claims,
    load_power,
)
from resnet_repro.paper.reading import read_package_file
from resnet_repro.paper.rules import BandRule
from resnet_repro.report.groups import FAMILIES, PAPER_RECIPES, Group
from resnet_repro.report.markdown import bullets, table
from resnet_repro.spec.dataset_names import dataset_title
from resnet_repro.spec.network_names import Family
from resnet_repro.spec.recipe import Recipe, open_choices

__all__ = ["as_text", "changes_of", "changes_section", "power_section", "protocol_section"]

POWER_NOTE = (
    "Power of the rules, in percent of simulations (`benchmarks/claims_power.py`): how often a "
    "claim is found confirmed, with one seed consistent, if the paper's printed errors are the "
    "truth and seeds vary around them by 0.16 points (Table 6, ResNet-110) or, the second number, "
    "by 0.27 (ResNet-56, five runs of another reproduction). A printed error is one run's itself: "
    "if it varies as much, one seed is consistent with it in 97 or 81 percent of cases, and "
    "contradicts it in 0.04 or 3.6. Of the other claims the paper prints no numbers to simulate."
)


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


def changes_of(claim: Claim) -> str:
    """`; changes: 4, 7`, the numbers of what became of a claim in the section on changes."""
    numbers = ", ".join(str(load_changes().index(change) + 1) for change in claim.changed)
    return f"; [changes](#changes-of-rules): {numbers}" if numbers else ""


def changes_section() -> list[str]:
    """What became of claims and their rules; the claims name their changes by number."""
    rows = []
    for number, change in enumerate(load_changes(), start=1):
        whose = ", ".join(f"`{c.id}`" for c in load_claims() if change in c.changed)
        rows.append([str(number), str(change.date), whose, change.what, change.known])
    note = (
        "What was added or changed when results of it could be known, with what was known then. "
        "Claims are named by their `id` in `resnet_repro/paper/claims_*.yaml`; changes of nearly "
        "every rule stand at the top of `claims_cifar10.yaml` there."
    )
    header = ["", "on", "claims", "what", "known then"]
    return ["## Changes of rules", "", note, "", *table(header, rows)]


def power_section() -> list[str]:
    """The claims that were simulated; of those about single numbers one stands for all."""
    power, claims = load_power(), load_claims()
    names = {name for name, *_ in power}
    numbers = sum(isinstance(claim.rule, BandRule) for claim in claims)
    words, rows = ("consistent", "confirmed", "confirmed"), []
    for claim in claims:
        if claim.id not in names:
            continue
        sentence = claim.sentence
        if isinstance(claim.rule, BandRule):
            sentence = f"One network's printed error, of Tables 2, 3, 4 and 6 ({numbers} claims)."
        shares = [
            " / ".join(power[claim.id, std, seeds][word] for std in POWER_STDS)
            for seeds, word in zip(POWER_SEEDS, words, strict=True)
        ]
        rows.append([sentence, *shares])
    header = ["claim", "1 seed: consistent", "3 seeds: confirmed", "5 seeds: confirmed"]
    return ["## How much the rules can tell", "", POWER_NOTE, "", *table(header, rows, [1, 2, 3])]
