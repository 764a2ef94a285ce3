"""The feed that goes with a run and its data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from resnet_repro.data.boxes.boxes import BoxDataset
from resnet_repro.data.dataset import Dataset
from resnet_repro.data.photos.photos import PhotoDataset, photos_of
from resnet_repro.data.photos.statistics import statistics
from resnet_repro.spec.run import Run
from resnet_repro.training.box_feed import BoxFeed
from resnet_repro.training.cifar_feed import CifarFeed
from resnet_repro.training.device import Backend
from resnet_repro.training.feed import check_fits
from resnet_repro.training.photo_feed import PhotoFeed
from resnet_repro.training.processes import ALONE, Processes

__all__ = ["Feed", "make_feed"]

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

    Args:
        run: whose recipe and seed decide on the batches.
        dataset: 32x32 images are taken as photographs where the recipe is for such.
        backend: where the batches are wanted.
        processes: that train together.
        data_dir: where statistics of photographs are kept; None computes them every time.
        should_stop: asked while statistics are computed.

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
