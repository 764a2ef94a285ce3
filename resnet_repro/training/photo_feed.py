"""Photographs, cropped by worker processes and finished on the device (section 3.4)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from resnet_repro.data.augment import finish
from resnet_repro.data.photos.in_memory import hold
from resnet_repro.data.photos.loader import TrainingCrops, photo_views
from resnet_repro.data.photos.photos import PhotoDataset, Photos
from resnet_repro.data.photos.statistics import PhotoStatistics
from resnet_repro.spec.run import Run
from resnet_repro.training.order import WHOLE, Batch, BatchOrder, Part, Shard, evenly_spaced

__all__ = ["TEST_BATCH", "PhotoFeed"]

TEST_BATCH = 128  # photographs; a matter of speed only, BN uses its stored statistics


class PhotoFeed:
    """Batches of photographs; the `test` part is tested on one centre crop of each."""

    parts: tuple[Part, ...] = ("test",)

    def __init__(
        self,
        run: Run,
        dataset: PhotoDataset,
        device: torch.device,
        statistics: PhotoStatistics,
        shard: Shard = WHOLE,
    ) -> None:
        recipe = run.recipe
        assert recipe.photographs is not None, "the ImageNet family's recipes have them"
        self.identity, self.device, self.shard = dataset.identity, device, shard
        self.photographs, self.statistics = recipe.photographs, statistics
        self.dataset = dataset
        self.mean = torch.from_numpy(statistics.mean).to(device)  # float32 [3, crop, crop]
        self.images, self.classes = len(dataset.train), len(dataset.classes)
        self.order = BatchOrder(
            self.images, recipe.batch_size, run.seed, 0, False, recipe.partial_batch
        )
        self._crops: TrainingCrops | None = None
        self._test: Photos | None = None  # this process's share

    @property
    def normalisation(self) -> dict[str, Any]:
        """The mean crop and the principal colours, in short."""
        mean = self.statistics.mean
        return {
            "kind": "per-pixel mean of the training photographs' centre crops",
            "channel_averages": [round(float(v), 3) for v in mean.mean((1, 2), np.float64)],
            "sha256": hashlib.sha256(np.ascontiguousarray(mean, "<f4").tobytes()).hexdigest(),
            "eigenvalues": [round(float(v), 9) for v in self.statistics.eigenvalues],
            "eigenvectors": self.statistics.eigenvectors.round(9).tolist(),
        }

    def prepare(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Decode what fits in memory, which may take minutes.

        Raises:
            DataError: a photograph cannot be decoded.
            Stopped: `should_stop` said so.
        """
        if self._crops is None:
            hold(self._test_photos(), should_stop=should_stop)
            self._crops = TrainingCrops(
                self.dataset.train,
                self.order,
                self.photographs,
                shard=self.shard,
                pin=self.device.type == "cuda",
                should_stop=should_stop,
            )

    def batch(self, iteration: int) -> Batch:
        """This process's share of the batch of an iteration (from 0), mirrored and coloured."""
        self.prepare()
        assert self._crops is not None
        crops = self._crops.batch(iteration)
        shift = None
        if self.photographs.colour_std:
            shift = torch.from_numpy(self.statistics.colour_shift(crops.colour.numpy()))
            shift = shift.to(self.device, non_blocking=True)
        inputs = finish(
            crops.images.to(self.device, non_blocking=True),
            self.mean,
            crops.mirrored.to(self.device, non_blocking=True),
            shift,
        )
        return Batch(inputs, crops.labels.to(self.device, non_blocking=True))

    def part(self, name: Part) -> Iterator[Batch]:
        """Centre crops of this process's share of the test part.

        Every process gets as many batches, some of which may be empty.
        """
        rounds = -(-len(self.dataset.test) // (TEST_BATCH * self.shard.world))
        given = 0
        for batch in self._centre_crops(self._test_photos()):
            given += 1
            yield batch
        for _ in range(given, rounds):
            nothing = torch.empty(0, dtype=torch.int64, device=self.device)
            yield Batch(self.mean.new_empty(0, *self.mean.shape), nothing)

    def fixed_batch(self, size: int) -> Batch:
        """Centre crops of training photographs, evenly spaced over the data set."""
        some = self.dataset.train.some(evenly_spaced(self.images, size).numpy())
        batches = list(self._centre_crops(some))
        return Batch(*(torch.cat(tensors) for tensors in zip(*batches, strict=True)))

    def close(self) -> None:
        """End the workers. The feed can be used again afterwards."""
        if self._crops is not None:
            self._crops.close()
            self._crops = None

    def _test_photos(self) -> Photos:
        """Every n-th batch of the test part, so that batches are the same as in one process."""
        if self.shard.world == 1:
            return self.dataset.test
        if self._test is None:
            indices = np.arange(len(self.dataset.test))
            mine = indices // TEST_BATCH % self.shard.world == self.shard.rank
            self._test = self.dataset.test.some(indices[mine])
        return self._test

    def _centre_crops(self, photos: Photos) -> Iterator[Batch]:
        if not len(photos):
            return
        for chunk in photo_views(photos, self.photographs, "centre", chunk=TEST_BATCH):
            images = chunk.images[:, 0].to(self.device)
            yield Batch(finish(images, self.mean), chunk.labels.to(self.device))
