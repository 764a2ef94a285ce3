"""The scores of each photograph, kept beside the errors that they gave, for ensembles."""

from __future__ import annotations

import io

import numpy as np
import torch
from torch import Tensor

from resnet_repro.base.files import write_atomically
from resnet_repro.data.npz import read_npz
from resnet_repro.spec.measurements import MEASUREMENTS, EvaluationRow
from resnet_repro.store.checksums import measured_sums
from resnet_repro.store.models import Origin
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.store.stored_run import StoredRun
from resnet_repro.store.tables import table_text

__all__ = ["read_scores", "store_views", "write_scores"]


def store_views(folder: RunFolder, row: EvaluationRow, found: Tensor, origin: Origin) -> None:
    """Store a run's errors over some views, and the scores [N, classes] that gave them.

    The errors are last: with them, the views are measured.

    Raises:
        StoreError: they cannot be written.
    """
    write_scores(folder, row, found)
    folder.write_measured(MEASUREMENTS[row.views].table, [row], origin)


def write_scores(folder: RunFolder, row: EvaluationRow, found: Tensor) -> None:
    """Keep the scores [N, classes] that gave a row of a run's errors, in half precision.

    Raises:
        StoreError: they cannot be written.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, scores=found.half().numpy(), evaluation=np.array(_sum(row)))
    write_atomically(folder.scores(row.views), buffer.getvalue())


def read_scores(stored: StoredRun, views: str, dataset_sha256: str | None = None) -> Tensor | None:
    """Scores float32 [N, classes] that gave a run's stored errors; None if they are not here.

    They may be of another training of the run: its errors travel with git, scores do not. With
    `dataset_sha256`, also None if they are of other data.
    """
    row = next((row for row in stored.rows(MEASUREMENTS[views].table) if row.views == views), None)
    arrays = read_npz(stored.folder.scores(views)) or {}  # missing, torn or foreign: made anew
    found = arrays.get("scores")
    if row is None or found is None or str(arrays.get("evaluation")) != _sum(row):
        return None
    if dataset_sha256 not in (None, row.dataset_sha256):
        return None
    fits = found.ndim == 2 and len(found) == row.images and found.dtype == np.float16
    return torch.from_numpy(found).float() if fits else None


def _sum(row: EvaluationRow) -> str:
    """SHA-256 of a row, as `measurements.json` has it."""
    table = MEASUREMENTS[row.views].table
    return dict(measured_sums(table, table_text(table, [row])))[row.views]
