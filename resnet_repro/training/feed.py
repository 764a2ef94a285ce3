"""What the feeds of 32x32 images and of photographs share: batches, shards, and what fits."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from resnet_repro.base.errors import ConfigError
from resnet_repro.data.boxes.boxes import BoxDataset
from resnet_repro.data.dataset import Dataset
from resnet_repro.data.photos.photos import PhotoDataset
from resnet_repro.spec.run import Run

__all__ = ["WHOLE", "Batch", "Part", "Shard", "check_fits", "evenly_spaced"]

Part = Literal["test", "validation"]


class Batch(NamedTuple):
    """What goes into a network, on its device, and what should come out."""

    inputs: Tensor  # float32 [B, 3, H, W], the mean subtracted, channels last
    targets: Tensor  # int64 [B]


class Shard(NamedTuple):
    """Which process's share of each batch is meant, of how many that train together."""

    rank: int
    world: int


WHOLE = Shard(0, 1)


def check_fits(run: Run, dataset: Dataset | PhotoDataset | BoxDataset, processes: int = 1) -> None:
    """Check the sizes that a recipe asks of a data set, and of so many processes.

    Raises:
        ConfigError: more images are held out, or in a batch, than there are; or the batch cannot
            be divided among the processes, or leaves batch normalisation too little in each.
        DataError: there are only photographs to test on.
    """
    recipe = run.recipe
    if isinstance(dataset, PhotoDataset):
        dataset.need_training("training needs both; `resnet-repro evaluate` can test weights on it")
    if isinstance(dataset, BoxDataset):
        dataset.need_objects("train", "training needs images with boxes")
    if isinstance(dataset, PhotoDataset | BoxDataset):
        images = len(dataset.train)
    else:
        images = len(dataset.train_images)
    if recipe.validation_images >= images:
        raise ConfigError(f"recipe.validation_images: {recipe.validation_images} of {images}")
    left = images - recipe.validation_images
    if recipe.batch_size > left:
        raise ConfigError(
            f"recipe.batch_size: {recipe.batch_size} is more than the {left} training images"
        )
    if recipe.batch_size % processes:
        raise ConfigError(
            f"recipe.batch_size: {recipe.batch_size} cannot be divided among {processes} processes"
        )
    share = recipe.batch_size // processes
    if recipe.micro_batch_size and share % recipe.micro_batch_size:
        raise ConfigError(
            f"recipe.micro_batch_size: {recipe.micro_batch_size} does not divide the {share} "
            f"images of a batch that each of {processes} processes has"
        )
    if reason := recipe.too_few_for_norm(recipe.micro_batch_size or share):
        raise ConfigError(f"recipe.batch_size: {share} for each of {processes} processes: {reason}")


def evenly_spaced(images: int, size: int) -> Tensor:
    """At most `size` indices of so many images."""
    count = min(size, images)
    return torch.arange(count) * images // count
