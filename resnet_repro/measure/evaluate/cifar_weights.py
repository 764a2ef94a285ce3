"""Testing somebody else's weights of a CIFAR network.

A file of weights tells neither what was subtracted from the images nor where option A's zero
channels are, and a wrong guess costs up to 80 points. What the user does not state is found by
trying every combination on training images; the test set has no part in it.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from resnet_repro.base.errors import ConfigError
from resnet_repro.base.plain_text import either
from resnet_repro.data.augment import per_pixel_mean, subtract_mean
from resnet_repro.data.dataset import Dataset, Images
from resnet_repro.measure.evaluate.evaluation import Evaluation, Request, evaluation_memory_advice
from resnet_repro.measure.evaluate.input import KINDS, PADDINGS, Input, Stated
from resnet_repro.measure.views import losses, row_of, topk_errors
from resnet_repro.networks.weights import Fitted, network_of, networks_alike
from resnet_repro.spec.dataset_names import DATASETS, DatasetChoice
from resnet_repro.spec.input_kinds import Padding
from resnet_repro.spec.network_names import NetworkName
from resnet_repro.training.cifar_feed import as_tensor, images_per_test_batch
from resnet_repro.training.device import Backend, choose_backend, origin_here
from resnet_repro.training.evaluate import image_scores
from resnet_repro.training.memory import enough_memory
from resnet_repro.training.order import Batch, evenly_spaced

__all__ = ["evaluate_on_images"]

TRIED = (1_000, 10_000, 50_000)  # training images; more for combinations that come close
# Percent on training images, with ten classes and with more: above is not what somebody publishes.
LOW_ERROR, LOW_ERROR_OF_MANY = 10.0, 50.0
LOST = 0.5  # of a guess's errors: with more in every trial, weights may be another network's
STANDARD_ERRORS = 4.0  # by which the mean losses of two combinations have to differ
_SHOWN = 3  # trials in a message


@dataclass(frozen=True, eq=False)
class _Trial:
    """What a way gives on training images."""

    way: Input
    losses: Tensor  # float64 [n], cross-entropy of each image
    error: float  # percent

    @property
    def loss(self) -> float:
        """The mean."""
        return self.losses.mean().item()

    def clearly_better(self, other: _Trial) -> bool:
        """Whether the losses, image by image, are smaller and the error is not larger."""
        gain = other.losses - self.losses
        distance = STANDARD_ERRORS * gain.std().item() / len(gain) ** 0.5
        return self.error <= other.error and gain.mean().item() > distance

    def __str__(self) -> str:
        own = "with --mean " if self.way.mean else ""
        padding = f"/{self.way.padding}" if self.way.padding else ""
        return f"{own}{self.way.kind}{padding} {self.error:.2f}"


def evaluate_on_images(
    name: NetworkName, fitted: Fitted, choice: DatasetChoice, stated: Stated, request: Request
) -> Evaluation:
    """Measure the error of weights on the original images (section 4.2).

    What `stated` leaves open of what they expect is found on training images.

    Raises:
        ConfigError: views or options that 32x32 images do not have, weights of another number of
            classes, or no combination that is clearly right.
        DataError: the data set is missing or unusable.
        StoreError: `request.check` refused.
        Stopped: `request.should_stop` said so.
    """
    _check(name, stated, request)
    dataset = request.load(choice.name, choice)
    assert isinstance(dataset, Dataset)
    if fitted.classes != len(dataset.classes):
        small = (name for name, known in DATASETS.items() if "cifar" in known.families)
        fitting = [name for name in small if DATASETS[name].classes == fitted.classes]
        hint = f"; try --dataset {fitting[0]}" if fitting else ""
        raise ConfigError(
            f"the weights tell {fitted.classes or 0:,} classes apart, {dataset.identity.name} has "
            f"{len(dataset.classes)}{hint}"
        )
    backend = choose_backend(request.device, request.precision or "fp32")
    tester = _Tester(fitted, dataset, backend, request)
    with enough_memory(lambda: evaluation_memory_advice(backend)):
        way, notes = _chosen(tester, _ways(name, {choice.name, stated.kind}), stated)
        request.check(dataset.identity, way.text, backend.precision)
        found, labels = tester.scores(way, dataset.test_images, dataset.test_labels)
        row = row_of("centre", found, labels, "running", dataset.identity)
    return Evaluation(
        network=str(name),
        what=fitted.weights.name,
        rows=(row,),
        identity=dataset.identity,
        origin=origin_here(backend, request.command),
        input=way.text,
        notes=tuple(filter(None, (*fitted.notes, *notes, dataset.identity.note))),
    )


def _check(name: NetworkName, stated: Stated, request: Request) -> None:
    if set(request.views) != {"centre"}:
        raise ConfigError(
            f"{name} is for 32x32 images, which are tested on the single original view: --crops 1"
        )
    if stated.crop is not None:
        raise ConfigError(f"--crop is for photographs; {name} takes 32x32 images as they are")


def _ways(name: NetworkName, said: Collection[str | None]) -> list[Input]:
    """All that are known; CIFAR-100's means where that is the data set or they are stated."""
    paddings: Sequence[Padding | None] = tuple(PADDINGS) if name.option == "A" else (None,)
    kinds = [kind for kind in KINDS if kind != "cifar100" or kind in said]
    return [Input(kind, None, None, padding) for padding in paddings for kind in kinds]


