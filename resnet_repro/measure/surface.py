"""The loss around trained weights, as Li et al. draw it ("... the Loss Landscape of Neural Nets").

f(a, b) = L(weights + a d + b e) for two random directions d and e, each filter of which has the
norm of the network's own filter (section 4 of that paper, NeurIPS 2018, arXiv 1712.09913). L is the
mean cross-entropy of training images as they are, without augmentation; BN uses the statistics of
the trained network. Parameters of one dimension (biases, BN's scales and shifts) stay as they are,
as with `xignore=biasbn` in that paper's code: their directions are 0.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from resnet_repro.measure.image_sample import ImageSample, choose_sample
from resnet_repro.measure.kept_arrays import KeptArrays, Parts
from resnet_repro.measure.progress import NEWS, progress_teller
from resnet_repro.spec.measurements import BnStatistics, Stream, SurfaceRow
from resnet_repro.spec.surface import SurfaceSettings
from resnet_repro.training.device import Backend
from resnet_repro.training.evaluate import evaluate
from resnet_repro.training.order import Batch, generator
from resnet_repro.training.subject import Subject

__all__ = [
    "STREAM",
    "Directions",
    "GridPoint",
    "measure_row",
    "move",
    "random_directions",
    "surface_rows",
]

STREAM: Stream = "directions"
SMALL = 1e-10  # added to a filter's norm before dividing by it, as in that paper's code


class GridPoint(NamedTuple):
    """Loss and error at one point, `alpha` and `beta` steps along the two directions."""

    alpha: float
    beta: float
    loss: float  # mean cross-entropy
    error: float  # percent


class Directions(NamedTuple):
    """Two directions, in the order of the network's parameters and on its device."""

    first: list[Tensor]
    second: list[Tensor]


def random_directions(network: nn.Module, seed: int) -> Directions:
    """Two filter-normalised Gaussian directions, the same on every device.

    A filter is what belongs to one output channel of a convolution or one output of the classifier:
    the slice along a parameter's first dimension. Parameters of one dimension get zeros. They are
    drawn from a stream of their own: that of `initialise` would give a network's initial weights.
    """
    drawn = generator(STREAM, seed)
    return Directions(_direction(network, drawn), _direction(network, drawn))


def _direction(network: nn.Module, stream: torch.Generator) -> list[Tensor]:
    direction = []
    for parameter in network.parameters():
        weight = parameter.detach()
        step = torch.zeros_like(weight, memory_format=torch.preserve_format)
        if weight.dim() > 1:
            drawn = torch.randn(weight.shape, generator=stream)
            norms = weight.cpu().float().flatten(1).norm(dim=1)
            scale = norms / (drawn.flatten(1).norm(dim=1) + SMALL)
            step.copy_(drawn * scale.view(-1, *[1] * (drawn.dim() - 1)))
        direction.append(step)
    return direction


def measure_row(
    network: nn.Module,
    directions: Directions,
    alphas: Sequence[float],
    beta: float,
    batches: Callable[[], Iterable[Batch]],
    backend: Backend,
    should_stop: Callable[[], bool] = lambda: False,
) -> list[GridPoint]:
    """A row of the grid: all alphas at one beta.

    A copy of the network is moved; the network stays as it is.

    Raises:
        Stopped: `should_stop`, asked before every batch, said so.
    """
    twin = copy.deepcopy(network).eval()
    row: list[GridPoint] = []
    for alpha in alphas:
        move(twin, network, directions, alpha, beta)
        row.append(GridPoint(alpha, beta, *evaluate(twin, batches(), backend, should_stop)))
    return row


def move(
    twin: nn.Module, network: nn.Module, directions: Directions, alpha: float, beta: float
) -> None:
    """Give a copy of a network the weights of one point; at (0, 0) they are exactly its own."""
    with torch.no_grad():
        parameters = zip(twin.parameters(), network.parameters(), *directions, strict=True)
        for target, weight, first, second in parameters:
            target.copy_(weight + alpha * first + beta * second)


def surface_rows(
    subject: Subject,
    parts: Parts,
    settings: SurfaceSettings,
    should_stop: Callable[[], bool],
    news: Callable[[str], None],
) -> list[SurfaceRow]:
    """The grid for each seed of directions, then the centre on all training images.

    Raises:
        Stopped: it was time to stop; whole rows of the grid are kept.
        StoreError: they cannot be written.
    """
    network, sample = subject.network, choose_sample(subject.feed, settings.images)
    kept = KeptArrays(parts, subject, settings=settings, sample=sample.sha256, stream=STREAM)
    rows: list[SurfaceRow] = []
    total = len(settings.directions) * settings.points[0] * settings.points[1]
    on_progress = progress_teller(news, f"{subject.run.id}: loss surface", NEWS)
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
    whole = choose_sample(subject.feed, None)
    if len(whole.which) > len(sample.which):
        found = evaluate(network, whole.batches(), subject.backend, should_stop)
        centre = GridPoint(0.0, 0.0, *found)
        rows.append(_surface_row(subject, settings.directions[0], centre, whole))
    return rows


def _surface_row(subject: Subject, seed: int, point: GridPoint, sample: ImageSample) -> SurfaceRow:
    bn: BnStatistics = "average" if subject.run.recipe.bn_average_iterations else "running"
    return SurfaceRow(seed, *point, *sample.columns, bn=bn, fixed="biases and BN", stream=STREAM)
