"""Testing: the single original 32x32 view (section 4.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_repro.data.augment import subtract_mean
from resnet_repro.training.device import Backend

__all__ = ["EVALUATION_BATCH", "evaluate"]

EVALUATION_BATCH = 250  # images; a matter of speed only, BN uses its running statistics


def evaluate(
    network: nn.Module, images: Tensor, labels: Tensor, mean: Tensor, backend: Backend
) -> tuple[float, float]:
    """(mean cross-entropy, error in percent) on uint8 images [N, 3, 32, 32] and labels [N].

    Everything lies on the backend's device. The network is left in the mode it was in.
    """
    was_training = network.training
    network.eval()
    loss = torch.zeros((), dtype=torch.float32, device=labels.device)
    wrong = torch.zeros((), dtype=torch.int64, device=labels.device)
    with torch.inference_mode():
        for batch, target in zip(
            images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True
        ):
            with backend.autocast():
                logits = network(subtract_mean(batch, mean))
            loss += F.cross_entropy(logits.float(), target, reduction="sum")
            wrong += (logits.argmax(1) != target).sum()
    network.train(was_training)
    return loss.item() / len(labels), 100.0 * wrong.item() / len(labels)
