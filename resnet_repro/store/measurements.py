"""Reading what was measured of one run. What is torn is an error, what is not there is empty."""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args

from pydantic import TypeAdapter

from resnet_repro.base.errors import StoreError
from resnet_repro.base.files import read_text
from resnet_repro.spec.shows import Views
from resnet_repro.store.models import (
    BatchNorm,
    CurveRow,
    EvaluationRow,
    GradientRow,
    Measured,
    MeasurementOrigin,
)

__all__ = ["FILES", "ORIGINS", "Gradients", "gradient_outline", "parsed", "read_file"]

ORIGINS = TypeAdapter(dict[Measured, MeasurementOrigin])
T = TypeVar("T")


def read_file(path: Path, parse: Callable[[str], T]) -> T | None:
    """What a file holds, or None where there is none.

    Raises:
        StoreError: it is torn, or not such a file.
    """
    try:
        text = read_text(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: torn or unreadable") from error
    return parsed(path, text, parse)


def parsed(path: Path, text: str, parse: Callable[[str], T]) -> T:
    """What the text of a file says.

    Raises:
        StoreError: it is torn, or not such a file.
    """
    try:
        return parse(text)
    except (ValueError, KeyError, TypeError, csv.Error) as error:  # or a ValidationError
        raise StoreError(f"{path}: torn or unreadable") from error


def finite(text: str) -> float:
    """A number; ValueError if it is infinite or none."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("not a number")
    return number


class Columns:
    """The columns of a CSV file of ours by name."""

    def __init__(self, text: str) -> None:
        """Raises ValueError if the last line or one of the fields is cut off."""
        if not text.endswith("\n"):
            raise ValueError("its last line is cut off, or it is empty")
        if '"' in text:
            header, *rows = filter(None, csv.reader(io.StringIO(text, newline="")))
            if set(map(len, rows)) - {len(header)}:
                raise ValueError("lines of different lengths")
            columns = [[row[at] for row in rows] for at in range(len(header))]
        else:  # a cut in one piece, which is several times as fast
            lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
            header = lines[0].split(",")
            if {line.count(",") for line in lines} != {len(header) - 1}:
                raise ValueError("lines of different lengths")
            fields = ",".join(lines[1:]).split(",") if lines[1:] else []
            columns = [fields[at :: len(header)] for at in range(len(header))]
        self._columns = dict(zip(header, columns, strict=True))

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def of(self, name: str, convert: Callable[[str], T]) -> list[T]:
        """A column's values. Raises KeyError or ValueError where it is not there or not such."""
        return list(map(convert, self._columns[name]))

    def finite(self, name: str) -> list[float]:
        """A column's numbers. Raises KeyError or ValueError where one is infinite or none."""
        numbers = self.of(name, float)
        if not all(map(math.isfinite, numbers)):
            raise ValueError("not a number")
        return numbers


def _curve(text: str) -> list[CurveRow]:
    """The points of a training curve, in order."""
    columns = Columns(text)
    numbers = [columns.finite(name) for name in CurveRow._fields[1:-1]]
    held_out: list[float | None] = [None] * len(numbers[0])
    if "validation_error" in columns:
        held_out = columns.of("validation_error", lambda text: finite(text) if text else None)
    rows = list(map(CurveRow, columns.of("iteration", int), *numbers, held_out))
    if any(a[0] >= b[0] for a, b in pairwise(rows)):
        raise ValueError("iterations do not increase")
    return rows


def _responses(text: str) -> list[tuple[int, str, float]]:
    """(layer, module, standard deviation) of every 3x3 layer."""
    columns = Columns(text)
    layers, modules = columns.of("layer", int), columns.of("module", str)
    return list(zip(layers, modules, columns.finite("std"), strict=True))


class Gradients(NamedTuple):
    """The columns of `gradients.csv`, which may have many thousand rows."""

    iteration: list[int]
    layer: list[int]
    module: list[str]
    forward_std: list[float]
    gradient_norm: list[float]
    weight_norm: list[float]
    measured: list[str]
    signal_norm: Sequence[float | None]

    def rows(self) -> list[GradientRow]:
        """Signals and gradients by iteration and layer."""
        return list(map(GradientRow, *self))


def _gradients(text: str) -> Gradients:
    """Norms may be infinite or no numbers, which is a finding."""
    columns = Columns(text)
    iteration, layer = columns.of("iteration", int), columns.of("layer", int)
    module, measured = columns.of("module", sys.intern), columns.of("measured", sys.intern)
    stds, norms, weights = (columns.of(name, float) for name in Gradients._fields[3:6])
    signal: list[float | None] = [None] * len(layer)
    if "signal_norm" in columns:
        signal = columns.of("signal_norm", lambda text: float(text) if text else None)
    return Gradients(iteration, layer, module, stds, norms, weights, measured, signal)


def gradient_outline(text: str, layers: int) -> bool:
    """Whether this can be the gradients of so many layers, without a look at each number."""
    header, _, rest = text.partition("\n")
    known = set(Gradients._fields[:-1]) <= set(header.strip().split(","))
    lines = rest.count("\n")
    return known and rest.endswith("\n") and layers > 0 and lines > 0 and lines % layers == 0


def _evaluations(text: str) -> list[EvaluationRow]:
    """The errors by kind of views, one row each."""
    columns = Columns(text)
    views = columns.of("views", _one_of(get_args(Views)))
    if len(set(views)) != len(views):
        raise ValueError("the same views stand twice")
    values = zip(
        views,
        columns.of("top1_error", _percentage),
        columns.of("top5_error", _percentage),
        columns.finite("loss"),
        columns.of("images", int),
        columns.of("bn", _one_of(get_args(BatchNorm))),
        columns.of("dataset_sha256", str),
        strict=True,
    )
    return [EvaluationRow(*row) for row in values]


def _one_of(known: Sequence[str]) -> Callable[[str], Any]:
    def check(text: str) -> str:
        if text not in known:
            raise ValueError("views or batch normalisation of a kind that there is not")
        return text

    return check


def _percentage(text: str) -> float:
    error = finite(text)
    if not 0 <= error <= 100:
        raise ValueError("an error that is no percentage")
    return error


# What is measured of a run: the file's name, and what reads it.
FILES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "curve": ("curve.csv", _curve),
    "responses": ("responses.csv", _responses),
    "gradients": ("gradients.csv", _gradients),
    "evaluations": ("evaluations.csv", _evaluations),
    "origins": ("measurements.json", ORIGINS.validate_json),
}
