"""SGD with momentum in the recipe's form, and its state."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from resnet_repro.spec.recipe import Recipe

__all__ = ["Updates"]


class Updates:
    """Updates a network's parameters from their gradients."""

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        self.parameters = list(network.parameters())
        self.caffe = recipe.momentum_form == "caffe"
        self.rate: float | None = None  # of the last update, which the momentum carries
        decayed: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for parameter in self.parameters:
            everything = recipe.weight_decay_scope == "all"
            (decayed if everything or parameter.dim() > 1 else rest).append(parameter)
        groups: list[dict[str, Any]] = [{"params": decayed, "weight_decay": recipe.weight_decay}]
        if rest:
            groups.append({"params": rest, "weight_decay": 0.0})
        device = self.parameters[0].device
        rate = recipe.learning_rate
        self.optimizer = torch.optim.SGD(
            groups,
            # On the device, where a CUDA graph reads it anew every time.
            lr=torch.tensor(rate, device=device) if device.type == "cuda" else rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            fused=True,
        )

    def set_rate(self, rate: float) -> None:
        """Change the learning rate, and in Caffe's form what the momentum has gathered with it.

        Caffe accumulates v = m v + lr g; torch's buffer is v / lr, so a new rate rescales it.
        """
        if rate == self.rate:
            return
        self._set_group_rate(rate)
        if self.rate is not None and self.caffe:
            buffers = [b for b in self.momentum() if b is not None]
            if buffers:
                torch._foreach_mul_(buffers, self.rate / rate)
        self.rate = rate

    def _set_group_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def momentum(self) -> list[Tensor | None]:
        """Each parameter's momentum buffer, in the order of the parameters."""
        state = self.optimizer.state
        return [state[p].get("momentum_buffer") for p in self.parameters]

    def load(self, buffers: Sequence[Tensor | None], rate: Any) -> None:
        """Continue with the momentum and the rate of an earlier update.

        Raises:
            TypeError, ValueError, AttributeError: they are not of such a network.
        """
        if rate is not None and not (isinstance(rate, float) and 0 < rate < math.inf):
            raise ValueError("a learning rate that cannot be")
        for parameter, buffer in zip(self.parameters, buffers, strict=True):
            if buffer is None:
                self.optimizer.state.pop(parameter, None)
                continue
            if buffer.shape != parameter.shape:
                raise ValueError("momentum of another shape")
            fresh = torch.empty_like(parameter, memory_format=torch.preserve_format)
            self.optimizer.state[parameter]["momentum_buffer"] = fresh.copy_(buffer)
        self.rate = rate
        if rate is not None:
            self._set_group_rate(rate)
