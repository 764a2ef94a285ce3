"""Means over seeds and their differences, with confidence intervals, and what they decide."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

from scipy.stats import t as student

__all__ = ["Condition", "Estimate", "Judgement", "contrast", "in_words", "number", "weakest"]

CONFIDENCE = 0.95
Judgement = Literal["confirmed", "consistent", "undecided", "contradicted"]
_WORST_FIRST: tuple[Judgement, ...] = ("contradicted", "undecided", "consistent", "confirmed")


@dataclass(frozen=True)
class Condition:
    """Something that a claim predicts, what became of it, and the numbers in words."""

    outcome: Judgement
    text: str = ""


def weakest(conditions: Iterable[Condition]) -> Judgement:
    """The outcome of a claim all of whose conditions must hold."""
    return min((condition.outcome for condition in conditions), key=_WORST_FIRST.index)


@dataclass(frozen=True)
class Estimate:
    """A number and its 95% confidence interval; `None` bounds where `contrast` gives none.

    `least` and `most` are what single seeds make of it, whichever is taken of each sample.
    """

    value: float
    least: float
    most: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        """`+2.30, 95% interval +1.90 to +2.70`."""
        if self.low is None or self.high is None:
            return number(self.value, "+")
        low, high = number(self.low, "+"), number(self.high, "+")
        return f"{number(self.value, '+')}, 95% interval {low} to {high}"

    def positive(self, margin: float, sure: float = 0.0) -> Judgement:
        """Judge the prediction that the number is above zero.

        The interval decides where there is one and it lies on one side of `sure`. Otherwise the
        value supports the prediction beyond the margin. On the other side it contradicts it beyond
        the margin if no choice of seeds says otherwise. In between nothing is decided.
        """
        if self.low is not None and self.low > sure:
            return "confirmed"
        if self.high is not None and self.high < sure:
            return "contradicted"
        if self.value > margin:
            return "consistent"
        return "contradicted" if self.value < -margin and self.most < 0 else "undecided"

    def within(self, band: float, margin: float) -> Judgement:
        """Judge the prediction that the number is at most `band` away from zero, likewise."""
        if self.low is not None and self.high is not None:
            if -band <= self.low and self.high <= band:
                return "confirmed"
            if self.low > band or self.high < -band:
                return "contradicted"
        if abs(self.value) <= band:
            return "consistent"
        outside = self.least > band or self.most < -band
        return "contradicted" if abs(self.value) > band + margin and outside else "undecided"


def contrast(terms: Iterable[tuple[float, Sequence[float]]], offset: float = 0.0) -> Estimate:
    """The weighted sum of means plus `offset`, variances taken as unequal.

    For weights 1 and -1 this is Welch's interval (tests compare it with scipy's); with more terms
    the degrees of freedom are Welch and Satterthwaite's.

    Without an interval where a sample has one seed or an infinite value.

    Args:
        terms: (weight, a quantity's value for each seed).
        offset: added to the sum.

    Raises:
        ValueError: a sample is empty.
    """
    value, least, most, variance, curvature, unsure = offset, offset, offset, 0.0, 0.0, False
    for weight, values in terms:
        if not values:
            raise ValueError("a sample without values has no mean")
        value += weight * fmean(values)
        ends = weight * min(values), weight * max(values)
        least, most = least + min(ends), most + max(ends)
        if len(values) == 1 or not all(map(math.isfinite, values)):
            unsure = True
            continue
        part = (weight * stdev(values)) ** 2 / len(values)
        variance += part
        curvature += part**2 / (len(values) - 1)
    if unsure:
        return Estimate(value, least, most)
    if curvature == 0:  # every seed gave the same number
        return Estimate(value, least, most, value, value)
    freedom = variance**2 / curvature
    half = float(student.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(variance)
    return Estimate(value, least, most, value - half, value + half)


def in_words(values: Sequence[float], infinite: str = "", unit: str = "") -> str:
    """A mean over seeds: `8.61 ± 0.10 (3 seeds)`; each of them, if one is infinite."""
    seeds = "1 seed" if len(values) == 1 else f"{len(values)} seeds"
    if len(values) == 1 or not all(map(math.isfinite, values)):
        each = (number(v) if math.isfinite(v) else infinite or "infinite" for v in values)
        return f"{', '.join(each)}{unit} ({seeds})"
    mean = fmean(values)
    return f"{number(mean)} ± {stdev(values):{_digits(mean)}}{unit} ({seeds})"


def number(value: float, sign: Literal["", "+"] = "") -> str:
    """`8.61`; two significant digits of what is smaller than 0.01: `0.0065`."""
    return f"{value:{sign}{_digits(value)}}"


def _digits(value: float) -> Literal[".2f", ".2g"]:
    return ".2g" if 0 < abs(round(value, 6)) < 0.01 else ".2f"
