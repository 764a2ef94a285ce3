"""What an evaluation found."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resnet_repro.base.errors import ReproError
from resnet_repro.data.dataset import Identity
from resnet_repro.measure.views import mean_loss, topk_errors
from resnet_repro.spec.measurements import BatchNorm, EvaluationRow
from resnet_repro.spec.shows import Views

__all__ = ["Outcome", "explained", "row_of"]


@dataclass(frozen=True)
class Outcome:
    """The errors of one network on a data set's val part, and under which conditions."""

    network: str
    what: str  # a run's id, or the name of a file of weights
    rows: tuple[EvaluationRow, ...]
    identity: Identity
    precision: str
    input: str  # what the network was given, in words
    notes: tuple[str, ...] = ()
    stored: Path | None = None  # where the results folder has it

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "network": self.network,
            "of": self.what,
            "evaluations": [asdict(row) for row in self.rows],
            "data": self.identity.to_dict(),
            "precision": self.precision,
            "input": self.input,
            "notes": list(self.notes),
            "stored": str(self.stored) if self.stored else None,
        }


def row_of(
    views: Views, scores: Tensor, labels: Tensor, bn: BatchNorm, identity: Identity
) -> EvaluationRow:
    """The errors that scores [N, classes] make.

    Raises:
        ReproError: the scores are not numbers.
    """
    loss = mean_loss(scores, labels)
    if not math.isfinite(loss):
        raise ReproError(f"{views}: the network's outputs are not finite numbers")
    top1, top5 = topk_errors(scores, labels)
    return EvaluationRow(views, top1, top5, loss, len(labels), bn, identity.sha256)


@contextmanager
def explained(device: str) -> Iterator[None]:
    """Say in a plain line that memory is lacking."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ReproError(
            f"not enough memory on {device}; --precision bf16 needs less, --device cpu has more"
        ) from error
