"""Ensembles (Table 5): the scores of several runs, kept for this, and their average."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from resnet_repro.base import provenance
from resnet_repro.base.files import write_atomically
from resnet_repro.data.dataset import Identity
from resnet_repro.data.npz import read_npz
from resnet_repro.measure.views import topk_errors
from resnet_repro.spec.experiment import Experiment
from resnet_repro.store.models import EnsembleResult
from resnet_repro.training.device import Backend, origin_here

__all__ = ["ensemble_of", "read_scores", "write_scores"]


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


def ensemble_of(
    experiment: Experiment,
    names: Sequence[str],
    scores: Sequence[Tensor],
    labels: Tensor,
    identity: Identity,
    command: str,
) -> EnsembleResult:
    """The errors of the average of the members' scores, [N, classes] each, in their order.

    `names` are those of the members' folders.
    """
    assert experiment.ensemble is not None, "the experiment names one"
    members = experiment.ensemble_members
    top1, top5 = topk_errors(torch.stack(list(scores)).mean(dim=0), labels)
    presets: set[Any] = {run.preset for run in members}
    origin = origin_here(Backend(torch.device("cpu"), "fp32"), command)
    return EnsembleResult(
        experiment=experiment.name,
        preset=presets.pop() if len(presets) == 1 else "custom",
        dataset=members[0].dataset,
        members=tuple(names),
        views=experiment.ensemble.views,
        top1_error=top1,
        top5_error=top5,
        images=len(labels),
        data=identity.to_dict(),
        code=origin.code,
        dirty=origin.dirty,
        command=origin.command,
        measured=provenance.utc_now(),
        origin=origin,
    )
