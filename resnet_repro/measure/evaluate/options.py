"""How to evaluate, as opposed to what."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from resnet_repro.data.dataset import Dataset
from resnet_repro.data.datasets import load
from resnet_repro.data.photos.photos import PhotoDataset
from resnet_repro.spec.dataset_names import DatasetChoice
from resnet_repro.spec.shows import Views

__all__ = ["Options"]

_NEWS = 10.0  # seconds between two notes of progress


@dataclass(frozen=True)
class Options:
    """What is the same for every kind of evaluation."""

    data_dir: Path
    views: Sequence[Views]
    command: str  # as typed, for the record
    device: str = "auto"
    precision: str | None = None  # None: as the run was trained; auto for somebody else's weights
    should_stop: Callable[[], bool] = lambda: False
    tell: Callable[[str], None] = lambda text: None  # hears how far it is

    def load(self, dataset: str, choice: DatasetChoice | None) -> Dataset | PhotoDataset:
        """A data set, from the folder that the command line named if it did."""
        return load(dataset, self.data_dir, choice.folders if choice else {})

    def progress_of(self, views: Views) -> Callable[[int, int], None]:
        """What to tell (done, total) of the views of all photographs; a line now and then."""
        told = time.monotonic()

        def on_progress(done: int, total: int) -> None:
            nonlocal told
            if time.monotonic() - told >= _NEWS and done < total:
                told = time.monotonic()
                self.tell(f"{views}: {100 * done // total}%")

        return on_progress
