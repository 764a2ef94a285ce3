"""The loop that most public CIFAR ResNet scripts share, as something to compare with.

A DataLoader with worker processes, PIL transforms, fp32, default memory format, eager execution,
the loss and the accuracy read after every batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision.transforms import v2

from resnet_repro.data import Dataset
from resnet_repro.machine import usable_cores
from resnet_repro.networks import build_network, initialise
from resnet_repro.spec import Run

__all__ = ["TextbookLoop"]

MOST_WORKERS = 4  # what such scripts ask for by default


class _PilImages(TorchDataset[tuple[Tensor, int]]):
    """Training images as PIL images through the usual transforms, as torchvision's CIFAR10 does."""

    def __init__(self, dataset: Dataset) -> None:
        self.images = dataset.train_images.transpose(0, 2, 3, 1)
        self.labels = dataset.train_labels
        self.transform = v2.Compose(
            [
                v2.RandomHorizontalFlip(),
                v2.RandomCrop(32, padding=4),
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.images[index])
        return self.transform(image), int(self.labels[index])


class TextbookLoop:
    """The textbook loop for one network, ready to be timed a few iterations at a time."""

    def __init__(self, run: Run, dataset: Dataset, device: torch.device) -> None:
        self.device = device
        self.network = build_network(run.network, len(dataset.classes)).to(device)
        initialise(self.network, run.seed)
        self.loss = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=run.recipe.learning_rate,
            momentum=run.recipe.momentum,
            weight_decay=run.recipe.weight_decay,
        )
        self.loader: DataLoader[tuple[Tensor, int]] = DataLoader(
            _PilImages(dataset),
            batch_size=run.recipe.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=min(MOST_WORKERS, usable_cores()),
            persistent_workers=True,
            pin_memory=device.type == "cuda",
        )
        self._batches = self._forever()

    def _forever(self) -> Iterator[Any]:
        while True:
            yield from self.loader

    def step(self) -> None:
        """One iteration."""
        images, labels = next(self._batches)
        images, labels = images.to(self.device), labels.to(self.device)
        logits = self.network(images)
        loss = self.loss(logits, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        loss.item()
        (logits.argmax(1) == labels).float().mean().item()

    def close(self) -> None:
        """End the worker processes."""
        self._batches = iter(())
        del self.loader
