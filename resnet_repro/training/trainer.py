"""The training loop: one run from initialisation, or from a checkpoint, to its last iteration."""

from __future__ import annotations

import contextlib
import functools
import math
import operator
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from resnet_repro.base.errors import ReproError
from resnet_repro.base.stop import Stopped, until_stopped, working_time
from resnet_repro.networks.blocks import fuse
from resnet_repro.networks.orders import CountedDropout
from resnet_repro.spec.run import Run, ids_of
from resnet_repro.spec.schedule import learning_rate, plateau_divisions
from resnet_repro.training.batch_norm import (
    average_over_processes,
    batch_counters,
    micro_batch_momentum,
    set_momentum,
    store_true_average,
)
from resnet_repro.training.box_feed import BoxFeed
from resnet_repro.training.casts import CastWeights
from resnet_repro.training.checkpoint import CheckpointError, read_position
from resnet_repro.training.cifar_feed import CifarFeed
from resnet_repro.training.device import Backend
from resnet_repro.training.evaluate import evaluate
from resnet_repro.training.feed import Feed
from resnet_repro.training.graph import GraphedStep, graph_wanted
from resnet_repro.training.memory import is_lack_of_memory
from resnet_repro.training.metrics import RunningMetrics
from resnet_repro.training.objective import ClassifierObjective, DetectorObjective, Objective
from resnet_repro.training.order import Part, seed_of
from resnet_repro.training.processes import ALONE, Processes, in_parallel
from resnet_repro.training.subject import Subject, initial_network
from resnet_repro.training.updates import Updates

__all__ = ["DivergenceError", "Hooks", "Trainer"]


class DivergenceError(ReproError):
    """The loss, or what a test gives, became infinite or not a number."""

    def __init__(self, iteration: int, what: str = "loss") -> None:
        super().__init__(f"the {what} is not finite at iteration {iteration}")


class Hooks(Protocol):
    """Callbacks of the training loop, called in every process at the same time."""

    def should_stop(self) -> bool:
        """Asked before every iteration and every batch of a test; must be cheap.

        The answer has to be the same in all processes.
        """

    def on_iteration(self, trainer: Trainer) -> None:
        """Called after every iteration; must be cheap. May call `trainer.state()`."""

    def on_point(self, trainer: Trainer) -> None:
        """Called after each new point of the curve."""


