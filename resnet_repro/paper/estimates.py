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
    """A number and its 95% confidence interval; `None` bounds where a sample has one seed."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def several_seeds(self) -> bool:
        return self.low is not None

    def __str__(self) -> str:
        """`+2.30, 95% interval +1.90 to +2.70`."""
        if self.low is None or self.high is None:
            return number(self.value, "+")
        low, high = number(self.low, "+"), number(self.high, "+")
        return f"{number(self.value, '+')}, 95% interval {low} to {high}"

    def positive(self, margin: float) -> Judgement:
        """Judge the prediction that the number is above zero.

        The interval decides where there is one and it lies on one side. Otherwise the value
        supports the prediction beyond the margin, a single seed's contradicts it beyond the margin
        on the other side, and in between nothing is decided.
        """
        if self.low is not None and self.low > 0:
            return "confirmed"
        if self.high is not None and self.high < 0:
            return "contradicted"
        if self.value > margin:
            return "consistent"
        missed = not self.several_seeds and self.value < -margin
        return "contradicted" if missed else "undecided"

    def within(self, band: float, margin: float) -> Judgement:
        """Judge the prediction that the number is at most `band` away from zero."""
        if self.low is not None and self.high is not None:
            if -band <= self.low and self.high <= band:
                return "confirmed"
            if self.low > band or self.high < -band:
                return "contradicted"
        if abs(self.value) <= band:
            return "consistent"
        missed = not self.several_seeds and abs(self.value) > band + margin
        return "contradicted" if missed else "undecided"


def contrast(terms: Iterable[tuple[float, Sequence[float]]], offset: float = 0.0) -> Estimate:
    """The weighted sum of means plus `offset`, variances taken as unequal.

    For weights 1 and -1 this is Welch's interval (tests compare it with scipy's); with more terms
    the degrees of freedom are Welch and Satterthwaite's.

    Args:
        terms: (weight, a quantity's value for each seed).
        offset: added to the sum.

    Raises:
        ValueError: a sample is empty.
    """
    value, variance, curvature, single = offset, 0.0, 0.0, False
    for weight, values in terms:
        if not values:
            raise ValueError("a sample without values has no mean")
        value += weight * fmean(values)
        if len(values) == 1:
            single = True
            continue
        part = (weight * stdev(values)) ** 2 / len(values)
        variance += part
        curvature += part**2 / (len(values) - 1)
    if single:
        return Estimate(value)
    if curvature == 0:  # every seed gave the same number
        return Estimate(value, value, value)
    freedom = variance**2 / curvature
    half = float(student.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(variance)
    return Estimate(value, value - half, value + half)


def in_words(values: Sequence[float]) -> str:
    """A mean over seeds: `8.61 ± 0.10 (3 seeds)`."""
    mean = fmean(values)
    if len(values) == 1:
        return f"{number(mean)} (1 seed)"
    return f"{number(mean)} ± {stdev(values):{_digits(mean)}} ({len(values)} seeds)"


def number(value: float, sign: Literal["", "+"] = "") -> str:
    """`8.61`; two significant digits of what is smaller than 0.01: `0.0065`."""
    return f"{value:{sign}{_digits(value)}}"


def _digits(value: float) -> Literal[".2f", ".2g"]:
    return ".2g" if 0 < abs(round(value, 6)) < 0.01 else ".2f"
