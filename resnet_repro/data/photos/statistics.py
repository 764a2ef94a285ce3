"""The training set's per-pixel mean and principal colours (section 3.4), computed once.

The paper uses AlexNet's colour augmentation: it adds [p1, p2, p3] [a1 l1, a2 l2, a3 l3]^T to each
pixel, where p and l are the eigenvectors and *eigenvalues* (not their roots) of the covariance of
RGB values, and each a is drawn per image from N(0, 0.1). The formula depends on the scale of the
values, which the text does not give. Assumption: 0 to 1, as in known reimplementations, whose
constants for ImageNet (0.2175, 0.0188, 0.0045) are the eigenvalues on that scale. A shift is then a
few levels of 255; on a scale of 0 to 255 the same formula would shift colours by hundreds.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resnet_repro.base.durations import format_duration
from resnet_repro.base.files import locked
from resnet_repro.base.stop import Stopped
from resnet_repro.data.npz import read_npz, write_npz
from resnet_repro.data.photos.crops import centre_corners, crops_of
from resnet_repro.data.photos.in_memory import hold
from resnet_repro.data.photos.photos import PhotoDataset, Photos
from resnet_repro.data.photos.workers import map_photos
from resnet_repro.spec.recipe_parts import Photographs

__all__ = ["PhotoStatistics", "statistics"]

_log = logging.getLogger(__name__)

FORMAT = 1
FOLDER = ".statistics"  # in the data folder
_PATIENCE = 0.5  # seconds between two checks of whether to stop
_known: dict[tuple[str, int, int], PhotoStatistics] = {}  # of this process


@dataclass(frozen=True, eq=False)
class PhotoStatistics:
    """Statistics of the centre crops of the training set at `test_shorter_side`."""

    images: int
    mean: NDArray[np.float32]  # [3, crop, crop], of 0 to 255
    eigenvalues: NDArray[np.float64]  # [3], of the covariance of RGB on 0 to 1, largest first
    eigenvectors: NDArray[np.float64]  # [3, 3], a column for each; its largest entry is positive

    def colour_shift(self, alphas: NDArray[np.float32]) -> NDArray[np.float32]:
        """The values [b, 3], of 0 to 255, to add to each image's pixels for draws `alphas`."""
        shift = (alphas * self.eigenvalues) @ self.eigenvectors.T * 255.0
        return shift.astype(np.float32)


def statistics(
    dataset: PhotoDataset,
    photographs: Photographs,
    data_dir: Path | None,
    *,
    should_stop: Callable[[], bool] | None = None,
) -> PhotoStatistics:
    """The statistics of a data set for these sizes, read from `data_dir` or computed.

    They are stored in `data_dir` if it is a folder. Sums are exact, so the result does not depend
    on workers or machine. If several processes need them, one computes and the others wait.

    Raises:
        DataError: there is no training set, or a photograph cannot be decoded.
        ReproError: a worker died.
        Stopped: `should_stop` said so.
    """
    dataset.need_training("the per-pixel mean of the training photographs is to be subtracted")
    key = (dataset.identity.sha256, photographs.crop, photographs.test_shorter_side)
    if key not in _known:
        with _locked_file(data_dir, key, should_stop) as path:
            found = _read(path, photographs.crop)
            if found is None:
                found = _compute(dataset, photographs, should_stop)
                _write(path, found)
        _known[key] = found
    return _known[key]


@contextlib.contextmanager
def _locked_file(
    data_dir: Path | None, key: tuple[str, int, int], should_stop: Callable[[], bool] | None
) -> Iterator[Path | None]:
    """The file for `key`, locked; None without a data folder."""
    if data_dir is None or not data_dir.is_dir():
        yield None
        return
    path = data_dir / FOLDER / f"{key[0][:16]}-{key[1]}-{key[2]}.npz"
    while True:
        with locked(path.with_suffix(".lock"), _PATIENCE) as free:
            if free:
                yield path
                return
        if should_stop and should_stop():
            raise Stopped


def _read(path: Path | None, crop: int) -> PhotoStatistics | None:
    if path is None:
        return None
    values = read_npz(path) or {}  # missing or damaged: computed again
    try:
        if int(values["format"]) != FORMAT:
            return None
        found = PhotoStatistics(
            int(values["images"]),
            values["mean"],
            values["eigenvalues"],
            values["eigenvectors"],
        )
    except (KeyError, TypeError, ValueError):  # another file
        return None
    shapes = (found.mean.shape, found.eigenvalues.shape, found.eigenvectors.shape)
    return found if shapes == ((3, crop, crop), (3,), (3, 3)) else None


def _write(path: Path | None, found: PhotoStatistics) -> None:
    if path is None:
        return
    try:
        write_npz(path, {"format": FORMAT, **vars(found)})
    except OSError as error:
        _log.warning(
            "the mean image cannot be kept and is computed again at every start: %s\n"
            "run with a --data-dir where you may write; `resnet-repro data prepare` with --from"
            " brings the data set there",
            error,
        )


def _compute(
    dataset: PhotoDataset,
    photographs: Photographs,
    should_stop: Callable[[], bool] | None,
) -> PhotoStatistics:
    side, crop = photographs.test_shorter_side, photographs.crop
    count, began = len(dataset.train), time.monotonic()
    total, products = np.zeros((crop, crop, 3), np.int64), np.zeros((3, 3), np.int64)
    try:
        photos = hold(dataset.train, should_stop=should_stop)
        _log.info("mean image and principal colours of %s photographs", f"{count:,}")
        task = partial(_sums, side, crop)
        for some in map_photos(task, photos, "looked at", should_stop):
            total += some[0]
            products += some[1]
    except Stopped:
        _log.warning(
            "stopped after %s, before anything else began: the mean image of %s photographs takes"
            " longer than that, and is begun anew next time",
            format_duration(time.monotonic() - began),
            f"{count:,}",
        )
        raise
    return from_sums(count, total, products)


def _sums(
    side: int, crop: int, photos: Photos, part: range
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Over centre crops: sums per pixel [crop, crop, 3], sums of products of colours [3, 3]."""
    total, products = np.zeros((crop, crop, 3), np.int64), np.zeros((3, 3), np.int64)
    for index in part:
        image = photos.image(index)
        (pixels,) = crops_of(image, side, centre_corners(image.size, side, crop), crop)
        total += pixels
        flat = pixels.reshape(-1, 3).astype(np.int64)
        products += flat.T @ flat
    return total, products


def from_sums(
    images: int, total: NDArray[np.int64], products: NDArray[np.int64]
) -> PhotoStatistics:
    """Statistics from sums over images: of pixels [c, c, 3], of products of colours [3, 3]."""
    pixels = images * total.shape[0] * total.shape[1]
    colours = total.sum(axis=(0, 1)) / pixels / 255.0
    covariance = products / pixels / 255.0**2 - np.outer(colours, colours)
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    largest = vectors[np.abs(vectors).argmax(axis=0), range(3)]
    return PhotoStatistics(
        images=images,
        mean=(total / images).astype(np.float32).transpose(2, 0, 1).copy(),
        eigenvalues=values,
        eigenvectors=vectors * np.sign(largest),
    )
