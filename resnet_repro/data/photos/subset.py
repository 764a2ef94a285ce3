"""A choice of some photographs out of many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from resnet_repro.data.photos.photos import ArrayPhotos, FilePhotos, Indices, Photos, Selection
from resnet_repro.data.photos.shared_buffer import SharedBuffer

__all__ = ["some_of"]


def some_of(photos: Photos, indices: NDArray[np.int64]) -> Photos:
    """Some photographs, in memory if all of them are."""
    whole = photos.held or photos
    if isinstance(whole, FilePhotos):
        return whole.some(indices)
    names, labels = [whole.names[index] for index in indices], whole.labels[indices]
    if isinstance(whole, ArrayPhotos):
        return ArrayPhotos(whole.images[indices], labels, names)
    return _Some(whole, indices, names)


class _Some(Photos):
    """A choice of photographs that are in memory."""

    def __init__(self, whole: Photos, indices: NDArray[np.int64], names: Sequence[str]) -> None:
        self._whole, self._indices = whole, indices
        self.names, self.labels = names, whole.labels[indices]

    @property
    def shared(self) -> Sequence[SharedBuffer]:
        return self._whole.shared

    def select(self, indices: Indices) -> Selection:
        return self._whole.select(self._indices[np.asarray(indices)])
