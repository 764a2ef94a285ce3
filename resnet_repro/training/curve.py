"""Points of the training curve."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any

__all__ = ["Point", "point_from", "whole_number"]


@dataclass(frozen=True)
class Point:
    """A point of the curve; errors in percent, `seconds` since the training began."""

    iteration: int
    epoch: float
    lr: float
    train_loss: float
    train_error: float
    test_error: float
    seconds: float
    validation_error: float | None = None


def point_from(values: Any, iteration: int) -> Point:
    """A point from a checkpoint that was made at `iteration`.

    Raises:
        TypeError, ValueError, KeyError: it is not one.
    """
    if not isinstance(values, dict):
        raise TypeError("a point is a mapping")
    point = Point(**{f.name: values[f.name] for f in fields(Point)})
    numbers = [v for v in asdict(point).values() if v is not None]
    if not all(isinstance(v, float | int) and math.isfinite(v) for v in numbers):
        raise ValueError("a point without numbers")
    errors = (point.train_error, point.test_error, point.validation_error or 0.0)
    if not all(0 <= error <= 100 for error in errors):
        raise ValueError("an error that cannot be")
    whole_number(point.iteration, iteration)
    return point


def whole_number(value: Any, most: int) -> int:
    """`value` if it is a number of iterations up to `most`.

    Raises:
        ValueError: it is not.
    """
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError("an iteration that cannot be")
    return value
