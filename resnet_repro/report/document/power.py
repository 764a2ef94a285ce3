"""How often each claim's rule finds what is true: the power of the rules, as simulated.

`benchmarks/claims_power.py` makes the numbers; `paper/power.csv` holds them.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files

from resnet_repro.paper.claims import load_claims
from resnet_repro.paper.rules import BandRule
from resnet_repro.report.markdown import table

__all__ = ["COLUMNS", "SEEDS", "power_section", "read_power"]

SEEDS = (1, 3, 5)
COLUMNS = ("claim", "rule", "seeds", "confirmed", "consistent", "undecided", "contradicted")
NOTE = (
    "Power of the rules, in percent of simulations (`benchmarks/claims_power.py`): how often a "
    "claim is found confirmed, with one seed consistent, if the paper's printed errors are the "
    "truth and seeds vary around them by 0.16 points (Table 6, ResNet-110). Of the other claims "
    "the paper prints no numbers to simulate."
)


@cache
def read_power() -> dict[tuple[str, int], dict[str, str]]:
    """(claim, seeds) -> the row of `power.csv`."""
    text = files("resnet_repro.paper").joinpath("power.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {(row["claim"], int(row["seeds"])): row for row in rows}


def power_section() -> list[str]:
    """The claims that could be simulated; those about single numbers are alike: one row."""
    power = read_power()
    simulated = [claim for claim in load_claims() if (claim.id, SEEDS[0]) in power]
    numbers = [claim for claim in simulated if isinstance(claim.rule, BandRule)]
    rows = []
    for claim in simulated:
        sentence = claim.sentence
        if claim in numbers:
            if claim is not numbers[0]:
                continue
            sentence = (
                f"One network's printed error, of Tables 2, 3, 4 and 6 ({len(numbers)} claims)."
            )
        shares = [power[claim.id, seeds] for seeds in SEEDS]
        rows.append([sentence, shares[0]["consistent"], *(row["confirmed"] for row in shares[1:])])
    header = ["claim", "1 seed: consistent", "3 seeds: confirmed", "5 seeds: confirmed"]
    return ["## How much the rules can tell", "", *table(header, rows, [1, 2, 3]), "", NOTE]
