"""The loss surface and the curvature of a run, step by step, so that a stop costs one step.

Whole rows of the grid, points of a line and products with the Hessian are kept beside the run's
files until all of them are there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial

from torch import Tensor

from resnet_repro.measure.curvature import Vector, hessian_ends
from resnet_repro.measure.kept_arrays import KeptArrays, measured_on
from resnet_repro.measure.progress import progress_teller, seldom
from resnet_repro.measure.surface import (
    GridPoint,
    ImageSample,
    choose_sample,
    measure_on_line,
    measure_row,
    move,
    random_directions,
)
from resnet_repro.spec.measurements import BatchNorm, CurvatureRow, PathRow, SurfaceRow
from resnet_repro.spec.surface import (
    SAMPLE_SEED,
    CurvatureSettings,
    PathSettings,
    SurfaceSettings,
)
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.training.cifar_feed import CifarFeed
from resnet_repro.training.evaluate import evaluate
from resnet_repro.training.subject import Subject

__all__ = ["curvature_rows", "path_rows", "surface_rows"]

NEWS = 60.0  # seconds between two notes of progress
# Images whose product with the Hessian is computed at a time. A product takes some 24 MB for each
# image of 110 layers; on a CPU core, 250 images at a time took a tenth longer than 100.
CURVATURE_BATCH = 100


def surface_rows(
    subject: Subject,
    folder: RunFolder,
    settings: SurfaceSettings,
    should_stop: Callable[[], bool],
    note: Callable[[str], None],
) -> list[SurfaceRow]:
    """The grid for each seed of directions, then the centre on all training images.

    Raises:
        Stopped: it was time to stop; whole rows of the grid are kept.
        StoreError: they cannot be written.
    """
    network, sample = subject.network, _sample(subject, settings.images)
    kept = _kept(subject, folder, "surface", settings, sample)
    rows: list[SurfaceRow] = []
    total = len(settings.directions) * settings.points[0] * settings.points[1]
    on_progress = progress_teller(note, f"{subject.run.id}: loss surface", NEWS)
    for seed in settings.directions:
        directions = random_directions(network, seed)
        for beta in settings.betas:
            measure = partial(
                measure_row,
                *(network, directions, settings.alphas, beta),
                *(sample.batches, subject.backend, should_stop),
            )
            points = [GridPoint(*values) for values in kept.get(f"{seed},{beta}", measure).tolist()]
            rows += [_surface_row(subject, seed, point, sample) for point in points]
            on_progress(len(rows), total)
    whole = _sample(subject, None)
    if len(whole.which) > len(sample.which):
        unmoved = deepcopy(network).eval()
        centre = GridPoint(
            0.0, 0.0, *evaluate(unmoved, whole.batches(), subject.backend, should_stop)
        )
        rows.append(_surface_row(subject, settings.directions[0], centre, whole))
    return rows


def path_rows(
    subject: Subject,
    folder: RunFolder,
    other: str,
    end: Mapping[str, Tensor],
    settings: PathSettings,
    should_stop: Callable[[], bool],
    note: Callable[[str], None],
) -> list[PathRow]:
    """The line from a run's weights to those of another run like it.

    Args:
        subject: the run at position 0.
        folder: where the points of an unfinished line are kept.
        other: id of the run at position 1.
        end: its `state_dict`.
        settings: points and images.
        should_stop: asked before every batch.
        note: told from time to time how far it is.

    Raises:
        Stopped: it was time to stop; the points so far are kept.
        StoreError: they cannot be written.
    """
    sample = _sample(subject, settings.images)
    kept = _kept(subject, folder, "path", settings, sample, end)
    of = _of(sample)
    rows: list[PathRow] = []
    on_progress = progress_teller(note, f"{subject.run.id}: path", NEWS)
    for position in settings.positions:
        measure = partial(
            measure_on_line,
            *(subject.network, end, position, sample.batches, subject.backend, should_stop),
        )
        loss, error = kept.get(str(position), measure).tolist()
        rows.append(PathRow(other, position, loss, error, *of, "interpolated"))
        on_progress(len(rows), len(settings.positions))
    return rows


def curvature_rows(
    subject: Subject,
    folder: RunFolder,
    settings: CurvatureSettings,
    should_stop: Callable[[], bool],
    note: Callable[[str], None],
) -> list[CurvatureRow]:
    """Both ends of the Hessian's spectrum at each point, in fp32.

    Raises:
        Stopped: it was time to stop; the products with the Hessian so far are kept.
        StoreError: they cannot be written.
    """
    sample = _sample(subject, settings.images)
    directions = random_directions(subject.network, settings.directions)
    twin = deepcopy(subject.network).eval()
    kept = _kept(subject, folder, "curvature", settings, sample)
    of = _of(sample)
    rows = []
    on_message = seldom(lambda message: note(f"{subject.run.id}: {message}"), NEWS)
    for alpha, beta in settings.at:
        move(twin, subject.network, directions, alpha, beta)
        remember = _rememberer(kept, f"{alpha},{beta}", on_message)
        batches = partial(sample.batches, CURVATURE_BATCH)
        smallest, largest = hessian_ends(twin, batches, should_stop, remember)
        rows.append(CurvatureRow(settings.directions, alpha, beta, smallest, largest, *of))
    return rows


def _rememberer(
    kept: KeptArrays, point: str, on_message: Callable[[str], None]
) -> Callable[[Vector, Callable[[], Vector]], Vector]:
    """Keeps and counts the products with the Hessian at a point."""
    number = 0

    def remember(vector: Vector, make: Callable[[], Vector]) -> Vector:
        nonlocal number
        product = kept.get(f"{point}/{hashlib.sha256(vector.tobytes()).hexdigest()}", make)
        number += 1
        on_message(f"curvature at ({point}): {number} products with the Hessian")
        return product

    return remember


def _sample(subject: Subject, images: int | None) -> ImageSample:
    assert isinstance(subject.feed, CifarFeed), "loss surfaces are of CIFAR networks"
    return choose_sample(subject.feed, images, SAMPLE_SEED)


def _surface_row(subject: Subject, seed: int, point: GridPoint, sample: ImageSample) -> SurfaceRow:
    bn: BatchNorm = "average" if subject.run.recipe.bn_average_iterations else "running"
    return SurfaceRow(seed, *point, *_of(sample), bn=bn, fixed="biases and BN")


def _of(sample: ImageSample) -> tuple[int, int, str]:
    """What a row says of the images that it was measured on: number, seed and SHA-256."""
    return len(sample.which), SAMPLE_SEED, sample.sha256


def _kept(
    subject: Subject,
    folder: RunFolder,
    name: str,
    settings: SurfaceSettings | PathSettings | CurvatureSettings,
    sample: ImageSample,
    *ends: Mapping[str, Tensor],
) -> KeptArrays:
    """What an earlier session measured of the same with the same settings."""
    dumped = settings.model_dump(mode="json")
    measured = measured_on(subject, *ends, settings=dumped, sample=sample.sha256)
    return KeptArrays(folder.unfinished_arrays(name), measured)
