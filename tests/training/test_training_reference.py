"""`Trainer` against a slow and obvious training, written from the paper in plain float64."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from resnet_repro.data.dataset import Dataset
from resnet_repro.training.order import BatchOrder

Weights = dict[str, Tensor]
Seen = dict[str, list[Tensor]]  # statistics of the parts of a batch
SEED = 3
BATCH = 12


@dataclass(frozen=True)
class Settings:
    """What the reference does, each field spelled out instead of read from a recipe."""

    residual: bool = True
    rates: tuple[float, ...] = (0.003,) * 5 + (0.0003,) * 4 + (0.00003,) * 3
    caffe: bool = True
    momentum: float = 0.9
    nesterov: bool = False
    decay: float = 0.1  # a thousand times the paper's, so that 12 iterations show it
    decay_everything: bool = True
    part: int = BATCH  # images that batch normalisation sees
    black_border: bool = False
    drop_last: bool = False


def batch_norm(x: Tensor, weights: Weights, name: str, seen: Seen) -> Tensor:
    """With the statistics of what passes, which are added to `seen`."""
    mean = x.mean(dim=(0, 2, 3))
    variance = (x - mean[:, None, None]).square().mean(dim=(0, 2, 3))
    count = x.numel() / x.shape[1]
    for key, value in (("mean", mean), ("var", variance * count / (count - 1))):
        seen[f"{name}.running_{key}"].append(value.detach())
    x = (x - mean[:, None, None]) / torch.sqrt(variance[:, None, None] + 1e-5)
    return x * weights[f"{name}.weight"][:, None, None] + weights[f"{name}.bias"][:, None, None]


def forward(images: Tensor, w: Weights, residual: bool, statistics: Seen) -> Tensor:
    """Logits of the 8-layer network: one block in each of three stages."""
    x = F.conv2d(images, w["conv1.weight"], padding=1)
    x = torch.relu(batch_norm(x, w, "bn1", statistics))
    for stage in (1, 2, 3):
        block, stride = f"layer{stage}.0", 1 if stage == 1 else 2
        out = F.conv2d(x, w[f"{block}.conv1.weight"], stride=stride, padding=1)
        out = torch.relu(batch_norm(out, w, f"{block}.bn1", statistics))
        out = F.conv2d(out, w[f"{block}.conv2.weight"], padding=1)
        out = batch_norm(out, w, f"{block}.bn2", statistics)
        if residual:
            short = x[:, :, ::stride, ::stride]
            zeros = x.new_zeros(len(x), out.shape[1] - x.shape[1], *short.shape[2:])
            out = out + torch.cat((short, zeros), dim=1)
        x = torch.relu(out)
    return x.mean(dim=(2, 3)) @ w["fc.weight"].T + w["fc.bias"]


def view(
    image: NDArray[np.uint8],
    mean: NDArray[np.float64],
    top: int,
    left: int,
    mirrored: bool,
    black_border: bool,
) -> NDArray[np.float64]:
    """One training image: padded by 4, cropped, perhaps mirrored, the mean subtracted."""
    pixels, side = image.astype(np.float64) - (0 if black_border else mean), image.shape[1]
    crop = np.pad(pixels, ((0, 0), (4, 4), (4, 4)))[:, top : top + side, left : left + side]
    crop = crop[:, :, ::-1] if mirrored else crop
    return crop - mean if black_border else crop


@dataclass
class Outcome:
    losses: list[float]
    errors: list[float]  # percent
    weights: Weights  # parameters and running statistics


def train_slowly(dataset: Dataset, start: Weights, settings: Settings) -> Outcome:
    parameters = {
        name: value.double().requires_grad_() for name, value in start.items() if "run" not in name
    }
    statistics = {name: value.double() for name, value in start.items() if "run" in name}
    velocity = {name: torch.zeros_like(value) for name, value in parameters.items()}
    mean = dataset.train_images.astype(np.float64).mean(axis=0)
    partial = "drop" if settings.drop_last else "wrap"
    order = BatchOrder(len(dataset.train_images), BATCH, SEED, 4, True, partial)
    outcome = Outcome([], [], {})
    for iteration, rate in enumerate(settings.rates):
        draw = order.batch(iteration)
        images, labels = [], []
        for i, top, left, mirrored in zip(
            draw.images, draw.top, draw.left, draw.mirrored, strict=True
        ):
            image = dataset.train_images[int(i)]
            images.append(
                view(image, mean, int(top), int(left), bool(mirrored), settings.black_border)
            )
            labels.append(int(dataset.train_labels[int(i)]))
        x, y = torch.from_numpy(np.stack(images)), torch.tensor(labels)

        loss, wrong, seen = x.new_zeros(()), 0, defaultdict(list)
        for first in range(0, BATCH, settings.part):
            piece = slice(first, first + settings.part)
            logits = forward(x[piece], parameters, settings.residual, seen)
            loss = loss + F.cross_entropy(logits, y[piece], reduction="sum") / BATCH
            wrong += int((logits.argmax(dim=1) != y[piece]).sum())
        for name, parts in seen.items():  # the parts of a batch count as one
            statistics[name] = 0.9 * statistics[name] + 0.1 * torch.stack(parts).mean(dim=0)
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        outcome.losses.append(loss.item())
        outcome.errors.append(100 * wrong / BATCH)

        with torch.no_grad():
            for (name, w), gradient in zip(parameters.items(), gradients, strict=True):
                if settings.decay_everything or "conv" in name or name == "fc.weight":
                    gradient = gradient + settings.decay * w
                if settings.caffe:
                    before = velocity[name]
                    velocity[name] = settings.momentum * before + rate * gradient
                    w -= velocity[name]
                    if settings.nesterov:  # as Caffe's NesterovSolver has it
                        w -= settings.momentum * (velocity[name] - before)
                else:
                    velocity[name] = settings.momentum * velocity[name] + gradient
                    w -= rate * velocity[name]
    outcome.weights = {n: p.detach() for n, p in parameters.items()} | statistics
    return outcome


def snapshot(network: torch.nn.Module) -> Weights:
    state = network.state_dict()
    return {name: value.clone() for name, value in state.items() if "num_batches" not in name}


def kind_of(name: str, value: Tensor) -> str:
    if "running" in name:
        return "statistics"
    return "biases" if name.endswith("bias") else "scales" if value.dim() == 1 else "weights"


def distances(ours: Weights, theirs: Weights, start: Weights) -> dict[str, float]:
    """For each kind of tensor, the distance between ours and theirs in lengths of the way made."""
    apart, way = defaultdict(float), defaultdict(float)
    for name, value in theirs.items():
        apart[kind_of(name, value)] += (ours[name] - value).square().sum().item()
        way[kind_of(name, value)] += (start[name] - value).square().sum().item()
    return {kind: (apart[kind] / way[kind]) ** 0.5 for kind in way}


PAPER = Settings()
VARIANTS: dict[str, tuple[Settings, dict[str, object]]] = {
    "paper": (PAPER, {}),
    "plain network": (replace(PAPER, residual=False), {}),
    "torch's momentum": (replace(PAPER, caffe=False), {"momentum_form": "torch"}),
    "Nesterov's momentum": (replace(PAPER, nesterov=True), {"nesterov": True}),
    "less momentum": (replace(PAPER, momentum=0.5), {"momentum": 0.5}),
    "no weight decay": (replace(PAPER, decay=0.0), {"weight_decay": 0.0}),
    "no decay of BN and biases": (
        replace(PAPER, decay_everything=False),
        {"weight_decay_scope": "weights"},
    ),
    "micro-batches": (replace(PAPER, part=4), {"micro_batch_size": 4}),
    "black border": (replace(PAPER, black_border=True), {"augmentation": {"fill": "black"}}),
    "dropped partial batches": (replace(PAPER, drop_last=True), {"partial_batch": "drop"}),
    "warm-up": (
        replace(PAPER, rates=(0.001,) * 4 + PAPER.rates[4:]),
        # Any error is below 99.9 %, so that the warm-up ends after its first window.
        {"warmup": {"learning_rate": 0.001, "until_train_error": 99.9, "window": 4}},
    ),
}


def prepared(prepare: Any, dataset: Dataset, settings: Settings, **changes: object) -> Any:
    recipe = {
        "batch_size": BATCH,
        "learning_rate": PAPER.rates[0],
        "milestones": (5, 9),
        "weight_decay": PAPER.decay,
    }
    network = "resnet-8" if settings.residual else "plain-8"
    return prepare(dataset, network, seed=SEED, **(recipe | changes))


@pytest.fixture(scope="module")
def small(small: Dataset) -> Dataset:
    """Every second pixel of the images, with which the slow loop takes a quarter of the time."""
    train, test = (part[:, :, ::2, ::2] for part in (small.train_images, small.test_images))
    return replace(
        small, train_images=train, test_images=test[:1], test_labels=small.test_labels[:1]
    )


@pytest.fixture(scope="module")
def usual(small: Dataset, prepare: Any) -> Outcome:
    """The reference as the paper has it, to see that each variant is another training."""
    return train_slowly(small, snapshot(prepared(prepare, small, PAPER).network), PAPER)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_trainer_is_the_slow_and_obvious_loop(
    variant: str, small: Dataset, prepare: Any, keep_going: Any, usual: Outcome
) -> None:
    settings, changes = VARIANTS[variant]
    trainer = prepared(prepare, small, settings, **changes)
    start, hooks = snapshot(trainer.network), keep_going()
    assert trainer.train(hooks)

    reference = usual
    if variant != "paper":
        reference = train_slowly(small, start, settings)
        assert max(relative(reference.losses, usual.losses)) > 1e-3
    assert hooks.rates == pytest.approx(list(settings.rates))
    assert max(relative([p.train_loss for p in trainer.points], reference.losses)) < 1e-4
    errors = np.array([p.train_error for p in trainer.points])
    assert np.abs(errors - reference.errors).sum() <= 100 / BATCH  # one tie may be rounded apart
    apart = distances(snapshot(trainer.network), reference.weights, start)
    assert set(apart) == {"weights", "scales", "biases", "statistics"}
    assert max(apart.values()) < 1e-2, apart  # in lengths of the way made since the start


def relative(ours: list[float], theirs: list[float]) -> list[float]:
    return [abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True)]
