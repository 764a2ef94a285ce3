"""Softmax scores of every test photograph, computed by one or several processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from resnet_repro.base.stop import Stopped
from resnet_repro.measure.progress import NEWS, progress_teller
from resnet_repro.measure.views import scores_of
from resnet_repro.runner.sources import Sources
from resnet_repro.runner.together import in_every_process
from resnet_repro.spec.run import Resolved, Run
from resnet_repro.spec.tables_figures import Views
from resnet_repro.training.feed import Feed
from resnet_repro.training.photo_feed import PhotoFeed
from resnet_repro.training.subject import Subject

__all__ = ["score_together"]


@dataclass(frozen=True)
class ScoreTask:
    """A task for all processes: test a trained network on views of every photograph."""

    run: Run
    precision: Resolved  # decided by the first process
    weights: dict[str, Tensor]
    views: Views

    def work(self, sources: Sources) -> None:
        """Compute this process's share for the first process."""

        def subject() -> Subject:
            return sources.trained(self.run, self.weights, sources.backend(self.precision))

        with contextlib.suppress(Stopped):
            _scores(subject, self.views, sources, lambda _: None)


def score_together(
    subject: Subject, views: Views, sources: Sources, news: Callable[[str], None]
) -> Tensor:
    """Scores float32 [N, classes] of the test photographs, each computed by one process.

    Raises:
        DataError: a photograph cannot be decoded.
        Stopped: it was time to stop.
    """
    weights = {name: value.cpu() for name, value in subject.network.state_dict().items()}
    task = ScoreTask(subject.run, subject.backend.precision, weights, views)
    sources.processes.broadcast(task)
    return _scores(lambda: subject, views, sources, news)


def _scores(
    subject: Callable[[], Subject], views: Views, sources: Sources, news: Callable[[str], None]
) -> Tensor:
    """All scores, in every process."""
    here: list[Subject] = []
    mine: list[Tensor] = []

    def load() -> Feed:
        here.append(subject())
        return here[0].feed

    def compute() -> Feed:
        mine.append(_own_share(here[0], views, sources, news))
        return here[0].feed

    for step in (load, compute):  # the data are compared before hours of testing
        if not in_every_process(sources, step):
            raise Stopped
    return torch.cat(sources.processes.gather(mine[0]))


def _own_share(
    subject: Subject, views: Views, sources: Sources, news: Callable[[str], None]
) -> Tensor:
    """The scores of this process's share of the photographs; shares are in order of rank."""
    feed, (rank, world) = subject.feed, sources.processes.shard
    assert isinstance(feed, PhotoFeed), "views are of photographs"
    photos = feed.dataset.test
    if world > 1:
        count = len(photos)
        photos = photos.some(np.arange(count * rank // world, count * (rank + 1) // world))
    if not len(photos):
        return torch.empty(0, feed.classes)
    on_progress = progress_teller(news, f"{subject.run.id}: {views}", NEWS)
    return scores_of(subject, views, sources.should_stop, on_progress, photos)
