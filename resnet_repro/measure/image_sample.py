"""The training images on which a loss around trained weights is measured."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from resnet_repro.data.augment import subtract_mean
from resnet_repro.spec.surface import SAMPLE_SEED
from resnet_repro.training.cifar_feed import TEST_BATCH, CifarFeed, images_per_test_batch
from resnet_repro.training.feed import Feed
from resnet_repro.training.order import Batch

__all__ = ["ImageSample", "choose_sample"]


class ImageSample(NamedTuple):
    """Training images, as they are, on which a loss is measured."""

    feed: CifarFeed
    which: Tensor  # int64 [n], in ascending order
    seed: int  # by which they were chosen
    sha256: str  # of the images' bytes and labels

    @property
    def columns(self) -> tuple[int, int, str]:
        """What a row says of the images that it was measured on: number, seed and SHA-256."""
        return len(self.which), self.seed, self.sha256

    def batches(self, size: int | None = None) -> Iterator[Batch]:
        """The images with the mean subtracted, on the feed's device."""
        feed = self.feed
        size = size or images_per_test_batch(feed.device)
        for which in self.which.to(feed.device).split(size):
            yield Batch(
                subtract_mean(feed.train_images[which], feed.mean), feed.train_labels[which]
            )


def choose_sample(feed: Feed, images: int | None, seed: int = SAMPLE_SEED) -> ImageSample:
    """As many images of each class as of the others, give or take one; None takes all images.

    Where a class has too few, the others give more. The seed decides, not the device.
    """
    assert isinstance(feed, CifarFeed), "loss surfaces are of CIFAR networks"
    labels = feed.train_labels.cpu()
    which = torch.arange(len(labels))
    if images is not None and images < len(labels):
        generator = torch.Generator().manual_seed(seed)
        turn = torch.empty_like(which)  # in which each image of a class is taken
        for label in range(feed.classes):
            members = which[labels == label]
            turn[members] = torch.randperm(len(members), generator=generator)
        which = (turn * feed.classes + labels).argsort()[:images].sort().values
    digest = hashlib.sha256()
    for part in which.split(TEST_BATCH):
        digest.update(feed.train_images[part.to(feed.device)].cpu().numpy().tobytes())
    digest.update(labels[which].numpy().tobytes())
    return ImageSample(feed, which, seed, digest.hexdigest())
