"""The weights of convolutions and matrix products in bf16, all cast at once.

Autocast casts each weight by itself, and each weight's gradient on its way back: two of three small
operations in an iteration of a small network, whose launches cost more than their work. The
numbers are the same.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

__all__ = ["CastWeights"]


class CastWeights:
    """A network whose forward pass takes copies of the weights in bf16, within autocast.

    The weights stay where they are, in fp32; so do their gradients, which several backward passes
    add up as autograd does.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        found = {
            f"{name}.{kind}": parameter
            for name, module in network.named_modules()
            if isinstance(module, nn.Conv2d | nn.Linear)
            for kind, parameter in module.named_parameters(recurse=False)
        }
        self._names, self._weights = list(found), list[Tensor](found.values())
        self._copies = [
            torch.empty_like(weight, dtype=torch.bfloat16, requires_grad=True)
            for weight in self._weights
        ]

    @torch.no_grad()
    def cast(self) -> None:
        """Copy the weights as they are now; belongs before each iteration."""
        torch._foreach_copy_(self._copies, self._weights)

    def __call__(self, x: Tensor) -> Tensor:
        """The network's output, with the copies."""
        copies = dict(zip(self._names, self._copies, strict=True))
        output: Tensor = functional_call(self.network, copies, (x,), tie_weights=False)
        return output

    @torch.no_grad()
    def hand_over_gradients(self) -> None:
        """Add the copies' gradients to those of the weights; belongs after each backward pass."""
        theirs = _gradients(self._copies)
        if ours := _gradients(self._weights):
            torch._foreach_add_(ours, theirs)
        else:
            for weight in self._weights:
                weight.grad = torch.empty_like(weight)
            torch._foreach_copy_(_gradients(self._weights), theirs)
        for copy in self._copies:
            copy.grad = None


def _gradients(tensors: list[Tensor]) -> list[Tensor]:
    return [gradient for tensor in tensors if (gradient := tensor.grad) is not None]
