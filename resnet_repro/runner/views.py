"""Testing runs on views of their photographs, by one or several processes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from resnet_repro.base.stop import Stopped
from resnet_repro.measure.progress import NEWS, progress_teller
from resnet_repro.measure.scores import store_views
from resnet_repro.measure.views import row_of, scores_of
from resnet_repro.runner.sources import Sources
from resnet_repro.runner.together import in_every_process, refuse_different_data
from resnet_repro.spec.run import Resolved, Run
from resnet_repro.spec.tables_figures import Views
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.training.device import origin_here
from resnet_repro.training.photo_feed import PhotoFeed
from resnet_repro.training.subject import Subject

__all__ = ["measure_views"]


def measure_views(
    subject: Subject,
    folder: RunFolder,
    views: Views,
    sources: Sources,
    news: Callable[[str], None],
) -> str:
    """Test a run on views of the photographs, and store errors and scores; returns a message.

    Raises:
        DataError: a photograph cannot be decoded.
        Stopped: it was time to stop.
        StoreError: the results cannot be written.
    """
    found = _score_together(subject, views, sources, news)
    feed = _photo_feed(subject)
    labels = torch.from_numpy(feed.dataset.test.labels)
    averaged = subject.run.recipe.bn_average_iterations > 0
    row = row_of(views, found, labels, "average" if averaged else "running", feed.identity)
    origin = origin_here(subject.backend, sources.options.command, sources.processes.count)
    store_views(folder, row, found, origin)
    return f"{views}: top-1 error {row.top1_error:.2f}%, top-5 error {row.top5_error:.2f}%"


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


def _score_together(
    subject: Subject, views: Views, sources: Sources, news: Callable[[str], None]
) -> Tensor:
    """Scores float32 [N, classes] of the test photographs, each computed by one process."""
    weights = {name: value.cpu() for name, value in subject.network.state_dict().items()}
    task = ScoreTask(subject.run, subject.backend.precision, weights, views)
    sources.processes.broadcast(task)
    return _scores(lambda: subject, views, sources, news)


def _scores(
    subject: Callable[[], Subject], views: Views, sources: Sources, news: Callable[[str], None]
) -> Tensor:
    """All scores, in every process."""
    here = in_every_process(sources, subject)
    refuse_different_data(sources.processes, here.feed.identity)  # before hours of testing
    mine = in_every_process(sources, lambda: _own_share(here, views, sources, news))
    return torch.cat(sources.processes.gather(mine))


def _own_share(
    subject: Subject, views: Views, sources: Sources, news: Callable[[str], None]
) -> Tensor:
    """The scores of this process's share of the photographs; shares are in order of rank."""
    feed, (rank, world) = _photo_feed(subject), sources.processes.shard
    photos = feed.dataset.test
    if world > 1:
        count = len(photos)
        photos = photos.some(np.arange(count * rank // world, count * (rank + 1) // world))
    if not len(photos):
        return torch.empty(0, feed.classes)
    on_progress = progress_teller(news, f"{subject.run.id}: {views}", NEWS)
    return scores_of(subject, views, sources.should_stop, on_progress, photos)


def _photo_feed(subject: Subject) -> PhotoFeed:
    assert isinstance(subject.feed, PhotoFeed), "views are of photographs"
    return subject.feed
