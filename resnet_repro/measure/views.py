"""Testing on photographs: one centre crop, 10 crops, or fully convolutional at several scales.

The softmax scores of all views of a photograph are averaged (section 3.4; that it is the softmax
which is averaged is in the notes on the authors' released models).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_repro.base.errors import ReproError
from resnet_repro.base.stop import until_stopped
from resnet_repro.data.augment import finish
from resnet_repro.data.dataset import Identity
from resnet_repro.data.photos.loader import photo_views
from resnet_repro.data.photos.photos import Photos
from resnet_repro.networks.fully_convolutional import dense_logits, final_map_side
from resnet_repro.spec.measurements import BnStatistics, EvaluationRow
from resnet_repro.spec.recipe_parts import Photographs
from resnet_repro.spec.tables_figures import Views
from resnet_repro.training.device import Backend
from resnet_repro.training.photo_feed import PhotoFeed
from resnet_repro.training.subject import Subject

__all__ = [
    "losses",
    "row_of",
    "scores",
    "scores_of",
    "topk_errors",
]

PIXELS = 64 * 224 * 224  # in one forward pass: speed and memory only, BN uses stored statistics
_SMALLEST_SCORE = torch.finfo(torch.float32).tiny


def scores(
    network: nn.Module,
    photos: Photos,
    views: Views,
    photographs: Photographs,
    mean: Tensor,
    backend: Backend,
    should_stop: Callable[[], bool] = lambda: False,
    *,
    deviation: Tensor | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """Softmax scores float32 [N, classes], on the CPU, averaged over the views of each photograph.

    `centre`: the centre crop. `10-crop`: four corners, the centre, and the mirror images of these
    crops; both of the photograph with `test_shorter_side`. `multi-scale`: the fully convolutional
    form on the whole photograph and its mirror image at every shorter side of `multi_scale`. There
    the scores are averaged over places first, so that every scale counts the same.

    Args:
        network: of the ImageNet family, on the backend's device; left in the mode it was in.
        mean: float32 [3, crop, crop], subtracted from values of 0 to 255; for views of another
            size than the crop it is resized (bilinear), an assumption: the paper does not say.
        deviation: float32 [3] by which the difference is divided, for others' weights.
        on_progress: called with the numbers of views (a photograph at one shorter side) that are
            done and that there are.

    Raises:
        Stopped: `should_stop` said so.
        DataError: a photograph cannot be decoded.
    """
    one = (photographs.test_shorter_side,)
    sides = photographs.multi_scale if views == "multi-scale" else one
    window, mirrors = final_map_side(network, photographs.crop), views != "centre"
    if deviation is not None:
        deviation = deviation.to(backend.device)
    tester = _Tester(network, mean.to(backend.device), deviation, backend, window, mirrors)
    sums: Tensor | None = None
    done = 0
    was_training = network.training
    network.eval()
    try:
        for side in sides:
            with closing(
                photo_views(photos, photographs, views, side=side, should_stop=should_stop)
            ) as chunks:
                for chunk in chunks:
                    at_once = max(1, PIXELS // chunk.images[0, ..., 0].numel())
                    parts = chunk.which.split(at_once), chunk.images.split(at_once)
                    for which, images in until_stopped(zip(*parts, strict=True), should_stop):
                        found = tester(images)
                        if sums is None:
                            sums = found.new_zeros(len(photos), found.shape[1])
                        sums[which] += found
                        done += len(which)
                        on_progress(done, len(sides) * len(photos))
    finally:
        network.train(was_training)
    if sums is None:
        raise ValueError("there are no photographs")
    return (sums / len(sides)).cpu()


@dataclass(frozen=True, eq=False)
class _Tester:
    """A network and what it needs to be tested on views."""

    network: nn.Module
    mean: Tensor
    deviation: Tensor | None
    backend: Backend
    window: int  # side of the last feature map of one crop
    mirrors: bool

    def __call__(self, images: Tensor) -> Tensor:
        """Softmax scores [n, classes] averaged over views, uint8 [n, v, H, W, 3]."""
        with torch.no_grad():
            flat = images.to(self.backend.device).flatten(0, 1)
            found = self._scores(flat)
            if self.mirrors:
                found = (found + self._scores(flat.flip(2))) / 2
            return found.unflatten(0, images.shape[:2]).mean(1)

    def _scores(self, images: Tensor) -> Tensor:
        """Softmax scores [B, classes] averaged over places, of images [B, H, W, 3]."""
        size, mean = tuple(images.shape[1:3]), self.mean
        if mean.shape[1:] != size:
            mean = F.interpolate(mean[None], size, mode="bilinear", align_corners=False)[0]
        x = finish(images, mean)
        if self.deviation is not None:
            x = x / self.deviation[:, None, None]
        with self.backend.autocast():
            logits = dense_logits(self.network, x, self.window)
        return logits.float().softmax(1).mean(dim=(2, 3))


def topk_errors(scores: Tensor, labels: Tensor) -> tuple[float, float]:
    """(top-1, top-5) errors in percent of scores [N, classes] and labels [N], to nine digits.

    Of fewer than five classes all are looked at, which leaves no top-5 error.
    """
    best = scores.topk(min(5, scores.shape[1]), dim=1).indices
    right = best == labels[:, None]
    top1, top5 = ((~right[:, :k].any(dim=1)).double().mean().item() for k in (1, 5))
    return round(100.0 * top1, 9), round(100.0 * top5, 9)


def losses(scores: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of each image, float64 [N], of averaged softmax scores [N, classes].

    Not finite if a score is not.
    """
    right = scores.gather(1, labels[:, None])[:, 0].double()
    return -right.clamp_min(_SMALLEST_SCORE).log()


def row_of(
    views: Views, scores: Tensor, labels: Tensor, bn: BnStatistics, identity: Identity
) -> EvaluationRow:
    """The errors that scores [N, classes] make, as a row of the run's file.

    Raises:
        ReproError: the scores are not numbers.
    """
    loss = losses(scores, labels).mean().item()
    if not math.isfinite(loss):
        raise ReproError(f"{views}: the network's outputs are not finite numbers")
    top1, top5 = topk_errors(scores, labels)
    return EvaluationRow(views, top1, top5, loss, len(labels), bn, identity.sha256)


def scores_of(
    subject: Subject,
    views: Views,
    should_stop: Callable[[], bool],
    on_progress: Callable[[int, int], None],
    photos: Photos | None = None,
) -> Tensor:
    """`scores` of a run's network on its test photographs, or on some `photos` of them."""
    feed = subject.feed
    assert isinstance(feed, PhotoFeed), "views are of photographs"
    return scores(
        subject.network,
        feed.dataset.test if photos is None else photos,
        views,
        feed.photographs,
        feed.mean,
        subject.backend,
        should_stop,
        on_progress=on_progress,
    )