def _chosen(tester: _Tester, known: Sequence[Input], stated: Stated) -> tuple[Input, list[str]]:
    """The way to use the weights, and what somebody who reads the errors should know of it.

    Raises:
        ConfigError: what is not stated cannot be told.
    """
    low = LOW_ERROR if len(tester.dataset.classes) <= 10 else LOW_ERROR_OF_MANY
    allowed = _distinct(
        replace(way, mean=stated.mean)
        for way in known
        if stated.kind in (None, way.kind) and stated.padding in (None, way.padding)
    )
    every = [*allowed, *(way for way in known if way not in allowed)]
    trials = sorted(tester.tried(every, TRIED[0]), key=lambda trial: trial.loss)
    ours = [trial for trial in trials if trial.way in allowed]
    best, clear, again = ours[0], len(ours) == 1, ""
    if not clear and best.error <= low:
        last = _contest(tester, ours)
        best, clear = last[0], all(last[0].clearly_better(other) for other in last[1:])
        if len(best.losses) > len(ours[0].losses):
            again = f"; on {len(best.losses):,}: {_listed(last)}"
    if not clear:
        raise ConfigError(_cannot_tell(tester, trials, ours, stated))
    chosen = "stated" if len(ours) == 1 else "clearly the best on training images"
    notes = [
        f"{best.way.options}: {chosen}. Errors in percent on {len(ours[0].losses):,} training "
        f"images: {_listed(trials)}{again}"
    ]
    first = next(trial for trial in trials if trial.way == best.way)
    fewer = trials[0].error < first.error or first.error <= low  # else both may be useless
    if fewer and trials[0].clearly_better(first):
        notes.append(
            f"warning: {trials[0].way.options} is clearly better on training images than what is "
            f"stated ({trials[0].error:.2f} instead of {first.error:.2f} % errors)"
        )
    elif first.error > low:
        alike = _alike(tester, trials)
        notes.append(
            f"warning: {first.error:.2f} % errors on training images are many; "
            "the weights may expect something else than what is stated"
            + (f", or want {alike}, which has the same tensors" if alike else "")
        )
    return best.way, notes


def _distinct(ways: Iterable[Input]) -> list[Input]:
    """The first of those that do the same: with a mean that is stated, some kinds do."""
    found: dict[object, Input] = {}
    for way in ways:
        same = (way.mean, KINDS[way.kind].deviation, way.padding)
        found.setdefault(same if way.mean else way, way)
    return list(found.values())


