"""Testing on one view of each image: 32x32 images as they are (section 4.2), or centre crops."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_repro.base.stop import until_stopped
from resnet_repro.training.device import Backend
from resnet_repro.training.order import Batch
from resnet_repro.training.processes import ALONE, Processes

__all__ = ["evaluate", "image_scores"]


def evaluate(
    network: nn.Module,
    batches: Iterable[Batch],
    backend: Backend,
    should_stop: Callable[[], bool] = lambda: False,
    processes: Processes = ALONE,
) -> tuple[float, float]:
    """(mean cross-entropy, error in percent) over the batches of all processes.

    All have as many batches, some of which may be empty. Everything lies on the backend's device.
    The network is left in the mode it was in.

    Raises:
        Stopped: `should_stop`, asked before every batch, said so.
    """
    was_training = network.training
    network.eval()
    loss = torch.zeros((), dtype=torch.float32, device=backend.device)
    wrong = torch.zeros((), dtype=torch.int64, device=backend.device)
    images = 0
    try:
        with torch.inference_mode():
            for inputs, targets in until_stopped(batches, should_stop):
                if not len(targets):
                    continue
                with backend.autocast():
                    logits = network(inputs)
                loss += F.cross_entropy(logits.float(), targets, reduction="sum")
                wrong += (logits.argmax(1) != targets).sum()
                images += len(targets)
    finally:
        network.train(was_training)
    counts = processes.sum_(torch.stack((wrong, wrong.new_tensor(images)))).tolist()
    return processes.sum_(loss).item() / counts[1], 100.0 * counts[0] / counts[1]


def image_scores(
    network: nn.Module,
    batches: Iterable[Batch],
    backend: Backend,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[Tensor, Tensor]:
    """(softmax scores float32 [N, classes], labels [N]) of all batches, on the CPU.

    The network is left in evaluation mode; everything lies on the backend's device.

    Raises:
        Stopped: `should_stop`, asked before every batch, said so.
    """
    network.eval()
    found, labels = [], []
    with torch.inference_mode():
        for inputs, targets in until_stopped(batches, should_stop):
            with backend.autocast():
                logits = network(inputs)
            found.append(logits.float().softmax(1).cpu())
            labels.append(targets.cpu())
    return torch.cat(found), torch.cat(labels)
