"""Photographs of any size, in files or in memory, and data sets of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from resnet_repro.base.errors import DataError
from resnet_repro.data.dataset import Dataset, Identity
from resnet_repro.data.photos.decoding import open_photo

__all__ = ["ArrayPhotos", "FilePhotos", "HeldPhotos", "PhotoDataset", "Photos", "photos_of"]

Pixels = NDArray[np.uint8]  # [H, W, 3], RGB, upright


class Photos(ABC):
    """One part, train or val, of a data set of photographs."""

    labels: NDArray[np.int64]  # [N]

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def image(self, index: int) -> Image.Image:
        """One photograph, RGB and upright. Raises DataError naming the file."""

    def pixels(self, index: int) -> Pixels:
        """One photograph, uint8 [H, W, 3]. Raises DataError naming the file."""
        return np.asarray(self.image(index))

    @abstractmethod
    def some(self, indices: NDArray[np.int64]) -> Photos:
        """A selection of the photographs, in memory if all of them are."""


class ArrayPhotos(Photos):
    """Photographs in memory, such as small images used as photographs."""

    def __init__(self, images: Sequence[Pixels] | Pixels, labels: NDArray[np.int64]) -> None:
        self.images, self.labels = images, labels

    def image(self, index: int) -> Image.Image:
        pixels = np.ascontiguousarray(self.images[index])
        size = (pixels.shape[1], pixels.shape[0])
        return Image.frombuffer("RGB", size, pixels, "raw", "RGB", 0, 1)

    def some(self, indices: NDArray[np.int64]) -> Photos:
        return type(self)([self.images[index] for index in indices], self.labels[indices])


class HeldPhotos(ArrayPhotos):
    """Photographs from files, decoded into memory."""


class FilePhotos(Photos):
    """Photographs in files, decoded on demand; messages call them by their `names` [N].

    A file is refused if it does not have its size in `sizes` [N] or its SHA-256 in `contents`
    [N, 32], as far as these are given. `turned` is that of `open_photo`.
    """

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        labels: NDArray[np.int64],
        sizes: NDArray[np.int64] | None = None,
        contents: NDArray[np.uint8] | None = None,
        *,
        turned: bool = True,
    ) -> None:
        self.root, self.names, self.labels = root, names, labels
        self.sizes, self.contents, self.turned = sizes, contents, turned
        self.held: HeldPhotos | None = None  # the same, once they are in memory
        self.too_large = False  # for the memory, once that is known

    def image(self, index: int) -> Image.Image:
        name = self.names[index]
        size = None if self.sizes is None else int(self.sizes[index])
        sha256 = None if self.contents is None else self.contents[index].tobytes()
        return open_photo(f"{self.root}/{name}", name, size, sha256, turned=self.turned)

    def some(self, indices: NDArray[np.int64]) -> Photos:
        if self.held is not None:
            return self.held.some(indices)
        return FilePhotos(
            self.root,
            [self.names[index] for index in indices],
            self.labels[indices],
            None if self.sizes is None else self.sizes[indices],
            None if self.contents is None else self.contents[indices],
            turned=self.turned,
        )


@dataclass(frozen=True, eq=False)
class PhotoDataset:
    """Photographs for training and testing. `test` is the val part, on which the paper tests."""

    identity: Identity
    classes: tuple[str, ...]
    train: Photos  # empty if there is only val
    test: Photos

    def need_training(self, why: str) -> None:
        """Raise DataError with the reason `why` if there are no training photographs."""
        if not len(self.train):
            raise DataError(f"{self.identity.name} here is val alone, without train: {why}")


def photos_of(dataset: Dataset) -> PhotoDataset:
    """A data set of 32x32 images as photographs, which the recipe's sizes enlarge."""
    return PhotoDataset(
        dataset.identity,
        dataset.classes,
        ArrayPhotos(dataset.train_images.transpose(0, 2, 3, 1), dataset.train_labels),
        ArrayPhotos(dataset.test_images.transpose(0, 2, 3, 1), dataset.test_labels),
    )
