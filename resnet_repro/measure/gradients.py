"""Forward signals and backward gradients, layer by layer (section 4.1).

The paper reports that thanks to BN nothing vanishes in its plain networks, in either direction.
What it takes to see that for oneself: how much each 3x3 layer's output varies, and how large the
gradient is that comes back to this output (the back-propagated signal) and to the layer's weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_repro.measure.responses import response_layers
from resnet_repro.networks.blocks import fuse
from resnet_repro.spec.measurements import GradientRow
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.store.stored_run import read_run
from resnet_repro.training.graph import fastest_convolutions
from resnet_repro.training.subject import Subject
from resnet_repro.training.trainer import Trainer

__all__ = ["GradientObserver", "measure_afterwards", "measure_gradients"]


def measure_gradients(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    autocast: Callable[[], AbstractContextManager[object]],
    iteration: int = 0,
    measured: Literal["training", "afterwards"] = "training",
) -> list[GradientRow]:
    """What one batch sends forward and back through every 3x3 layer, in training mode.

    It passes through a copy of the network: weights, their gradients, BN's running statistics and
    random numbers of the training stay as they are.

    Args:
        network: on the inputs' device, in either mode.
        inputs: float32 [N, 3, H, W], the mean subtracted; labels: [N].
        autocast: makes the context of a forward pass (its precision).
        iteration: after which the network is like this; measured: when it was found out.
    """
    twin = copy.deepcopy(network).train()
    fuse(twin, False)  # or else its layers' own outputs would never be
    twin.requires_grad_(True)
    twin.zero_grad(set_to_none=True)
    layers = response_layers(twin)
    stds: dict[str, Tensor] = {}
    signals: dict[str, Tensor] = {}

    def keep_signal(name: str, gradient: Tensor) -> None:
        signals[name] = torch.linalg.vector_norm(gradient.detach().float())

    def keep(name: str, _module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        stds[name] = output.detach().float().std(correction=0)
        output.register_hook(partial(keep_signal, name))

    for name, module in layers:
        module.register_forward_hook(partial(keep, name))
    # As in training, which in one process takes over what cuDNN once chose for such shapes.
    with torch.enable_grad(), fastest_convolutions():
        with autocast():
            logits = twin(inputs)
        F.cross_entropy(logits.float(), labels).backward()
    modules = dict(twin.named_modules())
    rows = []
    for index, (name, _) in enumerate(layers, start=1):
        convolution = modules[name.replace("bn", "conv")]
        assert isinstance(convolution, nn.Conv2d)
        weight, gradient = convolution.weight.detach(), convolution.weight.grad
        assert gradient is not None, "every layer lies between the images and the loss"
        rows.append(
            GradientRow(
                iteration,
                index,
                name,
                stds[name].item(),
                torch.linalg.vector_norm(gradient.float()).item(),
                torch.linalg.vector_norm(weight.float()).item(),
                measured,
                signals[name].item(),
            )
        )
    return rows


def _of_subject(
    subject: Subject, iteration: int, measured: Literal["training", "afterwards"]
) -> list[GradientRow]:
    recipe = subject.run.recipe
    batch = subject.labelled.fixed_batch(recipe.micro_batch_size or recipe.batch_size)
    autocast = subject.backend.autocast
    return measure_gradients(subject.network, *batch, autocast, iteration, measured)


def measure_afterwards(subject: Subject, rows: Sequence[GradientRow]) -> list[GradientRow]:
    """`rows` with what they lack of the start and the end, from the seed and the final weights.

    `subject` has the final weights. What lay between cannot be made up for.
    """
    last = subject.run.recipe.iterations
    there = {row.iteration for row in rows}
    first = [] if 0 in there else _of_subject(subject.untrained(), 0, "afterwards")
    final = [] if last in there else _of_subject(subject, last, "afterwards")
    return [*first, *rows, *final]


class GradientObserver:
    """Measures signals and gradients at the start of a training and at every point of its curve."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.rows: list[GradientRow] = []
        self.stored = True  # all of them

    def begin(self, trainer: Trainer) -> None:
        """Keep what earlier sessions measured of what is not trained again now."""
        run = trainer.run
        rows = read_run(self.folder.path, run).rows("gradients")
        self.rows = [row for row in rows if row.iteration <= trainer.iteration]
        if not any(row.iteration == 0 for row in self.rows):
            self.rows = _of_subject(trainer.subject.untrained(), 0, "training") + self.rows
            self.folder.write_measured("gradients", self.rows)

    def on_point(self, trainer: Trainer) -> None:
        """Measure the network as it is."""
        self.rows = [row for row in self.rows if row.iteration < trainer.iteration]
        self.rows += _of_subject(trainer.subject, trainer.iteration, "training")
        self.stored = False

    def save(self) -> None:
        """Store the rows: a training that goes on from a checkpoint measures later ones again."""
        if not self.stored:
            self.folder.write_measured("gradients", self.rows)
            self.stored = True

    def end(self) -> None:
        """Store the rows of one that failed as well."""
        self.save()
