"""The data sets and the device of the runs, and trainers and trained networks with them."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from resnet_repro.base.stop import StopFlag
from resnet_repro.data import datasets
from resnet_repro.data.boxes.boxes import BoxDataset
from resnet_repro.data.dataset import Dataset
from resnet_repro.data.photos.photos import PhotoDataset
from resnet_repro.runner.options import Options
from resnet_repro.spec.run import Run
from resnet_repro.training.device import Backend, choose_backend
from resnet_repro.training.feed import Feed, make_feed
from resnet_repro.training.processes import ALONE, Processes
from resnet_repro.training.subject import Subject, trained_network
from resnet_repro.training.trainer import Trainer

__all__ = ["Sources", "memory_advice"]


class Sources:
    """Loads each data set once, and makes trainers and trained networks of runs.

    Its methods raise DataError where data are missing, damaged or unreadable, ConfigError where
    there is no such device or a recipe does not fit its data set, CheckpointError where weights are
    not of the run's network, and Stopped where it was time to stop before the data were read.
    """

    def __init__(self, options: Options, stop: StopFlag, processes: Processes = ALONE) -> None:
        self.options, self.stop, self.processes = options, stop, processes
        self.datasets: dict[str, Dataset | PhotoDataset | BoxDataset] = {}

    def dataset(self, name: str) -> Dataset | PhotoDataset | BoxDataset:
        """A data set by name."""
        if name not in self.datasets:
            options = self.options
            self.datasets[name] = datasets.load(
                name, options.data_dir, options.folders, should_stop=self.should_stop
            )
        return self.datasets[name]

    def backend(self, precision: str) -> Backend:
        """This process's device with a run's precision."""
        if precision == "auto" and self.options.auto_precision is not None:
            precision = self.options.auto_precision
        local_rank = self.processes.local_rank if self.processes.count > 1 else None
        return choose_backend(self.options.device, precision, local_rank)

    def trainer(self, run: Run, backend: Backend) -> Trainer:
        """A training at its start; several processes get a share of every batch each."""
        feed = self._feed(run, backend, self.processes)
        return Trainer(run, feed, backend, self.processes, self.options.compiled)

    def trained(self, run: Run, weights: Mapping[str, Tensor], backend: Backend) -> Subject:
        """A trained network with all of its run's data."""
        feed = self._feed(run, backend, ALONE)
        network = trained_network(run, weights, feed.classes, backend)
        return Subject(run, network, feed, backend)

    def _feed(self, run: Run, backend: Backend, processes: Processes) -> Feed:
        return make_feed(
            run,
            self.dataset(run.dataset),
            backend,
            processes,
            data_dir=self.options.data_dir,
            should_stop=self.should_stop,
        )

    def should_stop(self) -> bool:
        """Whether this process got a signal or has used up its time."""
        return self.stop.reason is not None


def memory_advice(trainer: Trainer) -> str:
    """What helps when the device or the machine has no more memory for a training."""
    size = trainer.bn_images
    text = f"{trainer.run.id}: not enough memory on {trainer.backend.device}"
    if trainer.iteration:
        text += "; it continues from the last checkpoint when there is more"
    if size > 1:
        smaller = next(size // n for n in range(2, size + 1) if size % n == 0)
        seen = ", each of which batch normalisation sees by itself" if trainer.trains_norm else ""
        text += (
            f"\nbatches can pass in parts{seen}: "
            f"--set recipe.micro_batch_size={smaller} instead of {size}, a run of its own"
        )
    return text
