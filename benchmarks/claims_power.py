"""How often each claim's rule finds what is true, by simulation: the power of the rules.

    python benchmarks/claims_power.py > resnet_repro/paper/power.csv

The truth is the paper's own printed errors, where it prints those of all networks of a claim. Every
seed of every network is drawn from a normal distribution around them, and judged as runs of the
full protocol are. Its standard deviation is the only one that the paper gives (0.16, ResNet-110 in
Table 6), or the largest that five runs of a public reproduction have (0.27, ResNet-56).
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from collections.abc import Mapping
from itertools import product

import numpy as np

from resnet_repro.paper.claims import POWER_SEEDS, POWER_STDS, Claim, load_claims
from resnet_repro.paper.estimates import weakest
from resnet_repro.paper.facts import load_facts
from resnet_repro.paper.papers import HE_2016
from resnet_repro.paper.rules import BandRule, RunRule
from resnet_repro.paper.samples import NetworkRuns

DRAWS = 4_000
VERDICTS = ("confirmed", "consistent", "undecided", "contradicted")  # columns, percent of the draws
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
    claim: Claim, means: Mapping[str, float], std: float, seeds: int, draws: int = DRAWS
) -> Counter[str]:
    """How often each verdict is given with so many seeds of each network, which vary by `std`."""
    random = np.random.default_rng(seeds)
    counts: Counter[str] = Counter()
    for _ in range(draws):
        samples = {
            NetworkRuns(network): tuple(random.normal(mean, std, seeds))
            for network, mean in means.items()
        }
        counts[weakest(claim.rule.conditions(samples))] += 1
    return counts


def simulated() -> dict[Claim, dict[str, float]]:
    """The claims with a truth; of those on one printed error, which are judged alike, the first."""
    found = {claim: means for claim in load_claims() if (means := truth(claim))}
    numbers = [claim for claim in found if isinstance(claim.rule, BandRule)]
    return {claim: means for claim, means in found.items() if claim not in numbers[1:]}


def main() -> None:
    """Write the table to stdout."""
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(["claim", "rule", "std", "seeds", *VERDICTS])
    for claim, means in simulated().items():
        for std, seeds in product(POWER_STDS, POWER_SEEDS):
            counts = outcomes(claim, means, std, seeds)
            shares = [round(100 * counts[w] / DRAWS, 1) for w in VERDICTS]
            out.writerow([claim.id, claim.rule.words(), std, seeds, *shares])


if __name__ == "__main__":
    main()
