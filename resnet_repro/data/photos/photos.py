"""Photographs of any size: one part of a data set of them, in files or in memory.

What is handed to worker processes is a `Selection`: picklable, and all that they need to know.
"""

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
from resnet_repro.data.photos.shared_buffer import SharedBuffer

__all__ = [
    "ArrayPhotos",
    "Buffers",
    "FilePhotos",
    "HeldPhotos",
    "PhotoDataset",
    "Photos",
    "Pixels",
    "Selection",
    "photos_of",
]

Pixels = NDArray[np.uint8]  # [H, W, 3], RGB, upright
Indices = Sequence[int] | NDArray[np.int64]
Buffers = Sequence[NDArray[np.uint8]]  # the shared buffers' bytes; the photographs' own is first


class Selection(ABC):
    """Some photographs, by position."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def image(self, position: int, buffers: Buffers) -> Image.Image:
        """One of them, RGB and upright. Raises DataError naming the file."""


class Photos(ABC):
    """One part, train or val, of a data set of photographs."""

    labels: NDArray[np.int64]  # [N]
    names: Sequence[str]  # [N], relative names for messages
    held: HeldPhotos | None = None  # the same in memory, once they are there

    def __len__(self) -> int:
        return len(self.labels)

    def pixels(self, index: int) -> Pixels:
        """One photograph, uint8 [H, W, 3]. Raises DataError naming the file."""
        return np.asarray(self.select([index]).image(0, self.buffers))

    @property
    def buffers(self) -> Buffers:
        """What `Selection.image` needs in this process."""
        return [shared.bytes for shared in self.shared]

    @property
    def shared(self) -> Sequence[SharedBuffer]:
        """The memory in which the photographs are, for worker processes."""
        return ()

    @abstractmethod
    def select(self, indices: Indices) -> Selection:
        """Those photographs."""


@dataclass(frozen=True)
class _Files(Selection):
    root: str
    names: list[str]
    sizes: list[int] | None  # bytes, as far as they are known
    contents: list[bytes] | None  # their SHA-256, as far as it is known

    def __len__(self) -> int:
        return len(self.names)

    def image(self, position: int, buffers: Buffers) -> Image.Image:
        name = self.names[position]
        size = self.sizes[position] if self.sizes else None
        sha256 = self.contents[position] if self.contents else None
        return open_photo(f"{self.root}/{name}", name, size, sha256)


class FilePhotos(Photos):
    """Photographs in files, decoded when asked for.

    A file is refused then that has not the size in `sizes` [N] or the SHA-256 in `contents`
    [N, 32], as far as these are known.
    """

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        labels: NDArray[np.int64],
        sizes: NDArray[np.int64] | None = None,
        contents: NDArray[np.uint8] | None = None,
    ) -> None:
        self.root, self.names, self.labels = root, names, labels
        self.sizes, self.contents = sizes, contents
        self.too_large = False  # for the memory, as was found out

    def select(self, indices: Indices) -> Selection:
        return _Files(
            str(self.root),
            [self.names[index] for index in indices],
            None if self.sizes is None else [int(self.sizes[index]) for index in indices],
            None if self.contents is None else [self.contents[i].tobytes() for i in indices],
        )

    def some(self, indices: NDArray[np.int64]) -> FilePhotos:
        """Those photographs by themselves."""
        return FilePhotos(
            self.root,
            [self.names[index] for index in indices],
            self.labels[indices],
            None if self.sizes is None else self.sizes[indices],
            None if self.contents is None else self.contents[indices],
        )


@dataclass(frozen=True)
class _Held(Selection):
    places: list[tuple[int, int, int]]  # offset in the buffer, height, width

    def __len__(self) -> int:
        return len(self.places)

    def image(self, position: int, buffers: Buffers) -> Image.Image:
        offset, height, width = self.places[position]
        pixels = buffers[0][offset : offset + height * width * 3]
        return Image.frombuffer("RGB", (width, height), pixels, "raw", "RGB", 0, 1)


class HeldPhotos(Photos):
    """Decoded photographs, one after another in shared memory."""

    def __init__(self, like: Photos, sizes: NDArray[np.int64]) -> None:
        """Make room for the photographs of `like`, whose sizes [N, 2] are (height, width).

        Raises OSError when there is no such room.
        """
        self.names, self.labels, self.sizes = like.names, like.labels, sizes
        ends = np.cumsum(sizes.prod(axis=1) * 3)
        self.offsets = np.concatenate(([0], ends[:-1]))
        self.buffer = SharedBuffer(int(ends[-1]) if len(ends) else 0)

    @property
    def shared(self) -> Sequence[SharedBuffer]:
        return (self.buffer,)

    def select(self, indices: Indices) -> Selection:
        return _Held(
            [
                (int(self.offsets[index]), int(self.sizes[index, 0]), int(self.sizes[index, 1]))
                for index in indices
            ]
        )


@dataclass(frozen=True, eq=False)
class _Arrays(Selection):
    images: NDArray[np.uint8]  # [n, 3, H, W]

    def __len__(self) -> int:
        return len(self.images)

    def image(self, position: int, buffers: Buffers) -> Image.Image:
        return Image.fromarray(np.ascontiguousarray(self.images[position].transpose(1, 2, 0)))


class ArrayPhotos(Photos):
    """Small images [N, 3, H, W] in an array, taken as photographs."""

    def __init__(
        self, images: NDArray[np.uint8], labels: NDArray[np.int64], names: Sequence[str]
    ) -> None:
        self.images, self.labels, self.names = images, labels, names

    def select(self, indices: Indices) -> Selection:
        return _Arrays(self.images[np.asarray(indices, np.int64)])


@dataclass(frozen=True, eq=False)
class PhotoDataset:
    """Photographs to train and test on. `test` is the val part, on which the paper tests."""

    identity: Identity
    classes: tuple[str, ...]
    train: Photos  # none where val is alone
    test: Photos

    def need_training(self, why: str) -> None:
        """Raise DataError, which says `why`, where there are only photographs to test on."""
        if not len(self.train):
            raise DataError(f"{self.identity.name} here is val alone, without train: {why}")


def photos_of(dataset: Dataset) -> PhotoDataset:
    """A data set of 32x32 images as photographs, to be enlarged as the recipe asks."""
    return PhotoDataset(
        dataset.identity,
        dataset.classes,
        _as_photos("train", dataset.train_images, dataset.train_labels),
        _as_photos("test", dataset.test_images, dataset.test_labels),
    )


def _as_photos(part: str, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> ArrayPhotos:
    return ArrayPhotos(images, labels, [f"{part}/{index}" for index in range(len(labels))])
