"""The training loop: one run from initialisation, or from a checkpoint, to its last iteration."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_repro.data import Dataset
from resnet_repro.data.augment import augment, per_pixel_mean
from resnet_repro.errors import ConfigError, ReproError
from resnet_repro.networks import BatchNormSettings, build_network, initialise
from resnet_repro.spec import Run
from resnet_repro.training.checkpoint import CheckpointError
from resnet_repro.training.device import Backend
from resnet_repro.training.evaluate import EvaluationStopped, evaluate
from resnet_repro.training.order import BatchOrder, split_indices
from resnet_repro.training.schedule import learning_rate

__all__ = ["DivergenceError", "Hooks", "Point", "Trainer", "build_for", "check_fits"]


class DivergenceError(ReproError):
    """The loss, or what a test gives, became infinite or not a number."""

    def __init__(self, iteration: int, what: str = "loss") -> None:
        super().__init__(f"the {what} is not finite at iteration {iteration}")
        self.iteration = iteration


@dataclass(frozen=True)
class Point:
    """A point of the curve; errors in percent, `seconds` since the training began."""

    iteration: int
    epoch: float
    lr: float
    train_loss: float
    train_error: float
    test_error: float
    seconds: float
    validation_error: float | None = None


class Hooks(Protocol):
    """What the loop tells and asks the one who started it."""

    def should_stop(self) -> bool:
        """Asked before every iteration and every batch of a test; must be cheap."""

    def on_iteration(self, trainer: Trainer, rate: float) -> None:
        """Told after every iteration; must be cheap. May call `trainer.state()`."""

    def on_point(self, trainer: Trainer) -> None:
        """Told after each new point of the curve."""


class _Metrics:
    """Running loss and error on the device, read only where a number is needed."""

    def __init__(self, device: torch.device) -> None:
        self.loss = torch.zeros((), dtype=torch.float32, device=device)  # sum of batch means
        self.wrong = torch.zeros((), dtype=torch.int64, device=device)
        self.first_bad = torch.full((), -1, dtype=torch.int64, device=device)
        self.batches = self.images = 0

    def add(self, iteration: int, loss: Tensor, wrong: Tensor, images: int) -> None:
        """Count one batch, the one after which so many iterations have been made."""
        self.loss += loss
        self.wrong += wrong
        bad = ~torch.isfinite(loss) & (self.first_bad < 0)
        self.first_bad = torch.where(bad, iteration, self.first_bad)
        self.batches += 1
        self.images += images

    def mean_loss(self) -> float:
        return self.loss.item() / max(1, self.batches)

    def error(self) -> float:
        return 100.0 * self.wrong.item() / max(1, self.images)

    def clear(self) -> None:
        self.loss.zero_()
        self.wrong.zero_()
        self.batches = self.images = 0

    def state(self) -> dict[str, float | int]:
        return {
            "loss": self.loss.item(),
            "wrong": self.wrong.item(),
            "batches": self.batches,
            "images": self.images,
        }

    def load(self, state: dict[str, Any]) -> None:
        if not isinstance(state, dict):
            raise TypeError("metrics are a mapping")
        loss, *counts = (state[name] for name in ("loss", "wrong", "batches", "images"))
        if type(loss) is not float or not all(type(count) is int for count in counts):
            raise ValueError("metrics without numbers")
        self.loss.fill_(loss)
        self.wrong.fill_(counts[0])
        _, self.batches, self.images = counts


def _tensor(array: np.ndarray[Any, Any]) -> Tensor:
    """A tensor with its own copy of a (perhaps read-only, memory-mapped) array."""
    return torch.from_numpy(np.array(array))


def _whole(value: Any, most: int) -> int:
    """`value` if it is a number of iterations up to `most`; else ValueError."""
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError("an iteration that cannot be")
    return value


def _point(values: Any, iteration: int) -> Point:
    """A point of the curve from a checkpoint made at `iteration`; else an error."""
    if not isinstance(values, dict):
        raise TypeError("a point is a mapping")
    point = Point(**{f.name: values[f.name] for f in fields(Point)})
    numbers = [v for v in asdict(point).values() if v is not None]
    if not all(isinstance(v, float | int) and math.isfinite(v) for v in numbers):
        raise ValueError("a point without numbers")
    errors = (point.train_error, point.test_error, point.validation_error or 0.0)
    if not all(0 <= error <= 100 for error in errors):
        raise ValueError("an error that cannot be")
    _whole(point.iteration, iteration)
    return point


def check_fits(run: Run, dataset: Dataset) -> None:
    """Check the sizes that a recipe asks of a data set.

    Raises:
        ConfigError: more images are held out, or in a batch, than there are.
    """
    recipe, images = run.recipe, len(dataset.train_images)
    if recipe.validation_images >= images:
        raise ConfigError(f"recipe.validation_images: {recipe.validation_images} of {images}")
    left = images - recipe.validation_images
    if recipe.batch_size > left:
        raise ConfigError(
            f"recipe.batch_size: {recipe.batch_size} is more than the {left} training images"
        )


def build_for(run: Run, classes: int) -> nn.Module:
    """The run's network, not initialised, on the CPU."""
    norm = BatchNormSettings(run.recipe.bn_epsilon, run.recipe.bn_momentum)
    return build_network(run.network, classes, norm, run.recipe.zero_channels)


