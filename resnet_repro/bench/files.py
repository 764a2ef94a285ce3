"""The benchmark's files: one line for each thing measured, the newest measurement of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from resnet_repro.base.files import csv_text
from resnet_repro.bench.loader import LoaderMeasurement
from resnet_repro.bench.measure import Measurement

__all__ = ["LOADER", "bench_csv", "loader_csv"]

LOADER = "bench-loader"  # name of the CSV with the loaders' speeds
# Which older versions did not write.
NEWER = {"crop", "operations", "share_of_memory_bandwidth", "share_of_launch_rate"}


def bench_csv(before: str, measured: Sequence[Measurement]) -> str:
    """`bench.csv` with new measurements in place of older ones of the same network."""
    identity = ("hardware", "device", "precision", "network", "crop")
    return _replaced(before, Measurement, [m.to_dict() for m in measured], identity)


def loader_csv(before: str, measured: LoaderMeasurement) -> str:
    """`bench-loader.csv` with a new measurement in place of an older one of the same data set."""
    identity = ("hardware", "dataset", "source", "crop", "workers")
    return _replaced(before, LoaderMeasurement, [measured.to_dict()], identity)


def _replaced(
    before: str, kind: type[Any], measured: Sequence[dict[str, Any]], identity: Sequence[str]
) -> str:
    """A file of `kind` with some of its lines replaced; lines that are not of it are dropped."""
    names = [field.name for field in fields(kind)]
    rows: dict[tuple[str, ...], list[Any]] = {}
    for row in csv.DictReader(io.StringIO(before)):
        if set(names) - NEWER <= set(row):
            rows[tuple(row.get(key, "") for key in identity)] = [row.get(n, "") for n in names]
    for values in measured:
        key = tuple("" if values[key] is None else str(values[key]) for key in identity)
        rows[key] = [values[name] for name in names]
    return csv_text(names, list(rows.values()))
