"""The loss surface and the curvature of a run, row by row, so that a stop costs one row.

Whole rows of the grid are kept in a file beside the run's others until all of them are there. It
begins with what they were measured on; what was begun otherwise is begun anew.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from copy import deepcopy

from resnet_repro.base.errors import StoreError
from resnet_repro.base.files import write_atomically
from resnet_repro.measure.curvature import hessian_ends
from resnet_repro.measure.surface import (
    Point,
    Sample,
    choose_sample,
    measure_rows,
    move,
    random_directions,
)
from resnet_repro.spec.measurements import CurvatureRow, SurfaceRow
from resnet_repro.spec.surface import SAMPLE_SEED, CurvatureSettings, SurfaceSettings
from resnet_repro.store.measurements import FILES, parsed, read_file, table_text
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.training.cifar_feed import CifarFeed
from resnet_repro.training.subject import Subject

__all__ = ["curvature_rows", "surface_rows"]

NEWS = 60.0  # seconds between two notes of progress


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
    key = _key(subject, settings, sample)
    rows = _kept(folder, key)
    width, height = settings.points
    total, told = width * height * len(settings.directions), time.monotonic()
    for number, seed in enumerate(settings.directions):
        done = min(max(0, len(rows) // width - number * height), height)
        row_by_row = measure_rows(
            network,
            random_directions(network, seed),
            settings.alphas,
            settings.betas[done:],
            sample.batches,
            subject.backend,
            should_stop,
        )
        for points in row_by_row:
            rows += [_surface_row(seed, point, sample) for point in points]
            write_atomically(folder.unfinished("surface"), key + table_text("surface", rows))
            if time.monotonic() - told >= NEWS:
                told = time.monotonic()
                note(f"{subject.run.id}: loss surface, {100 * len(rows) // total}% of the points")
    whole = _sample(subject, None)
    if len(whole.which) > len(sample.which):
        centre = measure_rows(
            network,
            random_directions(network, settings.directions[0]),
            (0.0,),
            (0.0,),
            whole.batches,
            subject.backend,
            should_stop,
        )
        rows += [_surface_row(settings.directions[0], p, whole) for row in centre for p in row]
    return rows


def curvature_rows(
    subject: Subject, settings: CurvatureSettings, should_stop: Callable[[], bool]
) -> list[CurvatureRow]:
    """Both ends of the Hessian's spectrum at each point, in fp32.

    Raises:
        Stopped: it was time to stop.
    """
    sample = _sample(subject, settings.images)
    directions = random_directions(subject.network, settings.directions)
    twin = deepcopy(subject.network).eval()
    rows = []
    for alpha, beta in settings.at:
        move(twin, subject.network, directions, alpha, beta)
        smallest, largest = hessian_ends(twin, sample.batches, should_stop)
        of = len(sample.which), SAMPLE_SEED, sample.sha256
        rows.append(CurvatureRow(settings.directions, alpha, beta, smallest, largest, *of))
    return rows


def _sample(subject: Subject, images: int | None) -> Sample:
    assert isinstance(subject.feed, CifarFeed), "loss surfaces are of CIFAR networks"
    return choose_sample(subject.feed, images, SAMPLE_SEED)


def _surface_row(seed: int, point: Point, sample: Sample) -> SurfaceRow:
    return SurfaceRow(seed, *point, len(sample.which), SAMPLE_SEED, sample.sha256)


def _key(subject: Subject, settings: SurfaceSettings, sample: Sample) -> str:
    """The first line of a file of unfinished rows: all that decides what they are."""
    digest = hashlib.sha256()
    for value in subject.network.state_dict().values():
        digest.update(value.cpu().contiguous().numpy().tobytes())
    content = {
        "settings": settings.model_dump(mode="json"),
        "sample": sample.sha256,
        "weights": digest.hexdigest(),
        "precision": subject.backend.precision,
        "device": subject.backend.device.type,
    }
    return json.dumps(content, sort_keys=True) + "\n"


def _kept(folder: RunFolder, key: str) -> list[SurfaceRow]:
    """The rows of an earlier session, if they are of the same surface."""
    path = folder.unfinished("surface")
    try:
        text = read_file(path, str)
        if text is None or not text.startswith(key):
            return []
        rows: list[SurfaceRow] = parsed(path, text.removeprefix(key), FILES["surface"][1]).rows
    except StoreError:
        return []
    return rows
