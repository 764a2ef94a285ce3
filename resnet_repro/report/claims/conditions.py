"""Rules of claims as conditions on estimates, and what the estimates make of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal, assert_never

from resnet_repro.paper.claims import (
    BandRule,
    CloseRule,
    CostRule,
    EnsembleRule,
    GapRule,
    LimitRule,
    OrderRule,
    Rule,
    SameRule,
    ThroughoutRule,
    TrendRule,
)
from resnet_repro.report.claims.quantities import UNITS
from resnet_repro.report.document.estimates import Estimate, contrast
from resnet_repro.report.results import Sample, network_title

__all__ = ["Condition", "Outcome", "conditions_of", "signed", "weakest", "within"]

Outcome = Literal["confirmed", "consistent", "undecided", "contradicted"]
_ORDER: tuple[Outcome, ...] = ("contradicted", "undecided", "consistent", "confirmed")
Samples = Mapping[str, Sample]


@dataclass(frozen=True)
class Condition:
    """Something that a claim predicts, what became of it, and the numbers in words."""

    outcome: Outcome
    text: str


def weakest(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome of a claim all of whose conditions must hold."""
    return min(outcomes, key=_ORDER.index)


def conditions_of(rule: Rule, samples: Samples, changed: Samples) -> list[Condition]:
    """The conditions of a rule.

    Args:
        rule: any kind but those that are not about runs (`CostRule`, `EnsembleRule`).
        samples: network -> its quantity over seeds; for a `ThroughoutRule` the second network's
            is the share of its points.
        changed: the same of the runs with the changes that a `SameRule` or a `LimitRule` names.
    """
    match rule:
        case OrderRule():
            steps = [c for low, high in rule.pairs for c in _step(low, high, rule, samples)]
            return _with_means(rule, steps, samples)
        case TrendRule():
            return [_trend(rule, samples)]
        case ThroughoutRule():
            return [_throughout(rule, samples)]
        case GapRule():
            return _gap(rule, samples)
        case LimitRule():
            of = changed if rule.changes else samples
            return [_limit(network, rule, of) for network in rule.each]
        case BandRule():
            return [_band(rule, samples)]
        case CloseRule():
            return [_close(rule, samples)]
        case SameRule():
            return [_same(rule, samples, changed)]
        case CostRule() | EnsembleRule():
            raise ValueError(f"a {rule.kind} rule is not about runs")
        case _:
            assert_never(rule)


def _step(low: str, high: str, rule: OrderRule, samples: Samples) -> list[Condition]:
    """One step of a chain: it goes up, and by as much as the rule says."""
    terms = [(1.0, samples[high]), (-1.0, samples[low])]
    estimate = contrast(terms)
    text = f"{network_title(high)} minus {network_title(low)} {signed(estimate)}"
    conditions = [Condition(positive(estimate, rule.margin), text)]
    if rule.at_least is not None:
        more = contrast(terms, offset=-rule.at_least)
        conditions.append(Condition(positive(more, rule.margin), ""))
    if rule.at_most is not None:
        less = contrast([(-weight, sample) for weight, sample in terms], offset=rule.at_most)
        conditions.append(Condition(positive(less, rule.margin), ""))
    return conditions


def _with_means(rule: OrderRule, conditions: list[Condition], samples: Samples) -> list[Condition]:
    """The conditions, the first one's text led by each network's mean."""
    means = ", ".join(_name(network, samples) for network in rule.networks)
    first = replace(conditions[0], text=f"{means}: {conditions[0].text}")
    return [first, *conditions[1:]]


def _trend(rule: TrendRule, samples: Samples) -> Condition:
    """The slope over the whole chain, the steps shown beside it."""
    slope = contrast([(w, samples[n]) for w, n in zip(rule.weights, rule.chain, strict=True)])
    means = ", ".join(_name(network, samples) for network in rule.chain)
    differences = [
        f"{contrast([(1, samples[high]), (-1, samples[low])]).value:+.2f}"
        for low, high in pairwise(rule.chain)
    ]
    text = f"{means}: {signed(slope)} a step; the steps {', '.join(differences)}"
    return Condition(positive(slope, rule.margin), text)


def _throughout(rule: ThroughoutRule, samples: Samples) -> Condition:
    low, high = rule.pair
    share = contrast([(1, samples[high])], offset=-rule.share)
    text = (
        f"{network_title(high)} above {network_title(low)} at {_mean(samples[high])} percent of "
        f"the points, predicted at least {rule.share:g}"
    )
    return Condition(positive(share, rule.margin), text)