class Trainer:
    """One run's training: its network, its updates and how far they are.

    Of several processes, each has a trainer with the same weights, which sees its share of every
    batch. What is said to be of the training is of all of them; they have to ask together.
    """

    def __init__(
        self,
        run: Run,
        feed: Feed,
        backend: Backend,
        processes: Processes = ALONE,
        compiled: bool = False,
    ) -> None:
        self.run, self.feed, self.backend, self.processes = run, feed, backend, processes
        self.network = initial_network(run, feed.classes, backend)
        self.compiled = compiled  # whether BN is fused with what follows it
        fuse(self.network, compiled)
        for layer in self.network.modules():
            if isinstance(layer, CountedDropout):
                layer.rank = processes.shard.rank
        self.updates = Updates(self.network, run.recipe)
        self.iteration = 0
        self.warmup_end: int | None = None
        detection = run.recipe.detection
        self.objective: Objective = (
            DetectorObjective() if detection else ClassifierObjective(self.network)
        )
        self.points: list[Any] = []  # rows of the objective's kind
        self.divisions: list[int] = []  # where the plateau rule divided the rate
        self.seconds = 0.0  # since the training began, over all sessions
        self.training_seconds = 0.0  # the same without evaluation
        self.share = run.recipe.batch_size // processes.count  # images of a batch seen here
        # What each BN has seen, in images; more than one where a resume could not keep it.
        self.bn_sizes = [run.recipe.micro_batch_size or self.share]
        self._continued_from: tuple[int, list[int]] = (-1, [])  # iteration, `bn_sizes` until then
        casts = backend.precision == "bf16" and not detection  # whose layers are partly frozen
        self._casts = CastWeights(self.network) if casts else None
        self._bn_counters = batch_counters(self.network)
        self.trains_norm = bool(self._bn_counters)  # VGG-16 has none, most detectors' is frozen
        nothing = self.objective.nothing(backend.device)
        self._metrics = RunningMetrics(nothing, processes)
        self._warmup_metrics = RunningMetrics(nothing, processes)
        self._parallel: DistributedDataParallel | None = None
        self._graphed: GraphedStep | None = None

    @property
    def bn_images(self) -> int:
        """Images of one forward pass, which batch normalisation sees together."""
        return self.bn_sizes[-1]

    @property
    def bn_sizes_so_far(self) -> list[int]:
        """`bn_sizes` without one with which no iteration was made yet."""
        iteration, before = self._continued_from
        return before if iteration == self.iteration else self.bn_sizes

    @property
    def subject(self) -> Subject:
        """The network as it is now, with its data."""
        return Subject(self.run, self.network, self.feed, self.backend)

    @property
    def normalisation(self) -> dict[str, Any]:
        """What the network's input is, in short: what is subtracted from the images."""
        if not isinstance(self.feed, BoxFeed):
            return self.feed.normalisation
        mean, std = (self.network.get_buffer(f"pixel_{name}") for name in ("mean", "std"))
        return {
            "kind": "colours of the classification network's training",
            "channel_averages": [round(v, 3) for v in mean.flatten().tolist()],
            "channel_deviations": [round(v, 3) for v in std.flatten().tolist()],
        }

    @property
    def parameters(self) -> int:
        """Number of parameters, frozen ones included."""
        return sum(p.numel() for p in self.network.parameters())

    @property
    def made_last_iteration(self) -> bool:
        """Whether the last iteration has been made."""
        return self.iteration >= self.run.recipe.iterations

    @property
    def _point_is_due(self) -> bool:
        """Whether the curve lacks the point that belongs to the last iteration made.

        Decided by what there is, so that a training stopped between the two makes up for it.
        """
        every = self.run.recipe.evaluate_every
        if not self.iteration or not (self.made_last_iteration or self.iteration % every == 0):
            return False
        return not self.points or self.points[-1].iteration < self.iteration

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do: the last iteration is made, and the curve has its point.

        Before that point BN's statistics are averaged: the last iteration alone is not enough.
        """
        return self.made_last_iteration and not self._point_is_due

    def train(self, hooks: Hooks) -> bool:
        """Train until the end (True) or until the hooks ask to stop (False).

        Raises:
            DivergenceError: a loss was infinite or not a number.
            DataError: an image could not be read.
        """
        self.network.train()
        if self.processes.count > 1 and self._parallel is None:
            with self.processes.communicating():
                self._parallel = in_parallel(self.network, self.backend.device)
        try:
            return self._loop(hooks)
        finally:
            self._graphed = None  # and the memory that it holds

    def _loop(self, hooks: Hooks) -> bool:
        while not self.complete:
            if hooks.should_stop():
                return False
            clock = working_time()
            if self._point_is_due:
                try:
                    self._measure(clock, hooks.should_stop)
                except Stopped:
                    self.seconds += working_time() - clock
                    return False
                hooks.on_point(self)
            else:
                self.step()
                spent = working_time() - clock  # the hooks' time is not training
                self.seconds += spent
                self.training_seconds += spent
                hooks.on_iteration(self)
        return True

    def step(self) -> None:
        """One iteration; `train` adds everything around it."""
        recipe = self.run.recipe
        rate = learning_rate(recipe, self.iteration, self.warmup_end, self.divisions)
        self.updates.set_rate(rate)
        loss, wrong = self._update()
        self.iteration += 1
        self._metrics.count(self.iteration, recipe.batch_size)
        if recipe.warmup and self.warmup_end is None:
            self._judge_warmup(loss, wrong)
        if self.backend.device.type == "cpu":
            self._check_finite()

    def _update(self) -> tuple[Tensor, Tensor]:
        """Learn from the iteration's batch; returns the loss and the errors made in the share."""
        graphed = graph_wanted(self.backend.device) and self.processes.count == 1
        if graphed and isinstance(self.feed, CifarFeed):
            if self._graphed is None:
                self._graphed = GraphedStep(self.feed)
            return self._graphed(self.iteration, self._learn)
        if self.objective.draws:  # as a function of the iteration, so that nothing need be saved
            rank = self.processes.shard.rank
            torch.manual_seed(seed_of("draws", self.run.seed, self.iteration, rank))
        return self._learn(self.feed.batch(self.iteration))

    def _learn(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Change the network by a batch's gradients; nothing here may wait for the device."""
        loss, wrong = self._forward_backward(batch)
        self.updates.optimizer.step()
        self._metrics.record(loss, wrong)
        return loss, wrong

    def _forward_backward(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Gradients of one batch's mean loss; returns the loss and what is counted in the share.

        Micro-batches give the same gradients as the whole share, but for what BN sees.
        """
        self.updates.optimizer.zero_grad()
        casts = self._casts if self._parallel is None else None  # its hooks are the weights' own
        if casts:
            casts.cast()
        network = casts or self._parallel or self.network
        micro_batches = self.objective.micro_batches(batch, self.bn_images)
        momentum, many = self.run.recipe.bn_momentum, len(micro_batches)
        losses, counts = [], []
        for number, (x, y) in enumerate(micro_batches, start=1):
            if many > 1:
                set_momentum(self.network, micro_batch_momentum(momentum, number, many))
            with self._communicating(number == many):
                share = len(y) / len(batch.targets)
                loss, counted = self.objective.loss(network, x, y, share, self.backend.autocast)
                loss.backward()
            if casts:
                casts.hand_over_gradients()
            losses.append(loss.detach())
            counts.append(counted)
        if self._bn_counters:
            torch._foreach_add_(self._bn_counters, many)
        return functools.reduce(operator.add, losses), functools.reduce(operator.add, counts)

    def _communicating(self, last: bool) -> contextlib.AbstractContextManager[object]:
        """Gradients are added up here; only the last micro-batch's backward pass sends them."""
        if self._parallel is None:
            return contextlib.nullcontext()
        return self.processes.communicating() if last else self._parallel.no_sync()

    def _judge_warmup(self, loss: Tensor, wrong: Tensor) -> None:
        """End the warm-up when a window's running training error is low enough."""
        warmup = self.run.recipe.warmup
        assert warmup is not None
        self._warmup_metrics.record(loss, wrong)
        self._warmup_metrics.count(self.iteration, self.run.recipe.batch_size)
        if self._warmup_metrics.batches == warmup.window:
            if warmup.length or self._warmup_metrics.error() < warmup.until_train_error:
                self.warmup_end = self.iteration
            self._warmup_metrics.clear()

    def _check_finite(self) -> None:
        bad = self._metrics.first_bad_iteration()
        if bad is not None:
            raise DivergenceError(bad)

    def _measure(self, clock: float, should_stop: Callable[[], bool]) -> None:
        """Add a point to the curve. `clock` is when this began."""
        self._check_finite()
        train_loss = self._metrics.mean_loss()
        synchronized = working_time()  # reading the metrics has waited for the device
        self.training_seconds += synchronized - clock
        if self.made_last_iteration and self.run.recipe.bn_average_iterations:
            inputs = self._inputs_for_statistics(should_stop)
            store_true_average(self.network, inputs, self.backend.autocast)
        average_over_processes(self.network, self.processes)
        errors = {part: self._error_on(part, should_stop) for part in self.feed.parts}
        self.seconds += working_time() - clock
        if not math.isfinite(train_loss):
            raise DivergenceError(self.iteration)
        assert self.updates.rate is not None, "an iteration has been made"
        self.points.append(
            self.objective.row(
                iteration=self.iteration,
                epoch=round(self.feed.order.epoch(self.iteration), 4),
                lr=self.updates.rate,
                train_loss=train_loss,
                seconds=round(self.seconds, 3),
                **self.objective.values(self._metrics, errors),
            )
        )
        self._metrics.clear()
        self.divisions = plateau_divisions(self.run.recipe, self.points, self.warmup_end)

    def _error_on(self, part: Part, should_stop: Callable[[], bool]) -> float:
        """The error in percent. Raises DivergenceError where the outputs are not finite."""
        assert not isinstance(self.feed, BoxFeed), "detectors are tested after their training"
        batches = self.feed.part(part)
        loss, error = evaluate(self.network, batches, self.backend, should_stop, self.processes)
        if not math.isfinite(loss):
            raise DivergenceError(self.iteration, f"{part} loss")
        return error

    def _inputs_for_statistics(self, should_stop: Callable[[], bool]) -> Iterator[Tensor]:
        """What BN's statistics are averaged over: the batches that would come after the last one.

        In micro-batches as in training. A stop in between starts over with the same batches.

        Raises:
            Stopped: `should_stop`, asked before every batch, said so.
        """
        recipe = self.run.recipe
        for iteration in until_stopped(range(recipe.bn_average_iterations), should_stop):
            batch = self.feed.batch(recipe.iterations + iteration)
            yield from (inputs for inputs, _ in self.objective.micro_batches(batch, self.bn_images))

    def state(self) -> dict[str, Any]:
        """Everything that decides the future, for a checkpoint: copies, on the CPU.

        Raises:
            DivergenceError: a loss was not finite; such a state is not worth keeping.
        """
        self._check_finite()
        average_over_processes(self.network, self.processes)
        network = self.network.state_dict()
        network.update({name: value.to("cpu", copy=True) for name, value in network.items()})
        momentum = [b if b is None else b.to("cpu", copy=True) for b in self.updates.momentum()]
        return {
            "run": self.run.id,
            "data": self.feed.identity.sha256,
            "precision": self.backend.precision,
            "bn_sizes": list(self.bn_sizes_so_far),
            "iteration": self.iteration,
            "warmup_end": self.warmup_end,
            "rate": self.updates.rate,
            "seconds": self.seconds,
            "training_seconds": self.training_seconds,
            "points": [point._asdict() for point in self.points],
            "metrics": self._metrics.state(),
            "warmup_metrics": self._warmup_metrics.state(),
            "network": network,
            "momentum": momentum,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned, perhaps in another number of processes.

        Raises:
            CheckpointError: it belongs to another run, or is not such a state.
        """
        if state.get("run") not in ids_of(self.run.id):
            raise CheckpointError(f"of another run ({str(state.get('run'))[:80]})")
        try:
            position = read_position(state, self.run.recipe, self.share)
            self.network.load_state_dict(state["network"])
            self.updates.load(state["momentum"], state["rate"])
            self._metrics.load(state["metrics"])
            self._warmup_metrics.load(state["warmup_metrics"])
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            if is_lack_of_memory(error):
                raise
            raise CheckpointError(f"does not fit this run ({type(error).__name__})") from error
        self.iteration, self.warmup_end = position.iteration, position.warmup_end
        self.points = list(position.points)
        if self.trains_norm:  # else no statistics go by them
            self.bn_sizes = position.bn_sizes
            self._continued_from = (position.iteration, list(state["bn_sizes"]))
        self.seconds, self.training_seconds = position.seconds, position.training_seconds
        self.divisions = plateau_divisions(self.run.recipe, self.points, self.warmup_end)
        set_momentum(self.network, self.run.recipe.bn_momentum)
        self._graphed = None  # it would change what has been replaced
