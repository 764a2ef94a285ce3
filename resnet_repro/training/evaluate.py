"""Testing: the single original 32x32 view (section 4.2)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_repro.data.augment import subtract_mean
from resnet_repro.training.device import Backend

__all__ = ["EVALUATION_BATCH", "EvaluationStopped", "evaluate"]

EVALUATION_BATCH = 250  # images; a matter of speed only, BN uses its running statistics


class EvaluationStopped(Exception):  # noqa: N818
    """A test was given up because its caller wants to stop."""


def evaluate(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    mean: Tensor,
    backend: Backend,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[float, float]:
    """(mean cross-entropy, error in percent) on uint8 images [N, 3, 32, 32] and labels [N].

    Everything lies on the backend's device. The network is left in the mode it was in.

    Raises:
        EvaluationStopped: `should_stop`, asked before every batch, said so.
    """
    was_training = network.training
    network.eval()
    loss = torch.zeros((), dtype=torch.float32, device=labels.device)
    wrong = torch.zeros((), dtype=torch.int64, device=labels.device)
    try:
        with torch.inference_mode():
            for batch, target in zip(
                images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True
            ):
                if should_stop():
                    raise EvaluationStopped
                with backend.autocast():
                    logits = network(subtract_mean(batch, mean))
                loss += F.cross_entropy(logits.float(), target, reduction="sum")
                wrong += (logits.argmax(1) != target).sum()
    finally:
        network.train(was_training)
    return loss.item() / len(labels), 100.0 * wrong.item() / len(labels)
