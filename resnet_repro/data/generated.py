"""Data sets that are generated instead of read, in the table of data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from resnet_repro.base.errors import ConfigError, DataError
from resnet_repro.data.dataset import DatasetStatus, PrepareRequest

__all__ = ["SEED", "SOURCE", "GeneratedReader"]

SEED = 0  # of all of them
SOURCE = f"generated from seed {SEED}"


class GeneratedReader:
    """A generated data set, of images with classes or with boxes; nothing of it is stored."""

    downloadable = False

    def __init__(
        self, name: str, description: str, images: int, sha256: str, generate: Callable[[], Any]
    ) -> None:
        """`sha256` is that of its identity on all machines that generate the same images."""
        self.name, self.description, self.images = name, description, images
        self.sha256, self.generate = sha256, generate

    def load(self, data_dir: Path, should_stop: Callable[[], bool] = lambda: False) -> Any:
        """Generate it, which is too quick to be stopped."""
        return self.generate()

    def prepare(self, data_dir: Path, request: PrepareRequest) -> Any:
        """Check that this machine generates the same images as others."""
        if request.source is not None or request.download:
            raise ConfigError(f"{self.name}: generated; there is nothing to bring or download")
        return self.verify(data_dir)

    def verify(self, data_dir: Path) -> Any:
        """Compare it with its known checksum.

        Raises DataError if this machine's numpy generates other images.
        """
        dataset = self.generate()
        if dataset.identity.sha256 != self.sha256:
            raise DataError(
                f"{self.name}: numpy {np.__version__} generates other images here than elsewhere;"
                " results on it cannot be compared with those of other machines"
            )
        return dataset

    def describe(self, data_dir: Path) -> DatasetStatus:
        """It is always available."""
        return DatasetStatus(self.name, self.description, True, True, self.images, SOURCE)
