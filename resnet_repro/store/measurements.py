"""Reading what was measured of one run. What is torn is an error, what is not there is empty."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import TypeAdapter

from resnet_repro.errors import StoreError
from resnet_repro.spec import Views
from resnet_repro.store.files import finite, read_text
from resnet_repro.store.models import (
    BatchNorm,
    CurveRow,
    EvaluationRow,
    GradientRow,
    Measured,
    MeasurementOrigin,
)

__all__ = ["FILES", "ORIGINS", "parsed", "read_file"]

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


class _Columns:
    """The columns of a CSV file of ours by name."""

    def __init__(self, text: str) -> None:
        """Raises ValueError if the last line or one of the fields is cut off."""
        if not text.endswith("\n"):
            raise ValueError("its last line is cut off, or it is empty")
        header, *rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
        if any(len(row) != len(header) for row in rows):
            raise ValueError("lines of different lengths")
        columns: Sequence[Sequence[str]] = list(zip(*rows, strict=True)) or [()] * len(header)
        self._columns = dict(zip(header, columns, strict=True))

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def of(self, name: str, convert: Callable[[str], T]) -> list[T]:
        """A column's values. Raises KeyError or ValueError where it is not there or not such."""
        return [convert(text) for text in self._columns[name]]


def _curve(text: str) -> list[CurveRow]:
    """The points of a training curve, in order."""
    columns = _Columns(text)
    numbers = [columns.of(name, finite) for name in CurveRow._fields[1:-1]]
    held_out: list[float | None] = [None] * len(numbers[0])
    if "validation_error" in columns:
        held_out = columns.of("validation_error", lambda text: finite(text) if text else None)
    rows = list(map(CurveRow, columns.of("iteration", int), *numbers, held_out))
    if any(a.iteration >= b.iteration for a, b in pairwise(rows)):
        raise ValueError("iterations do not increase")
    return rows


def _responses(text: str) -> list[tuple[int, str, float]]:
    """(layer, module, standard deviation) of every 3x3 layer."""
    columns = _Columns(text)
    layers, modules = columns.of("layer", int), columns.of("module", str)
    return list(zip(layers, modules, columns.of("std", finite), strict=True))


def _gradients(text: str) -> list[GradientRow]:
    """Signals and gradients by iteration and layer; norms may be infinite, which is a finding."""
    columns = _Columns(text)
    numbers = [columns.of(n, float) for n in ("forward_std", "gradient_norm", "weight_norm")]
    whole = [columns.of(name, int) for name in ("iteration", "layer")]
    texts = [columns.of(name, str) for name in ("module", "measured")]
    return list(map(GradientRow, *whole, texts[0], *numbers, texts[1]))


def _evaluations(text: str) -> list[EvaluationRow]:
    """The errors by kind of views, one row each."""
    columns = _Columns(text)
    views = columns.of("views", _one_of(get_args(Views)))
    if len(set(views)) != len(views):
        raise ValueError("the same views stand twice")
    values = zip(
        views,
        columns.of("top1_error", _percentage),
        columns.of("top5_error", _percentage),
        columns.of("loss", finite),
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
