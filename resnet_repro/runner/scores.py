"""Softmax scores of every test photograph: made by one process or several, kept for ensembles."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from resnet_repro.base.files import write_atomically
from resnet_repro.base.stop import Stopped
from resnet_repro.data.npz import read_npz
from resnet_repro.measure.views import scores
from resnet_repro.runner.agreement import ready
from resnet_repro.runner.sources import Sources
from resnet_repro.spec.run import Run
from resnet_repro.spec.shows import Views
from resnet_repro.training.backend import Backend, Resolved
from resnet_repro.training.building import build_for
from resnet_repro.training.photo_feed import PhotoFeed
from resnet_repro.training.processes import Processes
from resnet_repro.training.subject import Subject

__all__ = [
    "ScoreTask",
    "load_subject",
    "read_scores",
    "score_along",
    "score_together",
    "write_scores",
]

NEWS = 60.0  # seconds between two notes of progress


@dataclass(frozen=True)
class ScoreTask:
    """A trained network to test together on views of every photograph."""

    run: Run
    precision: Resolved  # decided by the first process
    weights: dict[str, Tensor]
    views: Views


def load_subject(
    run: Run, weights: dict[str, Tensor], backend: Backend, sources: Sources
) -> Subject:
    """A trained network with all of its run's data.

    Raises:
        DataError: the data cannot be read.
    """
    feed = sources.feed(run, backend, whole=True)
    network = build_for(run, feed.classes)
    network.load_state_dict(weights)
    network = network.to(backend.device).to(memory_format=torch.channels_last)
    return Subject(run, network, feed, backend)


def score_together(
    subject: Subject, views: Views, sources: Sources, note: Callable[[str], None]
) -> Tensor:
    """Scores float32 [N, classes] of the test photographs, each process seeing some of them.

    Raises:
        DataError: a photograph cannot be decoded.
        Stopped: it was time to stop.
    """
    weights = {name: value.cpu() for name, value in subject.network.state_dict().items()}
    task = ScoreTask(subject.run, subject.backend.precision, weights, views)
    sources.processes.broadcast(task)
    found = _score(lambda: subject, views, sources, note)
    if found is None:
        raise Stopped
    return found


def score_along(task: ScoreTask, sources: Sources) -> None:
    """What all but the first process do meanwhile."""

    def subject() -> Subject:
        backend = sources.backend(task.precision)
        return load_subject(task.run, task.weights, backend, sources)

    _score(subject, task.views, sources, lambda _: None)


def _score(
    subject: Callable[[], Subject], views: Views, sources: Sources, note: Callable[[str], None]
) -> Tensor | None:
    """All scores, in every process; None if one of them had to stop."""
    mine: list[Tensor] = []

    def compute() -> None:
        mine.append(_own_share(subject(), views, sources, note))

    if not ready(sources.processes, compute):
        return None
    return torch.cat(sources.processes.gather(mine[0]))


def _own_share(
    subject: Subject, views: Views, sources: Sources, note: Callable[[str], None]
) -> Tensor:
    feed, processes = subject.feed, sources.processes
    assert isinstance(feed, PhotoFeed), "views are of photographs"
    photos = feed.dataset.test
    if processes.count > 1:
        photos = photos.some(_consecutive(len(photos), processes))
    if not len(photos):
        return torch.empty(0, feed.classes)
    told = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal told
        if time.monotonic() - told >= NEWS:
            told = time.monotonic()
            note(f"{subject.run.id}: {views}, {100 * done // total}% of the views")

    return scores(
        subject.network,
        photos,
        views,
        feed.photographs,
        feed.mean,
        subject.backend,
        sources.should_stop,
        on_progress=tell,
    )


def _consecutive(images: int, processes: Processes) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """This process's part of so many images, which all together have in order."""
    rank, world = processes.shard
    return np.arange(images * rank // world, images * (rank + 1) // world)


def write_scores(path: Path, found: Tensor, dataset_sha256: str) -> None:
    """Keep scores [N, classes], in half precision.

    Raises:
        StoreError: they cannot be written.
    """
    buffer = io.BytesIO()
    np.savez_compressed(buffer, scores=found.half().numpy(), dataset=np.array(dataset_sha256))
    write_atomically(path, buffer.getvalue())


def read_scores(path: Path, images: int, dataset_sha256: str) -> Tensor | None:
    """Scores float32 [N, classes] of a data set with so many images; None if that is not there."""
    arrays = read_npz(path) or {}  # missing, torn or foreign: made anew
    found = arrays.get("scores")
    if found is None or str(arrays.get("dataset")) != dataset_sha256:
        return None
    fits = found.ndim == 2 and len(found) == images and found.dtype == np.float16
    return torch.from_numpy(found).float() if fits else None
