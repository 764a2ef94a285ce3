"""The feed that serves a run's batches: which kind goes with a data set, and whether it fits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from resnet_repro.base.errors import ConfigError
from resnet_repro.data.boxes.boxes import BoxDataset
from resnet_repro.data.dataset import Dataset
from resnet_repro.data.photos.photos import PhotoDataset, photos_of
from resnet_repro.data.photos.statistics import statistics
from resnet_repro.spec.run import Run
from resnet_repro.training.box_feed import BoxFeed
from resnet_repro.training.cifar_feed import CifarFeed
from resnet_repro.training.device import Backend
from resnet_repro.training.photo_feed import PhotoFeed
from resnet_repro.training.processes import ALONE, Processes

__all__ = ["Feed", "check_fits", "make_feed"]

# One run's data as batches on the device; of several processes, each has its own share. A batch
# depends on nothing but the run's seed and the iteration.
Feed = CifarFeed | PhotoFeed | BoxFeed


def make_feed(
    run: Run,
    dataset: Dataset | PhotoDataset | BoxDataset,
    backend: Backend,
    processes: Processes = ALONE,
    *,
    data_dir: Path | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Feed:
    """This process's batches of a run's data set.

    32x32 images are taken as photographs where the recipe is for such, whose statistics are kept in
    `data_dir`; None computes them every time.

    Raises:
        ConfigError: the recipe does not fit the data set.
        DataError: a photograph cannot be decoded.
        Stopped: `should_stop` said so.
    """
    check_fits(run, dataset, processes.count)
    if isinstance(dataset, BoxDataset):
        return BoxFeed(run, dataset, backend.device, processes.shard)
    sizes = run.recipe.photographs
    if sizes is None:
        assert isinstance(dataset, Dataset), "a run of the CIFAR family has 32x32 images"
        return CifarFeed(run, dataset, backend.device, processes.shard)
    photos = photos_of(dataset) if isinstance(dataset, Dataset) else dataset
    found = statistics(photos, sizes, data_dir, should_stop=should_stop)
    return PhotoFeed(run, photos, backend.device, found, processes.shard)


def check_fits(run: Run, dataset: Dataset | PhotoDataset | BoxDataset, processes: int = 1) -> None:
    """Check the sizes that a recipe asks of a data set, and of so many processes.

    Raises:
        ConfigError: more images are held out, or in a batch, than there are; or the batch cannot
            be divided among the processes, or leaves batch normalisation too little in each.
        DataError: there are no training images, or none with boxes.
    """
    recipe = run.recipe
    if isinstance(dataset, PhotoDataset):
        dataset.need_training("training needs both; `resnet-repro evaluate` can test weights on it")
    if isinstance(dataset, BoxDataset):
        dataset.need_images("train", "training needs images with boxes")
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
