"""Images with boxes, read one batch ahead by a thread; torchvision's detectors resize them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from torch import Tensor

from resnet_repro.data.boxes.boxes import BoxDataset
from resnet_repro.spec.run import Run
from resnet_repro.training.order import WHOLE, BatchOrder, Part, Shard

__all__ = ["BoxBatch", "BoxFeed"]


class BoxBatch(NamedTuple):
    """Images uint8 [3, H, W] of any sizes and what is in them, on the device.

    A target has `boxes` float32 [n, 4], corners in pixels, and `labels` int64 [n], 1 to K.
    """

    inputs: list[Tensor]
    targets: list[dict[str, Tensor]]


class BoxFeed:
    """Batches of a data set with boxes, without its difficult objects."""

    parts: tuple[Part, ...] = ()  # to be tested meanwhile: detectors are tested after the training

    def __init__(
        self, run: Run, dataset: BoxDataset, device: torch.device, shard: Shard = WHOLE
    ) -> None:
        recipe = run.recipe
        assert recipe.detection is not None, "detectors' recipes have it"
        self.identity, self.dataset = dataset.identity, dataset
        self.device, self.shard = device, shard
        self.images, self.classes = len(dataset.train), len(dataset.classes)
        self.order = BatchOrder(
            self.images,
            recipe.batch_size,
            run.seed,
            0,
            recipe.detection.mirror,
            recipe.partial_batch,
        )
        self._reader: ThreadPoolExecutor | None = None
        self._ahead: tuple[int, Future[BoxBatch]] | None = None  # iteration, its batch

    def prepare(self, should_stop: Callable[[], bool] = lambda: False) -> None:
        """Nothing to do: images are read when they are needed."""

    def batch(self, iteration: int) -> BoxBatch:
        """This process's share of the batch of an iteration (from 0), mirrored half of the time.

        Raises:
            DataError: an image cannot be read.
        """
        if self._reader is None:
            self._reader = ThreadPoolExecutor(1, "boxes")
        ahead, self._ahead = self._ahead, None
        if ahead is None or ahead[0] != iteration:
            ahead = iteration, self._reader.submit(self._read, iteration)
        batch = ahead[1].result()
        self._ahead = iteration + 1, self._reader.submit(self._read, iteration + 1)
        to: dict[str, Any] = {"device": self.device, "non_blocking": True}
        return BoxBatch(
            [image.to(**to) for image in batch.inputs],
            [{name: value.to(**to) for name, value in one.items()} for one in batch.targets],
        )

    def _read(self, iteration: int) -> BoxBatch:
        draw = self.order.batch(iteration).share(*self.shard)
        inputs, targets = [], []
        for index, mirrored in zip(draw.images.tolist(), draw.mirrored.tolist(), strict=True):
            image, target = self.dataset.train[index]
            if mirrored:
                image, target = image.flip(-1), target.mirrored(image.shape[-1])
            kept = ~target.difficult
            inputs.append(image)
            targets.append({"boxes": target.boxes[kept], "labels": target.labels[kept]})
        return BoxBatch(inputs, targets)

    def close(self) -> None:
        """End the thread. The feed can be used again afterwards."""
        if self._reader is not None:
            self._reader.shutdown(cancel_futures=True)
            self._reader, self._ahead = None, None
