"""The loop that most public ResNet scripts share, as something to compare with.

A DataLoader with worker processes, PIL transforms, fp32, default memory format, eager execution,
the loss and the accuracy read after every batch.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision.datasets.folder import default_loader
from torchvision.transforms import v2

from resnet_repro.base.errors import ConfigError
from resnet_repro.base.machine import usable_cores
from resnet_repro.data.dataset import Dataset
from resnet_repro.data.photos.photos import FilePhotos, PhotoDataset
from resnet_repro.networks.blocks import ZeroPadShortcut
from resnet_repro.networks.initialise import initialise
from resnet_repro.networks.network import build_network
from resnet_repro.spec.recipe_parts import Photographs
from resnet_repro.spec.run import Run

__all__ = ["TextbookLoop", "textbook_batches", "textbook_photographs"]

MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # as such scripts have them
MOST_WORKERS = 4  # what such scripts ask for by default


class _Transformed(TorchDataset[tuple[Tensor, int]]):
    """Images, opened one by one, through the usual transforms, as torchvision's data sets do it."""

    def __init__(
        self,
        images: Sequence[Any] | NDArray[np.uint8],
        labels: NDArray[np.int64],
        opened: Callable[[Any], Image.Image],
        *augmentation: v2.Transform,
    ) -> None:
        self.images, self.labels, self.opened = images, labels, opened
        self.transform = v2.Compose(
            [
                *augmentation,
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(MEAN, DEVIATION),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.opened(self.images[index])), int(self.labels[index])


class _SlicedShortcut(nn.Module):
    """Option A as such scripts write it: a strided slice, padded."""

    def __init__(self, ours: ZeroPadShortcut) -> None:
        super().__init__()
        self.stride, self.padding = ours.stride, ours.padding

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], self.padding)


def textbook_batches(
    images: TorchDataset[tuple[Tensor, int]], batch_size: int, workers: int, pinned: bool = False
) -> Generator[list[Tensor]]:
    """Images and labels from a DataLoader as most scripts have it, epoch after epoch."""
    loader: DataLoader[tuple[Tensor, int]] = DataLoader(
        images,
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=pinned,
    )
    while True:
        yield from loader


def textbook_photographs(
    photos: FilePhotos, sizes: Photographs
) -> TorchDataset[tuple[Tensor, int]]:
    """Training photographs in files through the usual transforms: float32 [3, crop, crop]."""
    low, high = sizes.shorter_side
    crops = v2.RandomResize(low, high + 1), v2.RandomCrop(sizes.crop), v2.RandomHorizontalFlip()
    paths = [str(photos.root / name) for name in photos.names]
    return _Transformed(paths, photos.labels, default_loader, *crops)


def _training_images(run: Run, dataset: Dataset | PhotoDataset) -> TorchDataset[tuple[Tensor, int]]:
    sizes = run.recipe.photographs
    if isinstance(dataset, PhotoDataset) and isinstance(dataset.train, FilePhotos) and sizes:
        return textbook_photographs(dataset.train, sizes)
    if sizes or not isinstance(dataset, Dataset):
        raise ConfigError(
            f"bench: {run.dataset} has no files for the textbook loop to read; use --no-textbook"
        )
    images = dataset.train_images.transpose(0, 2, 3, 1)
    crops = v2.RandomHorizontalFlip(), v2.RandomCrop(32, padding=4)
    return _Transformed(images, dataset.train_labels, Image.fromarray, *crops)


def _as_usual(network: nn.Module) -> nn.Module:
    """The network without what makes ours fast."""
    for module in network.modules():
        for name, child in module.named_children():
            if isinstance(child, ZeroPadShortcut):
                setattr(module, name, _SlicedShortcut(child))
    return network


class TextbookLoop:
    """The textbook loop for one network, ready to be timed a few iterations at a time."""

    def __init__(self, run: Run, dataset: Dataset | PhotoDataset, device: torch.device) -> None:
        """Raises ConfigError when the recipe is for photographs and these are not in files."""
        self.device = device
        network = _as_usual(build_network(run.network, len(dataset.classes)))
        initialise(network, run.seed)
        self.network = network.to(device)
        self.loss = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(
            self.network.parameters(),
            lr=run.recipe.learning_rate,
            momentum=run.recipe.momentum,
            nesterov=run.recipe.nesterov,
            weight_decay=run.recipe.weight_decay,
        )
        self._batches = textbook_batches(
            _training_images(run, dataset),
            run.recipe.batch_size,
            min(MOST_WORKERS, usable_cores()),
            pinned=device.type == "cuda",
        )

    def step(self) -> None:
        """One iteration."""
        # Our loop forbids TF32; such scripts leave it as it is, on for convolutions.
        ours = torch.backends.cudnn.conv.fp32_precision  # type: ignore[attr-defined]
        torch.backends.cudnn.conv.fp32_precision = "tf32"  # type: ignore[attr-defined]
        try:
            self._step()
        finally:
            torch.backends.cudnn.conv.fp32_precision = ours  # type: ignore[attr-defined]

    def _step(self) -> None:
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
        self._batches.close()
