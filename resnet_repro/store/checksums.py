"""SHA-256 sums of the results, to notice later changes.

`summary.json` has those of a finished run's files, `measurements.json` those of its measurements,
which are written later. Line ends do not count: git and editors may change them. Results of earlier
versions have no sums.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from resnet_repro.store.models import MeasurementOrigin, Summary
from resnet_repro.store.tables import TABLES, measurements_in

__all__ = ["changed", "measured_sums", "sum_of", "summary_sum", "training_sums"]

CHANGED = "has been changed since it was written"


def sum_of(text: str) -> str:
    """SHA-256 of a text file, with any line ends."""
    return hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()


def summary_sum(content: Mapping[str, Any]) -> str:
    """SHA-256 of the contents of `summary.json` without its sums."""
    rest = {name: value for name, value in content.items() if name != "sums"}
    return sum_of(json.dumps(rest, sort_keys=True, separators=(",", ":")))


def training_sums(curve: str | None, gradients: str | None) -> dict[str, str]:
    """Sums of the files that training wrote; of gradients, only of the lines that it measured.

    Lines measured afterwards have their sum in `measurements.json`.
    """
    sums = {} if curve is None else {"curve.csv": sum_of(curve)}
    # An empty last column may exist only because of lines measured afterwards.
    there = (gradients or "").splitlines()
    lines = [line.rstrip(",") for line in there if ",training" in line]
    return sums | ({"gradients.csv": sum_of("\n".join(lines))} if lines else {})


def measured_sums(name: str, text: str) -> Iterator[tuple[str, str]]:
    """Sums of the measurements in a table; if several share it, each line has its own."""
    kinds = measurements_in(name)
    if len(kinds) == 1:
        yield kinds[0], sum_of(text)
        return
    for line in text.splitlines():
        kind = line.partition(",")[0]
        if kind in kinds:
            yield kind, sum_of(line)


def changed(
    summary: Summary | None,
    content: Mapping[str, Any],
    texts: Mapping[str, str],
    origins: Mapping[str, MeasurementOrigin],
) -> Iterator[tuple[str, str]]:
    """(name, what is wrong) of each table, and of `summary`, that is not as it was written.

    Args:
        summary: has the sums of what training wrote, if it has ended.
        content: of `summary.json`, as it is there.
        texts: of the tables, by name in `TABLES`.
        origins: have the sums of the measurements.
    """
    recorded = (summary and summary.sums) or {}
    if recorded and recorded.get("summary.json") != summary_sum(content):
        yield "summary", f"summary.json {CHANGED}"
    found = training_sums(texts.get("curve"), texts.get("gradients"))
    for name, text in texts.items():
        file_name, there = TABLES[name].file, dict(measured_sums(name, text))
        measured = [what for what in measurements_in(name) if what in origins]
        if recorded.get(file_name) not in (None, found.get(file_name)) or any(
            origins[what].sha256 not in (None, there.get(what)) for what in measured
        ):
            yield name, f"{file_name} {CHANGED}"
