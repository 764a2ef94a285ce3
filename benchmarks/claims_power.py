"""How often each claim's rule finds what is true, by simulation: the power of the rules.

    python benchmarks/claims_power.py > resnet_repro/paper/power.csv

The truth is the paper's own printed errors, where it prints those of all networks of a claim. Every
seed of every network is drawn from a normal distribution around them with the one standard
deviation that the paper gives (0.16, ResNet-110 in Table 6), and judged as runs of the full
protocol are.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Mapping

import numpy as np

from resnet_repro.paper.claims import POWER_COLUMNS, POWER_SEEDS, Claim, load_claims
from resnet_repro.paper.estimates import weakest
from resnet_repro.paper.facts import load_facts
from resnet_repro.paper.papers import HE_2016
from resnet_repro.paper.rules import RunRule
from resnet_repro.paper.samples import NetworkRuns

STD = 0.16  # percent, Table 6
DRAWS = 4_000
PREACT = ("preact-table1", "preact-table2", "preact-table3")


def truth(claim: Claim) -> dict[str, float] | None:
    """The printed error of every network of a claim, or None where one is not printed."""
    rule = claim.rule
    if not isinstance(rule, RunRule) or any(subject.changes for subject in rule.subjects):
        return None
    facts = load_facts()
    names = PREACT if claim.paper == HE_2016 else ("table6",)
    rows = [row for name in names for row in facts.cifar_results(name)]
    tables = {
        "final_test_error": {
            r.network: r.error.comparable for r in rows if r.dataset == claim.dataset
        },
        "ten_crop_error": {r.network: r.top1 for r in (*facts.table2, *facts.table3)},
        "multi_scale_error": {r.network: r.top1 for r in facts.table4},
    }
    printed = tables.get(rule.quantity, {})
    found = {network: printed.get(network) for network in claim.networks}
    known = {network: error for network, error in found.items() if error is not None}
    return known if known and len(known) == len(found) else None


def outcomes(
    claim: Claim, means: Mapping[str, float], seeds: int, draws: int = DRAWS
) -> Counter[str]:
    """How often each verdict is given with so many seeds of each network."""
    random = np.random.default_rng(seeds)
    counts: Counter[str] = Counter()
    for _ in range(draws):
        samples = {
            NetworkRuns(network): tuple(random.normal(mean, STD, seeds))
            for network, mean in means.items()
        }
        counts[weakest(claim.rule.conditions(samples))] += 1
    return counts


def main() -> None:
    """Write the table to stdout."""
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(POWER_COLUMNS)
    for claim in load_claims():
        means = truth(claim)
        if means is None:
            continue
        for seeds in POWER_SEEDS:
            counts = outcomes(claim, means, seeds)
            shares = [round(100 * counts[w] / DRAWS, 1) for w in POWER_COLUMNS[3:]]
            out.writerow([claim.id, claim.rule.words(), seeds, *shares])


if __name__ == "__main__":
    main()
