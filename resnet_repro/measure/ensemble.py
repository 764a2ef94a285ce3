"""The scores of a run, kept for ensembles (Table 5)."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from resnet_repro.base.files import write_atomically
from resnet_repro.data.npz import read_npz

__all__ = ["read_scores", "write_scores"]


def write_scores(path: Path, found: Tensor, dataset_sha256: str) -> None:
    """Keep scores [N, classes], in half precision.

    Raises:
        StoreError: they cannot be written.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, scores=found.half().numpy(), dataset=np.array(dataset_sha256))
    write_atomically(path, buffer.getvalue())


def read_scores(path: Path, images: int, dataset_sha256: str) -> Tensor | None:
    """Scores float32 [N, classes] of a data set with so many images; None if that is not there."""
    arrays = read_npz(path) or {}  # missing, torn or foreign: made anew
    found = arrays.get("scores")
    if found is None or str(arrays.get("dataset")) != dataset_sha256:
        return None
    fits = found.ndim == 2 and len(found) == images and found.dtype == np.float16
    return torch.from_numpy(found).float() if fits else None