class Trainer:
    """One run's training: its network, its optimizer and how far they are."""

    def __init__(self, run: Run, dataset: Dataset, backend: Backend) -> None:
        recipe = run.recipe
        self.run, self.backend = run, backend
        self.data = dataset.identity.sha256  # what the training saw, for the checkpoint
        device = backend.device
        check_fits(run, dataset)
        images = _tensor(dataset.train_images)
        kept, held_out = split_indices(len(images), recipe.validation_images)
        labels = _tensor(dataset.train_labels)
        self.validation = (images[held_out].to(device), labels[held_out].to(device))
        if len(held_out):
            images, labels = images[kept], labels[kept]
        self.mean = per_pixel_mean(images).to(device)
        self.images, self.labels = images.to(device), labels.to(device)
        self.test = (
            _tensor(dataset.test_images).to(device),
            _tensor(dataset.test_labels).to(device),
        )
        self.order = BatchOrder(
            len(images),
            recipe.batch_size,
            run.seed,
            recipe.augmentation.pad,
            recipe.augmentation.mirror,
            recipe.partial_batch,
        )
        self.classes = len(dataset.classes)
        self.network = self.initial_network()
        self.optimizer = self._make_optimizer()
        self.iteration = 0
        self.warmup_end: int | None = None
        self.points: list[Point] = []
        self.seconds = 0.0  # since the training began, over all sessions
        self.training_seconds = 0.0  # the same without evaluation
        self._metrics = _Metrics(device)
        self._warmup_metrics = _Metrics(device)
        self._rate: float | None = None  # of the last update, which the momentum carries

    def initial_network(self) -> nn.Module:
        """The network as it is before the first iteration, on the backend's device."""
        recipe = self.run.recipe
        network = build_for(self.run, self.classes)
        initialise(network, self.run.seed, recipe.convolution_init, recipe.classifier_init)
        return network.to(self.backend.device).to(memory_format=torch.channels_last)

    def _make_optimizer(self) -> torch.optim.SGD:
        recipe = self.run.recipe
        decayed: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for parameter in self.network.parameters():
            everything = recipe.weight_decay_scope == "all"
            (decayed if everything or parameter.dim() > 1 else rest).append(parameter)
        groups: list[dict[str, Any]] = [{"params": decayed, "weight_decay": recipe.weight_decay}]
        if rest:
            groups.append({"params": rest, "weight_decay": 0.0})
        return torch.optim.SGD(
            groups, lr=recipe.learning_rate, momentum=recipe.momentum, fused=True
        )

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(p.numel() for p in self.network.parameters())

    @property
    def finished(self) -> bool:
        """Whether the last iteration has been made."""
        return self.iteration >= self.run.recipe.iterations

    @property
    def normalisation(self) -> dict[str, Any]:
        """What is subtracted from every image, for the record."""
        mean = self.mean.cpu()
        return {
            "kind": "per-pixel mean of the training images",
            "channel_averages": [round(v, 3) for v in mean.mean(dim=(1, 2)).tolist()],
            "sha256": hashlib.sha256(mean.numpy().tobytes()).hexdigest(),
        }

    @property
    def _point_is_due(self) -> bool:
        """Whether the curve lacks the point that belongs to the last iteration made.

        Decided by what there is, so that a training stopped between the two makes up for it.
        """
        every = self.run.recipe.evaluate_every
        if not self.iteration or not (self.finished or self.iteration % every == 0):
            return False
        return not self.points or self.points[-1].iteration < self.iteration

    def train(self, hooks: Hooks) -> bool:
        """Train until the end (True) or until the hooks ask to stop (False).

        Raises:
            DivergenceError: a loss was infinite or not a number.
        """
        self.network.train()
        while self._point_is_due or not self.finished:
            if hooks.should_stop():
                return False
            clock = time.perf_counter()
            if self._point_is_due:
                try:
                    self._measure(clock, hooks.should_stop)
                except EvaluationStopped:
                    return False
                hooks.on_point(self)
            else:
                rate = self.step()
                spent = time.perf_counter() - clock  # the hooks' time is not training
                self.seconds += spent
                self.training_seconds += spent
                hooks.on_iteration(self, rate)
        return True

    def step(self) -> float:
        """One iteration; returns its learning rate. `train` adds everything around it."""
        rate = learning_rate(self.run.recipe, self.iteration, self.warmup_end)
        self._set_rate(rate)
        loss, wrong, images = self._forward_backward()
        self.optimizer.step()
        self.iteration += 1
        self._metrics.add(self.iteration, loss, wrong, images)
        if self.run.recipe.warmup and self.warmup_end is None:
            self._judge_warmup(loss, wrong, images)
        if self.backend.device.type == "cpu":
            self._check_finite()
        return rate

    def _forward_backward(self) -> tuple[Tensor, Tensor, int]:
        """Gradients of one batch's mean loss; returns the loss, the errors made, the batch size."""
        recipe, device = self.run.recipe, self.backend.device
        draw = self.order.batch(self.iteration)
        which = draw.images.to(device, non_blocking=True)
        inputs = augment(
            self.images[which],
            self.mean,
            draw.top.to(device, non_blocking=True),
            draw.left.to(device, non_blocking=True),
            draw.mirrored.to(device, non_blocking=True),
            recipe.augmentation.pad,
            recipe.augmentation.fill,
        )
        targets = self.labels[which]
        self.optimizer.zero_grad()
        total = torch.zeros((), device=device)
        wrong = torch.zeros((), dtype=torch.int64, device=device)
        part = recipe.micro_batch_size or recipe.batch_size
        for x, y in zip(inputs.split(part), targets.split(part), strict=True):
            with self.backend.autocast():
                logits = self.network(x)
            loss = F.cross_entropy(logits.float(), y) * (len(y) / recipe.batch_size)
            loss.backward()
            total += loss.detach()
            wrong += (logits.detach().argmax(1) != y).sum()
        return total, wrong, recipe.batch_size

    def _set_rate(self, rate: float) -> None:
        """Change the learning rate, and in Caffe's form what the momentum has gathered with it.

        Caffe accumulates v = m v + lr g; torch's buffer is v / lr, so a new rate rescales it.
        """
        if rate == self._rate:
            return
        self._set_group_rate(rate)
        if self._rate is not None and self.run.recipe.momentum_form == "caffe":
            buffers = [b for b in self._momentum() if b is not None]
            if buffers:
                torch._foreach_mul_(buffers, self._rate / rate)
        self._rate = rate

    def _set_group_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def _momentum(self) -> list[Tensor | None]:
        """Each parameter's momentum buffer, in the order of the parameters."""
        state = self.optimizer.state
        return [state[p].get("momentum_buffer") for p in self.network.parameters()]

    def _judge_warmup(self, loss: Tensor, wrong: Tensor, images: int) -> None:
        """End the warm-up when a window's running training error is low enough."""
        warmup = self.run.recipe.warmup
        assert warmup is not None
        self._warmup_metrics.add(self.iteration, loss, wrong, images)
        if self._warmup_metrics.batches == warmup.window:
            if self._warmup_metrics.error() < warmup.until_train_error:
                self.warmup_end = self.iteration
            self._warmup_metrics.clear()

    def _check_finite(self) -> None:
        bad = int(self._metrics.first_bad.item())
        if bad >= 0:
            raise DivergenceError(bad)

    def _measure(self, clock: float, should_stop: Callable[[], bool]) -> None:
        """Add a point to the curve. `clock` is when this began."""
        self._check_finite()
        train_loss, train_error = self._metrics.mean_loss(), self._metrics.error()
        synchronized = time.perf_counter()  # reading the metrics has waited for the device
        self.training_seconds += synchronized - clock
        test_error = self._error_on("test", self.test, should_stop)
        validation_error = None
        if len(self.validation[0]):
            validation_error = self._error_on("validation", self.validation, should_stop)
        self.seconds += time.perf_counter() - clock
        if not math.isfinite(train_loss):
            raise DivergenceError(self.iteration)
        assert self._rate is not None, "an iteration has been made"
        self.points.append(
            Point(
                self.iteration,
                round(self.order.epoch(self.iteration), 4),
                self._rate,
                train_loss,
                train_error,
                test_error,
                round(self.seconds, 3),
                validation_error,
            )
        )
        self._metrics.clear()

    def _error_on(
        self, part: str, images: tuple[Tensor, Tensor], should_stop: Callable[[], bool]
    ) -> float:
        """The error in percent; that of a network whose outputs are no numbers would be a lie."""
        loss, error = evaluate(self.network, *images, self.mean, self.backend, should_stop)
        if not math.isfinite(loss):
            raise DivergenceError(self.iteration, f"{part} loss")
        return error

    def state(self) -> dict[str, Any]:
        """Everything that decides the future, for a checkpoint.

        Raises:
            DivergenceError: a loss was not finite; such a state is not worth keeping.
        """
        self._check_finite()
        return {
            "run": self.run.id,
            "data": self.data,
            "precision": self.backend.precision,
            "iteration": self.iteration,
            "warmup_end": self.warmup_end,
            "rate": self._rate,
            "seconds": self.seconds,
            "training_seconds": self.training_seconds,
            "points": [asdict(point) for point in self.points],
            "metrics": self._metrics.state(),
            "warmup_metrics": self._warmup_metrics.state(),
            "network": self.network.state_dict(),
            "momentum": self._momentum(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned.

        Raises:
            CheckpointError: it belongs to another run, or is not such a state.
        """
        if state.get("run") != self.run.id:
            raise CheckpointError(f"of another run ({str(state.get('run'))[:80]})")
        try:
            iteration = _whole(state["iteration"], self.run.recipe.iterations)
            points = [_point(values, iteration) for values in state["points"]]
            warmup_end, rate = state["warmup_end"], state["rate"]
            if warmup_end is not None:
                _whole(warmup_end, iteration)
            if rate is not None and not (isinstance(rate, float) and 0 < rate < math.inf):
                raise ValueError("a learning rate that cannot be")
            seconds, training_seconds = float(state["seconds"]), float(state["training_seconds"])
            if not (0 <= seconds < math.inf and 0 <= training_seconds < math.inf):
                raise ValueError("a duration that cannot be")
            self.network.load_state_dict(state["network"])
            self._load_momentum(state["momentum"])
            self._metrics.load(state["metrics"])
            self._warmup_metrics.load(state["warmup_metrics"])
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise CheckpointError(f"does not fit this run ({type(error).__name__})") from error
        self.iteration, self.points, self.warmup_end = iteration, points, warmup_end
        self.seconds, self.training_seconds, self._rate = seconds, training_seconds, rate
        if rate is not None:
            self._set_group_rate(rate)

    def _load_momentum(self, buffers: Sequence[Tensor | None]) -> None:
        parameters = list(self.network.parameters())
        for parameter, buffer in zip(parameters, buffers, strict=True):
            if buffer is None:
                self.optimizer.state.pop(parameter, None)
                continue
            if buffer.shape != parameter.shape:
                raise ValueError("momentum of another shape")
            fresh = torch.empty_like(parameter, memory_format=torch.preserve_format)
            self.optimizer.state[parameter]["momentum_buffer"] = fresh.copy_(buffer)
