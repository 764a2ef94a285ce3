"""32x32 images, all of them on the device as uint8 (section 4.2)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from resnet_repro.data.augment import augment, per_pixel_mean, shrink, subtract_mean
from resnet_repro.data.dataset import Dataset
from resnet_repro.spec.run import Run
from resnet_repro.training.order import (
    WHOLE,
    Batch,
    BatchOrder,
    Draw,
    Part,
    Shard,
    evenly_spaced,
    split_indices,
)

__all__ = ["TEST_BATCH", "CifarFeed", "as_tensor", "images_per_test_batch"]

TEST_BATCH, GPU_TEST_BATCH = 250, 2000  # images


def images_per_test_batch(device: torch.device) -> int:
    """A matter of speed only: BN uses its running statistics.

    What suits a processor's caches leaves a GPU waiting for launches.
    """
    return TEST_BATCH if device.type == "cpu" else GPU_TEST_BATCH


class CifarFeed:
    """Batches of a data set of 32x32 images, augmented on the device."""

    def __init__(
        self, run: Run, dataset: Dataset, device: torch.device, shard: Shard = WHOLE
    ) -> None:
        recipe = run.recipe
        self.identity, self.device, self.shard = dataset.identity, device, shard
        self.augmentation = recipe.augmentation
        images, tested = as_tensor(dataset.train_images), as_tensor(dataset.test_images)
        if recipe.image_size:
            images, tested = (shrink(part, recipe.image_size) for part in (images, tested))
        labels = as_tensor(dataset.train_labels)
        kept, held_out = split_indices(len(images), recipe.validation_images)
        self._parts: dict[Part, tuple[Tensor, Tensor]] = {
            "test": (tested.to(device), as_tensor(dataset.test_labels).to(device))
        }
        if len(held_out):
            self._parts["validation"] = (images[held_out].to(device), labels[held_out].to(device))
            images, labels = images[kept], labels[kept]
        self.parts = tuple(self._parts)
        self.mean = per_pixel_mean(images).to(device)  # float32 [3, H, W]
        self.train_images, self.train_labels = images.to(device), labels.to(device)
        self.images, self.classes = len(images), len(dataset.classes)
        self.order = BatchOrder(
            len(images),
            recipe.batch_size,
            run.seed,
            recipe.augmentation.pad,
            recipe.augmentation.mirror,
            recipe.partial_batch,
        )

    @property
    def normalisation(self) -> dict[str, Any]:
        """The mean image, in short."""
        mean = self.mean.cpu()
        return {
            "kind": "per-pixel mean of the training images",
            "channel_averages": [round(v, 3) for v in mean.mean(dim=(1, 2)).tolist()],
            "sha256": hashlib.sha256(mean.numpy().tobytes()).hexdigest(),
        }

    def prepare(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Nothing to do: everything is on the device."""

    def batch(self, iteration: int) -> Batch:
        """This process's share of the batch of an iteration (from 0), cropped and mirrored."""
        return self._augmented(self.order.batch(iteration).share(*self.shard))

    def batches(self, iteration: int, count: int) -> Batch:
        """The whole batches of so many iterations from the given one on: [count * B, ...]."""
        draw = self.order.batches(iteration, count)
        return self._augmented(draw.pinned() if self.device.type == "cuda" else draw)

    def _augmented(self, draw: Draw) -> Batch:
        draw = draw.to(self.device)
        inputs = augment(
            self.train_images[draw.images],
            self.mean,
            draw.top,
            draw.left,
            draw.mirrored,
            self.augmentation.pad,
            self.augmentation.fill,
        )
        return Batch(inputs, self.train_labels[draw.images])

    def part(self, name: Part) -> Iterator[Batch]:
        """This process's share of the test set or of the held-out images, original views.

        Every process gets as many batches, some of which may be empty.
        """
        size = images_per_test_batch(self.device)
        images, labels = (values.split(size) for values in self._parts[name])
        for start in range(0, len(images), self.shard.world):
            mine = start + self.shard.rank
            if mine < len(images):
                yield Batch(subtract_mean(images[mine], self.mean), labels[mine])
            else:
                yield Batch(self.mean.new_empty(0, *self.mean.shape), labels[0][:0])

    def fixed_batch(self, size: int) -> Batch:
        """Training images as they are, evenly spaced: some copies are sorted by class."""
        which = evenly_spaced(self.images, size).to(self.device)
        return Batch(subtract_mean(self.train_images[which], self.mean), self.train_labels[which])

    def close(self) -> None:
        """Nothing to do: nothing works in the background."""


def as_tensor(array: np.ndarray[Any, Any]) -> Tensor:
    """An array as a tensor, in the same memory unless that is read-only."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())
