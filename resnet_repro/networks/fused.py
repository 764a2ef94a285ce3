"""Batch normalisation, a shortcut's addition and ReLU in one pass each way, by torch's compiler.

One operation after another reads and writes a map five to eight times on the way forward; these
read it twice and write it once. The compiler's own batch normalisation is not used: in bf16 it
rounds the statistics that the backward pass needs to bf16.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from resnet_repro.base.errors import ConfigError, plain
from resnet_repro.base.stop import signals_blocked

__all__ = ["batch_norm_relu", "check_compiler"]

OVER_IMAGES = (0, 2, 3)  # of [N, C, H, W]
MOST_SHAPES = 256  # of maps, each of which is compiled by itself


def batch_norm_relu(layer: nn.BatchNorm2d, x: Tensor, shortcut: Tensor | None) -> Tensor:
    """ReLU of `x`, normalised by the batch's statistics as in training, plus a shortcut, if any.

    Maps [N, C, H, W] to the same shape, type and memory format; sums are fp32 whatever the type.

    Raises:
        ValueError: one value a channel, which has no variance.
    """
    if x.numel() == x.shape[1]:
        raise ValueError(f"Expected more than 1 value per channel when training, got {x.shape}")
    out: Tensor = _BatchNormRelu.apply(x, shortcut, layer.weight, layer.bias, layer)
    return out


@cache
def check_compiler(device: torch.device) -> None:
    """Compile something small for the device, once.

    Raises:
        ConfigError: the compiler of torch does not work here.
    """
    try:
        _compiled(_double)(torch.ones(2, device=device))
    except Exception as error:  # of many kinds: it is somebody else's compiler
        why = plain(str(error).strip().partition("\n")[0], 200)
        what = "a C++ compiler such as g++" if device.type == "cpu" else "Triton and a C compiler"
        raise ConfigError(
            f"--compile: torch's compiler does not work here; it needs {what} ({why})"
        ) from error


def _double(x: Tensor) -> Tensor:
    return x + x


@cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, compiled when it is first called with arguments of a new shape."""
    fast = torch.compile(function, fullgraph=True, dynamic=False)

    def call(*arguments: Any) -> Any:
        # Here, since each thread has its own: on a GPU gradients are computed in another one.
        torch._dynamo.config.recompile_limit = MOST_SHAPES
        with signals_blocked():  # Ctrl-C reaches the C++ compiler as well, and would end it
            return fast(*arguments)

    return call


class _BatchNormRelu(torch.autograd.Function):
    """The operation with its gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        shortcut: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        layer: nn.BatchNorm2d,
    ) -> Tensor:
        assert layer.momentum is not None, "statistics are running averages"
        running = (layer.running_mean, layer.running_var)
        settings = (_on_device(layer.momentum, x.device), layer.eps)
        out, mean, scale = _compiled(_forward)(x, shortcut, weight, bias, *running, *settings)
        ctx.save_for_backward(x, out, weight, mean, scale)
        ctx.adds = shortcut is not None
        result: Tensor = out
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, out, weight, mean, scale = ctx.saved_tensors
        last = x.is_contiguous(memory_format=torch.channels_last)
        grad = grad.contiguous(
            memory_format=torch.channels_last if last else torch.contiguous_format
        )
        grads = _compiled(_backward)(grad, x, out, weight, mean, scale, ctx.adds)
        return (*grads, None)


def _forward(
    x: Tensor,
    shortcut: Tensor | None,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    momentum: Tensor,
    epsilon: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The output, and [1, C, 1, 1] each: the mean and one over the standard deviation.

    Sums are taken of differences from a channel's first value, so that squares do not cancel.
    """
    values, count = x.float(), x.numel() // x.shape[1]
    first = values[:1, :, :1, :1]
    shifted = values - first
    offset = shifted.sum(OVER_IMAGES, keepdim=True) / count
    squares = (shifted * shifted).sum(OVER_IMAGES, keepdim=True) / count
    variance = (squares - offset * offset).clamp_min(0)
    mean, scale = first + offset, torch.rsqrt(variance + epsilon)
    running_mean.lerp_(mean.flatten(), momentum)
    running_var.lerp_(variance.flatten() * (count / (count - 1)), momentum)
    out = (values - mean) * (scale * _by_channel(weight)) + _by_channel(bias)
    if shortcut is not None:
        out = out + shortcut.float()
    return out.relu().to(x.dtype), mean, scale


def _backward(
    grad: Tensor, x: Tensor, out: Tensor, weight: Tensor, mean: Tensor, scale: Tensor, adds: bool
) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    """Gradients of `x`, of the shortcut, of weight and bias."""
    count = x.numel() // x.shape[1]
    passed = torch.where(out > 0, grad, 0)
    grads, centred = passed.float(), x.float() - mean
    grad_bias = grads.sum(OVER_IMAGES, keepdim=True)
    grad_weight = (grads * centred).sum(OVER_IMAGES, keepdim=True) * scale
    centre, slope = grad_bias / count, grad_weight * scale / count
    grad_x = (grads - centre - centred * slope) * (scale * _by_channel(weight))
    return (
        grad_x.to(x.dtype),
        passed if adds else None,
        grad_weight.flatten(),
        grad_bias.flatten(),
    )


@lru_cache(maxsize=4096)
def _on_device(momentum: float, device: torch.device) -> Tensor:
    """The momentum as a tensor: for each new float all would be compiled again."""
    return torch.full((), momentum, device=device)


def _by_channel(values: Tensor) -> Tensor:
    return values.view(1, -1, 1, 1)
