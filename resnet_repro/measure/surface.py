"""The loss around trained weights, as Li et al. draw it ("... the Loss Landscape of Neural Nets").

f(a, b) = L(weights + a d + b e) for two random directions d and e, each filter of which has the
norm of the network's own filter (section 4 of that paper, NeurIPS 2018, arXiv 1712.09913). L is the
mean cross-entropy of training images as they are, without augmentation; BN uses the statistics of
the trained network. Parameters of one dimension (biases, BN's scales and shifts) stay as they are,
as with `xignore=biasbn` in that paper's code: their directions are 0.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from resnet_repro.data.augment import subtract_mean
from resnet_repro.training.cifar_feed import TEST_BATCH, CifarFeed, images_per_test_batch
from resnet_repro.training.device import Backend
from resnet_repro.training.evaluate import evaluate
from resnet_repro.training.order import Batch

__all__ = [
    "Directions",
    "GridPoint",
    "ImageSample",
    "choose_sample",
    "measure_on_line",
    "measure_row",
    "move",
    "random_directions",
]

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


class ImageSample(NamedTuple):
    """Training images, as they are, on which a loss is measured."""

    feed: CifarFeed
    which: Tensor  # int64 [n], in ascending order
    sha256: str  # of the images' bytes and labels

    def batches(self, size: int | None = None) -> Iterator[Batch]:
        """The images with the mean subtracted, on the feed's device."""
        feed = self.feed
        size = size or images_per_test_batch(feed.device)
        for which in self.which.to(feed.device).split(size):
            yield Batch(
                subtract_mean(feed.train_images[which], feed.mean), feed.train_labels[which]
            )


def choose_sample(feed: CifarFeed, images: int | None, seed: int = 0) -> ImageSample:
    """As many images of each class as of the others, give or take one; None takes all images.

    Where a class has too few, the others give more. The seed decides, not the device.
    """
    labels = feed.train_labels.cpu()
    which = torch.arange(len(labels))
    if images is not None and images < len(labels):
        generator = torch.Generator().manual_seed(seed)
        turn = torch.empty_like(which)  # in which each image of a class is taken
        for label in range(feed.classes):
            members = which[labels == label]
            turn[members] = torch.randperm(len(members), generator=generator)
        which = (turn * feed.classes + labels).argsort()[:images].sort().values
    digest = hashlib.sha256()
    for part in which.split(TEST_BATCH):
        digest.update(feed.train_images[part.to(feed.device)].cpu().numpy().tobytes())
    digest.update(labels[which].numpy().tobytes())
    return ImageSample(feed, which, digest.hexdigest())


def random_directions(network: nn.Module, seed: int) -> Directions:
    """Two filter-normalised Gaussian directions, the same on every device.

    A filter is what belongs to one output channel of a convolution or one output of the classifier:
    the slice along a parameter's first dimension. Parameters of one dimension get zeros.
    """
    generator = torch.Generator().manual_seed(seed)
    return Directions(_direction(network, generator), _direction(network, generator))


def _direction(network: nn.Module, generator: torch.Generator) -> list[Tensor]:
    direction = []
    for parameter in network.parameters():
        weight = parameter.detach()
        step = torch.zeros_like(weight, memory_format=torch.preserve_format)
        if weight.dim() > 1:
            drawn = torch.randn(weight.shape, generator=generator)
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


def measure_on_line(
    network: nn.Module,
    end: Mapping[str, Tensor],
    position: float,
    batches: Callable[[], Iterable[Batch]],
    backend: Backend,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[float, float]:
    """Loss and error at a point of the straight line from a network (0) to one like it (1).

    `end` is the other one's `state_dict`. BN's statistics move along (`dir_type=states` in that
    paper's code); beyond the ends a variance that would be negative is 0.

    Raises:
        Stopped: `should_stop`, asked before every batch, said so.
    """
    state = network.state_dict()
    for name, value in state.items():
        if value.is_floating_point():
            state[name] = (1 - position) * value + position * end[name].to(value.device)
            if name.endswith("running_var"):
                state[name].clamp_(min=0)
    twin = copy.deepcopy(network).eval()
    twin.load_state_dict(state)
    return evaluate(twin, batches(), backend, should_stop)
