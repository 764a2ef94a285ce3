"""SHA-256 sums of what was written, by which a later change is noticed.

`summary.json` has those of a run that has ended, `measurements.json` those of what was measured on
it, because that is written later. Ends of lines don't count: git and editors may change them.
What earlier versions wrote has no sums.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from resnet_repro.store.measurements import measurements_in

__all__ = ["measured_sums", "sum_of", "summary_sum", "training_sums"]


def sum_of(text: str) -> str:
    """SHA-256 of a text file, whatever its lines end with."""
    return hashlib.sha256(text.replace("\r\n", "\n").encode()).hexdigest()


def summary_sum(content: Mapping[str, Any]) -> str:
    """SHA-256 of what `summary.json` says, its sums left out."""
    rest = {name: value for name, value in content.items() if name != "sums"}
    return sum_of(json.dumps(rest, sort_keys=True, separators=(",", ":")))


def training_sums(curve: str | None, gradients: str | None) -> dict[str, str]:
    """Sums of what the training itself wrote; of gradients, only the lines that it measured.

    Those measured afterwards come later, and have a sum in `measurements.json`.
    """
    sums = {} if curve is None else {"curve.csv": sum_of(curve)}
    # An empty column at the end may be there for the sake of lines that were measured afterwards.
    there = (gradients or "").splitlines()
    lines = [line.rstrip(",") for line in there if ",training" in line]
    return sums | ({"gradients.csv": sum_of("\n".join(lines))} if lines else {})


def measured_sums(name: str, text: str) -> Iterator[tuple[str, str]]:
    """Sums of the measurements in a table; where it holds several, each line has its own."""
    kinds = measurements_in(name)
    if len(kinds) == 1:
        yield kinds[0], sum_of(text)
        return
    for line in text.splitlines():
        kind = line.partition(",")[0]
        if kind in kinds:
            yield kind, sum_of(line)