def _gap(rule: GapRule, samples: Samples) -> list[Condition]:
    """The wider gap is one, by the margin at least, and it is larger than the narrower one."""
    (wide_low, wide_high), (narrow_low, narrow_high) = rule.wider, rule.narrower
    terms = [(1.0, samples[wide_high]), (-1.0, samples[wide_low])]
    wide, beyond = contrast(terms), contrast(terms, offset=-rule.margin)
    narrow = contrast([(1, samples[narrow_high]), (-1, samples[narrow_low])])
    growth = contrast(
        [
            (1, samples[wide_high]),
            (-1, samples[wide_low]),
            (-1, samples[narrow_high]),
            (1, samples[narrow_low]),
        ]
    )
    text = (
        f"{network_title(wide_high)} minus {network_title(wide_low)} {wide.value:+.2f}, "
        f"{network_title(narrow_high)} minus {network_title(narrow_low)} {narrow.value:+.2f}: "
        f"growth {signed(growth)}"
    )
    least = f"more than {rule.margin:g} predicted of the former"
    return [
        Condition(positive(growth, rule.margin), text),
        Condition(positive(beyond if beyond.several_seeds else wide, rule.margin), least),
    ]


def _limit(network: str, rule: LimitRule, samples: Samples) -> Condition:
    sign = 1 if rule.side == "above" else -1
    distance = contrast([(sign, samples[network])], offset=-sign * rule.limit)
    side = "at least" if rule.side == "above" else "at most"
    limit = f"{side} {rule.limit:g}{UNITS.get(rule.quantity, '')}"
    text = f"{_name(network, samples)}, predicted {limit}"
    return Condition(positive(distance, rule.margin), text)


def _band(rule: BandRule, samples: Samples) -> Condition:
    difference = contrast([(1, samples[rule.network])], offset=-rule.value)
    text = (
        f"{_name(rule.network, samples)}, paper {rule.value:.2f}: difference "
        f"{signed(difference)}, band ±{rule.band:g}"
    )
    return Condition(within(difference, rule.band, rule.margin), text)


def _close(rule: CloseRule, samples: Samples) -> Condition:
    first, second = rule.pair
    terms = [(1.0, samples[second]), (-1.0, samples[first])]
    found, difference = contrast(terms), contrast(terms, offset=-rule.value)
    paper = f", paper {rule.value:+.2f}" if rule.value else ""
    text = (
        f"{_name(first, samples)}, {_name(second, samples)}: difference {signed(found)}{paper}, "
        f"band ±{rule.band:g}"
    )
    return Condition(within(difference, rule.band, rule.margin), text)


def _same(rule: SameRule, samples: Samples, changed: Samples) -> Condition:
    difference = contrast([(1, changed[rule.network]), (-1, samples[rule.network])])
    text = (
        f"{_name(rule.network, samples)}, with {', '.join(rule.changes)} "
        f"{_mean(changed[rule.network])}: difference {signed(difference)}, band ±{rule.band:g}"
    )
    return Condition(within(difference, rule.band, rule.margin), text)


def positive(estimate: Estimate, margin: float) -> Outcome:
    """Judge the prediction that a quantity is above zero.

    The interval decides where there is one and it lies on one side. Otherwise the value supports
    the prediction beyond the margin, a single seed's contradicts it beyond the margin on the other
    side, and in between nothing is decided.
    """
    low, high = estimate.low, estimate.high
    if low is not None and low > 0:
        return "confirmed"
    if high is not None and high < 0:
        return "contradicted"
    if estimate.value > margin:
        return "consistent"
    missed = not estimate.several_seeds and estimate.value < -margin
    return "contradicted" if missed else "undecided"


def within(estimate: Estimate, band: float, margin: float) -> Outcome:
    """Judge the prediction that a quantity is at most `band` away from zero."""
    low, high = estimate.low, estimate.high
    if low is not None and high is not None:
        if -band <= low and high <= band:
            return "confirmed"
        if low > band or high < -band:
            return "contradicted"
    if abs(estimate.value) <= band:
        return "consistent"
    missed = not estimate.several_seeds and abs(estimate.value) > band + margin
    return "contradicted" if missed else "undecided"


def _name(network: str, samples: Samples) -> str:
    return f"{network_title(network)} {_mean(samples[network])}"


def _mean(sample: Sample) -> str:
    """`8.61 ± 0.10 (3 seeds)`."""
    assert sample.mean is not None, "samples of conditions are not empty"
    seeds = f"{sample.count} seed{'s' if sample.count > 1 else ''}"
    spread = "" if sample.std is None else f" ± {sample.std:.2f}"
    return f"{sample.mean:.2f}{spread} ({seeds})"


def signed(estimate: Estimate) -> str:
    """`+2.30, 95% interval +1.90 to +2.70`."""
    text = f"{estimate.value:+.2f}"
    if estimate.low is not None and estimate.high is not None:
        text += f", 95% interval {estimate.low:+.2f} to {estimate.high:+.2f}"
    return text
