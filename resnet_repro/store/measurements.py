"""Reading what was measured of one run. What is torn is an error, what is not there is empty."""

from __future__ import annotations

import csv
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import TypeAdapter

from resnet_repro.errors import StoreError
from resnet_repro.spec import Views
from resnet_repro.store.files import csv_rows, finite, read_text
from resnet_repro.store.models import (
    BatchNorm,
    CurveRow,
    EvaluationRow,
    GradientRow,
    Measured,
    MeasurementOrigin,
)

__all__ = [
    "ORIGINS",
    "read_curve",
    "read_evaluations",
    "read_gradients",
    "read_origins",
    "read_responses",
]

ORIGINS = TypeAdapter(dict[Measured, MeasurementOrigin])
Row = TypeVar("Row")


def _read(path: Path, read_row: Callable[[dict[str, str]], Row]) -> list[Row]:
    """Every row of a file.

    Raises:
        StoreError: it is torn, or not such a file.
    """
    try:
        return [read_row(row) for row in csv_rows(read_text(path))]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise StoreError(f"{path}: torn or unreadable") from error


def read_curve(path: Path) -> list[CurveRow]:
    """The points of a training curve, in order."""
    rows = _read(path, _curve_row)
    if any(a.iteration >= b.iteration for a, b in pairwise(rows)):
        raise StoreError(f"{path}: torn or unreadable, iterations do not increase")
    return rows


def read_responses(path: Path) -> list[tuple[int, str, float]]:
    """(layer, module, standard deviation) of every 3x3 layer."""
    return _read(path, lambda row: (int(row["layer"]), row["module"], finite(row["std"])))


def read_gradients(path: Path) -> list[GradientRow]:
    """Signals and gradients by iteration and layer."""
    return _read(path, _gradient_row)


def read_evaluations(path: Path) -> list[EvaluationRow]:
    """The errors by kind of views, one row each."""
    rows = _read(path, _evaluation_row)
    if len({row.views for row in rows}) != len(rows):
        raise StoreError(f"{path}: torn or unreadable, the same views stand twice")
    return rows


def read_origins(path: Path) -> dict[Measured, MeasurementOrigin]:
    """What made each of the measurements, of those where that is on record."""
    try:
        return ORIGINS.validate_json(read_text(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:  # a ValidationError is a ValueError
        raise StoreError(f"{path}: torn or unreadable") from error


def _curve_row(row: dict[str, str]) -> CurveRow:
    held_out = row.get("validation_error")
    return CurveRow(
        iteration=int(row["iteration"]),
        **{
            name: finite(row[name])
            for name in ("epoch", "lr", "train_loss", "train_error", "test_error", "seconds")
        },
        validation_error=finite(held_out) if held_out else None,
    )


def _gradient_row(row: dict[str, str]) -> GradientRow:
    """A line of `gradients.csv`; its norms may be infinite, which is a finding."""
    return GradientRow(
        iteration=int(row["iteration"]),
        layer=int(row["layer"]),
        module=row["module"],
        forward_std=float(row["forward_std"]),
        gradient_norm=float(row["gradient_norm"]),
        weight_norm=float(row["weight_norm"]),
        measured=row["measured"],
        signal_norm=float(row["signal_norm"]) if row.get("signal_norm") else None,
    )


def _evaluation_row(row: dict[str, str]) -> EvaluationRow:
    views: Any = row["views"]
    bn: Any = row["bn"]
    if views not in get_args(Views) or bn not in get_args(BatchNorm):
        raise ValueError("views or batch normalisation of a kind that there is not")
    errors = finite(row["top1_error"]), finite(row["top5_error"])
    if not all(0 <= error <= 100 for error in errors):
        raise ValueError("an error that is no percentage")
    loss, images = finite(row["loss"]), int(row["images"])
    return EvaluationRow(views, *errors, loss, images, bn, row["dataset_sha256"] or "")
