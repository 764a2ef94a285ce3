"""The tables of a run's folder: its training curve and its measurements.

Torn files are errors; missing ones are None.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, cached_property
from itertools import pairwise
from pathlib import Path
from types import GenericAlias
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, TypeAdapter, create_model

from resnet_repro.base.errors import ConfigError, StoreError
from resnet_repro.base.files import csv_text, read_text
from resnet_repro.spec.measurements import MEASUREMENTS, Measurement, MeasurementName
from resnet_repro.spec.network_names import Family
from resnet_repro.store.models import CurveRow, DetectionPoint, MeasurementOrigin

__all__ = [
    "ORIGINS",
    "TABLES",
    "StoredTable",
    "measurement_of",
    "measurements_in",
    "parse_table",
    "read_file",
    "table_text",
]

ORIGINS = TypeAdapter(dict[MeasurementName, MeasurementOrigin])
T = TypeVar("T")

_ONLY_DETECTORS = "class_loss"  # a column of their curves
_ONE_LINE_EACH = ("evaluations", "responses", "average_precision")  # of their first columns
# By the file's name without its suffix; some measurements share a file.
TABLES: dict[str, Measurement] = {
    "curve": Measurement("training curve", "curve.csv", CurveRow, get_args(Family)),
    **{measurement.table: measurement for measurement in MEASUREMENTS.values()},
}


def measurements_in(name: str) -> list[str]:
    """The measurements that one of `TABLES` holds, in the order of its lines."""
    return [key for key, measurement in MEASUREMENTS.items() if measurement.table == name]


def measurement_of(name: str, row: Any) -> str:
    """The measurement of a table's row; if several share a file, its first column says which."""
    names = measurements_in(name)
    if len(names) == 1:
        return names[0]
    label: str = getattr(row, next(iter(_hints(TABLES[name].row))))
    return label


class StoredTable:
    """The columns of a CSV file; rows are made on demand."""

    def __init__(self, row: type, columns: Mapping[str, Sequence[Any]]) -> None:
        self.columns, self.row = columns, row

    @cached_property
    def rows(self) -> list[Any]:
        """One row per line of the file, in its order."""
        return list(map(self.row, *self.columns.values()))


@cache
def _hints(row: type) -> dict[str, Any]:
    """The types of a table's columns by name, in order."""
    return get_type_hints(row, include_extras=True)


@cache
def _columns_of(row: type) -> type[BaseModel]:
    """A validator of a table's columns, each a list of values."""
    columns: Any = {name: (GenericAlias(list, hint), ...) for name, hint in _hints(row).items()}
    model: type[BaseModel] = create_model(row.__name__, **columns)
    return model


def _optional(row: type) -> Collection[str]:
    """The columns that a file may lack."""
    return getattr(row, "_field_defaults", ())


def parse_table(name: str, text: str) -> StoredTable:
    """Parse one of `TABLES`; an empty field may stand for None. Raises ValueError if invalid."""
    there, row = _split(text), TABLES[name].row
    if name == "curve" and _ONLY_DETECTORS in there:
        row = DetectionPoint
    for column, hint in _hints(row).items():
        if type(None) in get_args(hint) and (column in there or column in _optional(row)):
            values = there.get(column, [""] * len(next(iter(there.values()))))
            there[column] = [value or None for value in values]
    columns = dict(_columns_of(row).model_validate(there))
    first = next(iter(columns.values()))
    if name == "curve" and any(a >= b for a, b in pairwise(first)):
        raise ValueError("iterations do not increase")
    if name in _ONE_LINE_EACH and len(set(first)) != len(first):
        raise ValueError(f"the same {next(iter(columns))} stands twice")
    return StoredTable(row, columns)


def _split(text: str) -> dict[str, Sequence[str | None]]:
    """The fields of a CSV file by column. Raises ValueError if a line or a field is cut off."""
    if not text.endswith("\n"):
        raise ValueError("its last line is cut off, or it is empty")
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    if not header or set(map(len, rows)) - {len(header)}:
        raise ValueError("no header, or lines of different lengths")
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    return dict(zip(header, columns, strict=True))


def table_text(name: str, rows: Sequence[Any], row: type | None = None) -> str:
    """The CSV text of a table, with the columns of `row`, by default those that it mostly has.

    Optional columns are left out if all their values are None.
    """
    kind = TABLES[name]
    row = row or kind.row
    empty = {c for c in _optional(row) if all(getattr(one, c) is None for one in rows)}
    names = [column for column in _hints(row) if column not in empty]

    def shown(value: Any) -> Any:
        if not isinstance(value, float):
            return value
        return f"{value:.{kind.digits}g}" if kind.digits else repr(value)

    return csv_text(names, [[shown(getattr(row, column)) for column in names] for row in rows])


def read_file(path: Path, parse: Callable[[str], T]) -> T | None:
    """The parsed contents of a file; None if there is none.

    Raises:
        StoreError: it is torn or invalid.
    """
    try:
        text = read_text(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: torn or unreadable") from error
    try:
        return parse(text)
    except (ValueError, LookupError, TypeError, RecursionError, csv.Error, ConfigError) as error:
        raise StoreError(f"{path}: torn or unreadable") from error
