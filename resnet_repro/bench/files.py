"""The benchmark's files: one line for each thing measured, the newest measurement of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from resnet_repro.base.errors import StoreError, plain
from resnet_repro.base.files import csv_text, read_text
from resnet_repro.bench.loader import LoaderMeasurement
from resnet_repro.bench.measure import TrainingMeasurement
from resnet_repro.store.store import Store

__all__ = ["record"]

# What tells the lines of each kind apart; `threads` only on the CPU.
IDENTITIES: dict[type, tuple[str, ...]] = {
    TrainingMeasurement: (
        *("hardware", "device", "precision", "threads", "network", "crop", "compiled"),
    ),
    LoaderMeasurement: ("hardware", "dataset", "source", "crop", "workers"),
}
# Which older versions did not write.
NEWER = {"crop", "operations", "share_of_memory_bandwidth", "share_of_launch_rate", "compiled"}


def record(
    store: Store, name: str, measured: Sequence[TrainingMeasurement] | Sequence[LoaderMeasurement]
) -> Path:
    """Write measurements of one kind in place of older ones of the same; returns the file.

    Lines of the file NAME.csv that are not of this kind are dropped.

    Raises:
        StoreError: it cannot be read or written.
    """
    identity = IDENTITIES[type(measured[0])]
    columns = [field.name for field in fields(measured[0])]
    path = store.csv_path(name)
    try:
        found = list(csv.DictReader(io.StringIO(read_text(path) if path.exists() else "")))
    except (OSError, ValueError, csv.Error) as error:
        raise StoreError(
            f"{path} cannot be read; move it away: {plain(str(error), 200)}"
        ) from error
    lines = [row for row in found if set(columns) - NEWER <= set(row)]
    rows: dict[tuple[str, ...], list[object]] = {}
    for values in (*lines, *map(vars, measured)):
        known = {k: "" if v is None or v is False else v for k, v in values.items()}
        given = known if known.get("device") == "cpu" else {**known, "threads": ""}
        key = tuple(str(given.get(column, "")) for column in identity)
        rows[key] = [known.get(column, "") for column in columns]
    return store.write_csv(name, csv_text(columns, list(rows.values())))
