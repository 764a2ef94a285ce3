"""The report's sections on the claims' rules: what changed in them, and what they can tell."""

from __future__ import annotations

from resnet_repro.paper.claims import (
    POWER_SEEDS,
    POWER_STDS,
    Claim,
    load_changes,
    load_claims,
    load_power,
)
from resnet_repro.paper.rules import BandRule
from resnet_repro.report.markdown import table

__all__ = ["changes_section", "numbered_changes", "power_section"]

POWER_NOTE = (
    "Power of the rules, in percent of simulations (`benchmarks/claims_power.py`): how often a "
    "claim is found confirmed, with one seed consistent, if the paper's printed errors are the "
    "truth and seeds vary around them by 0.16 points (Table 6, ResNet-110) or, the second number, "
    "by 0.27 (ResNet-56, five runs of another reproduction). A printed error is one run's itself: "
    "if it varies as much, one seed is consistent with it in 97 or 81 percent of cases, and "
    "contradicts it in 0.04 or 3.6. Of the other claims the paper prints no numbers to simulate."
)


def numbered_changes(claim: Claim) -> str:
    """`; changes: 4, 7`, the numbers of what became of a claim in the section on changes."""
    numbers = ", ".join(map(str, sorted(load_changes().index(c) + 1 for c in claim.changed)))
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