def _contest(tester: _Tester, trials: Sequence[_Trial]) -> Sequence[_Trial]:
    """Sorted trials, the best first; those that come close to it are tried on more images."""
    for count in TRIED[1:]:
        close = [trial for trial in trials if not trials[0].clearly_better(trial)]
        if len(close) == 1:
            break
        again = tester.tried([trial.way for trial in close], count)
        trials = sorted(again, key=lambda trial: trial.loss)
    return trials


def _listed(trials: Sequence[_Trial]) -> str:
    return ", ".join(map(str, trials))


def _alike(tester: _Tester, trials: Sequence[_Trial]) -> str:
    """`--network resnet-20`, which has the same tensors, if nothing tried does much but guess."""
    guessed = 100 - 100 / len(tester.dataset.classes)
    if min(trial.error for trial in trials) <= LOST * guessed:
        return ""
    return either([f"--network {name}" for name in networks_alike(tester.fitted)])


def _cannot_tell(
    tester: _Tester, trials: Sequence[_Trial], ours: Sequence[_Trial], stated: Stated
) -> str:
    """Why nothing was chosen, and what to say."""
    options = [
        *(["--input (perhaps with --mean R,G,B)"] if stated.kind is None else []),
        *(["--padding"] if stated.padding is None and ours[0].way.padding else []),
    ]
    best = trials[0]
    shown = [*ours[:_SHOWN], *([] if best in ours else [best])]
    alike = _alike(tester, trials)
    first = f"try {alike}, which has the same tensors, or " if alike else ""
    return (
        f"{tester.file}: no combination of input and padding is clearly right on training images "
        f"(errors in percent: {_listed(shown)}); {first}say it with {' and '.join(options)}"
    )


class _Tester:
    """Weights and images."""

    def __init__(
        self, fitted: Fitted, dataset: Dataset, backend: Backend, request: Request
    ) -> None:
        self.file, self.backend, self.request = fitted.weights.name, backend, request
        self.dataset, self.fitted = dataset, fitted
        self._networks: dict[Padding | None, nn.Module] = {}

    def tried(self, ways: Sequence[Input], count: int) -> list[_Trial]:
        """Each of some ways on that many training images."""
        which = evenly_spaced(len(self.dataset.train_images), count).numpy()
        images, labels = self.dataset.train_images[which], self.dataset.train_labels[which]
        self.request.tell(f"trying {len(ways)} combinations on {len(which):,} training images")
        trials = []
        for way in ways:
            scores, targets = self.scores(way, images, labels)
            error, _ = topk_errors(scores, targets)
            trials.append(_Trial(way, losses(scores.nan_to_num(0), targets), error))
        return trials

    def scores(
        self, way: Input, images: Images, labels: NDArray[np.int64]
    ) -> tuple[Tensor, Tensor]:
        """(softmax scores [N, classes], labels [N]) of images [N, 3, 32, 32]."""
        return image_scores(
            self._network(way.padding),
            self._batches(way, as_tensor(images), as_tensor(labels)),
            self.backend,
            self.request.should_stop,
        )

    def _network(self, padding: Padding | None) -> nn.Module:
        if padding not in self._networks:
            network = network_of(self.fitted, PADDINGS[padding or "end"].zero_channels)
            network.to(self.backend.device).to(memory_format=torch.channels_last)
            self._networks[padding] = network
        return self._networks[padding]

    def _batches(self, given: Input, images: Tensor, labels: Tensor) -> Iterator[Batch]:
        device, means, deviation = self.backend.device, given.channel_means, given.deviation
        mean = (self._per_pixel_mean if means is None else means).to(device)
        divisor = 1.0 if deviation is None else deviation.to(device)[:, None, None]
        size = images_per_test_batch(device)
        for some, targets in zip(images.split(size), labels.split(size), strict=True):
            yield Batch(subtract_mean(some.to(device), mean) / divisor, targets.to(device))

    @functools.cached_property
    def _per_pixel_mean(self) -> Tensor:
        return per_pixel_mean(as_tensor(self.dataset.train_images))
