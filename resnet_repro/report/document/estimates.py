"""Means over seeds, their differences, and confidence intervals where there are enough seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import t as student

from resnet_repro.report.results import Sample

__all__ = ["CONFIDENCE", "Estimate", "contrast"]

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A number and its 95% confidence interval; `None` bounds where a sample has one seed."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def several_seeds(self) -> bool:
        return self.low is not None


def contrast(terms: Sequence[tuple[float, Sample]], offset: float = 0.0) -> Estimate:
    """The weighted sum of means plus `offset`, variances taken as unequal.

    For weights 1 and -1 this is Welch's interval (tests compare it with scipy's); with more terms
    the degrees of freedom are Welch and Satterthwaite's.

    Raises:
        ValueError: a sample is empty.
    """
    value, variance, curvature = offset, 0.0, 0.0
    for weight, sample in terms:
        if sample.mean is None:
            raise ValueError("a sample without values has no mean")
        value += weight * sample.mean
        if sample.std is not None:
            part = (weight * sample.std) ** 2 / sample.count
            variance += part
            curvature += part**2 / (sample.count - 1)
    if any(sample.std is None for _, sample in terms):
        return Estimate(value)
    if curvature == 0:  # every seed gave the same number
        return Estimate(value, value, value)
    freedom = variance**2 / curvature
    half = float(student.ppf((1 + CONFIDENCE) / 2, freedom)) * math.sqrt(variance)
    return Estimate(value, value - half, value + half)
