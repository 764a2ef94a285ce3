"""What a training minimises, and what its curve tells: of classifiers, and of detectors.

The loop around it (`training.trainer`) is the same for both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_repro.store.models import CurveRow, DetectionPoint
from resnet_repro.training.metrics import RunningMetrics
from resnet_repro.training.order import Part

__all__ = ["LOSSES", "ClassifierObjective", "DetectorObjective", "Objective"]

# A detector's losses by torchvision's names, and their columns of the curve.
LOSSES = {
    "loss_objectness": "objectness_loss",
    "loss_rpn_box_reg": "proposal_loss",
    "loss_classifier": "class_loss",
    "loss_box_reg": "box_loss",
}
Autocast = Callable[[], AbstractContextManager[object]]


class ClassifierObjective:
    """Cross-entropy; errors of training and of tests, in percent."""

    row: type = CurveRow

    def __init__(self, network: nn.Module) -> None:
        # Whether a forward pass draws at random.
        self.draws = any(isinstance(module, nn.Dropout) for module in network.modules())

    def nothing(self, device: torch.device) -> Tensor:
        """What is counted beside the loss, before the first batch: the number of errors."""
        return torch.zeros((), dtype=torch.int64, device=device)

    def micro_batches(self, batch: Any, size: int) -> list[tuple[Tensor, Tensor]]:
        """A batch as (images, labels) of so many images each."""
        inputs, targets = batch
        return list(zip(inputs.split(size), targets.split(size), strict=True))

    def loss(
        self,
        network: Callable[..., Any],
        inputs: Tensor,
        targets: Tensor,
        share: float,
        autocast: Autocast,
    ) -> tuple[Tensor, Tensor]:
        """(Cross-entropy times a micro-batch's share of its batch, errors); no backward pass."""
        with autocast():
            logits = network(inputs)
        loss = F.cross_entropy(logits.float(), targets)
        if share != 1:
            loss = loss * share
        return loss, (logits.detach().argmax(1) != targets).sum()

    def values(self, metrics: RunningMetrics, errors: Mapping[Part, float]) -> dict[str, Any]:
        """Columns of a point of the curve: the running error, and those of tests in percent."""
        tested = {f"{part}_error": error for part, error in errors.items()}
        return {"train_error": metrics.error(), **tested}

    def outcome(self, points: Sequence[CurveRow]) -> dict[str, Any]:
        """What a summary says of the curve: the final errors, and the best on the test set."""
        last = points[-1] if points else None
        best = min(points, key=lambda p: p.test_error) if points else None
        return {
            "final_train_error": last.train_error if last else None,
            "final_test_error": last.test_error if last else None,
            "final_validation_error": last.validation_error if last else None,
            "best_test_error": best.test_error if best else None,
            "best_test_iteration": best.iteration if best else None,
        }


class DetectorObjective:
    """The sum of Faster R-CNN's four losses. Average precision is measured after the training.

    Which anchors and regions the losses are of is drawn at random.
    """

    row: type = DetectionPoint
    draws = True

    def nothing(self, device: torch.device) -> Tensor:
        """What is counted beside the loss, before the first batch: the sums of the losses."""
        return torch.zeros(len(LOSSES), dtype=torch.float32, device=device)

    def micro_batches(self, batch: Any, size: int) -> list[tuple[Any, Any]]:
        """A batch as lists (images, their objects) of so many images each."""
        starts = range(0, len(batch.targets), size)
        return [(batch.inputs[a : a + size], batch.targets[a : a + size]) for a in starts]

    def loss(
        self,
        network: Callable[..., Any],
        inputs: Any,
        targets: Any,
        share: float,
        autocast: Autocast,
    ) -> tuple[Tensor, Tensor]:
        """(The losses' sum, each of them) times a micro-batch's share; no backward pass."""
        with autocast():
            found = network(inputs, targets)
        terms = torch.stack([found[name] for name in LOSSES]) * share
        return terms.sum(), terms.detach()

    def values(self, metrics: RunningMetrics, errors: Mapping[Part, float]) -> dict[str, Any]:
        """Columns of a point of the curve: the running losses."""
        return dict(zip(LOSSES.values(), metrics.mean_terms(), strict=True))

    def outcome(self, points: Sequence[DetectionPoint]) -> dict[str, Any]:
        """Nothing but the loss, which every summary has."""
        return {}


Objective = ClassifierObjective | DetectorObjective
