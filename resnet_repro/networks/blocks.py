"""Building blocks of the plain and residual networks (Fig. 2, Fig. 5, section 3.3).

Module names follow torchvision (`conv1`, `bn1`, `downsample`), so that weights travel.
A plain network is the same block with `shortcut=None`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_repro.networks.fused import batch_norm_relu
from resnet_repro.spec.recipe_parts import ZeroChannels

__all__ = [
    "BasicBlock",
    "BatchNorm",
    "Bottleneck",
    "Norm",
    "ZeroPadShortcut",
    "fuse",
    "make_shortcut",
    "norm_relu",
]


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that does not count its batches in `num_batches_tracked`.

    A training counts them for all layers at once (`training/batch_norm.py`).
    """

    fused = False  # in training, with the ReLU behind it

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] normalised, with the batch's statistics in training."""
        assert self.momentum is not None, "statistics are running averages"
        running = (self.running_mean, self.running_var)
        affine = (self.weight, self.bias)
        return F.batch_norm(x, *running, *affine, self.training, self.momentum, self.eps)


Norm = Callable[[int], nn.Module]  # makes the batch normalisation of a number of channels


def fuse(network: nn.Module, fused: bool = True) -> None:
    """Have batch normalisation fused with what follows, or not."""
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.fused = fused


def norm_relu(norm: nn.Module, x: Tensor, shortcut: Tensor | None = None) -> Tensor:
    """ReLU of the normalised [N, C, H, W], to which a shortcut is added first, if there is one."""
    if isinstance(norm, BatchNorm) and norm.fused and norm.training:
        return batch_norm_relu(norm, x, shortcut)
    out: Tensor = norm(x)
    if shortcut is not None:
        out += shortcut
    return F.relu(out, inplace=True)


def conv3x3(channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv2d:
    """3x3 convolution with one pixel of padding and no bias (BN follows)."""
    return nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)


def conv1x1(channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv2d:
    """1x1 convolution without bias (BN follows)."""
    return nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False)


class _SubsampleAndPad(torch.autograd.Function):
    """Slicing and `F.pad` with a backward pass that keeps the memory format.

    Autograd's own backward of a strided slice makes a gradient that is not channels last, and
    adding that to the block's other gradient takes 7% of ResNet-20's iteration on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, stride: int, padding: tuple[int, ...]) -> Tensor:
        ctx.stride, ctx.first, ctx.shape = stride, padding[-2], x.shape
        return F.pad(x[:, :, ::stride, ::stride], padding)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        last = grad.is_contiguous(memory_format=torch.channels_last)
        form = torch.channels_last if last else torch.contiguous_format
        grad_x = torch.empty(
            ctx.shape, dtype=grad.dtype, device=grad.device, memory_format=form
        ).zero_()
        kept = grad[:, ctx.first : ctx.first + ctx.shape[1]]
        grad_x[:, :, :: ctx.stride, :: ctx.stride] = kept
        return grad_x, None, None


class ZeroPadShortcut(nn.Module):
    """Option A where dimensions change: every `stride`-th pixel, zeros in the new channels.

    Maps [N, C, H, W] to [N, C + extra_channels, ceil(H / stride), ceil(W / stride)].
    Where the zeros go is not stated in the paper: `end`, or `both-sides` of the old channels.
    """

    def __init__(self, extra_channels: int, stride: int, zero_channels: ZeroChannels) -> None:
        super().__init__()
        before = extra_channels // 2 if zero_channels == "both-sides" else 0
        self.padding = (0, 0, 0, 0, before, extra_channels - before)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Subsample and pad."""
        shortcut: Tensor = _SubsampleAndPad.apply(x, self.stride, self.padding)
        return shortcut


def make_shortcut(
    option: Literal["A", "B", "C"] | None,
    channels_in: int,
    channels_out: int,
    stride: int,
    norm: Norm,
    zero_channels: ZeroChannels,
) -> nn.Module | None:
    """The shortcut of one block (section 3.3), or None in a plain network.

    A: identity, zero-padded where dimensions change. B: projection only there. C: projections.
    """
    if option is None:
        return None
    changes = stride != 1 or channels_in != channels_out
    if option == "C" or (option == "B" and changes):
        return nn.Sequential(conv1x1(channels_in, channels_out, stride), norm(channels_out))
    if changes:
        return ZeroPadShortcut(channels_out - channels_in, stride, zero_channels)
    return nn.Identity()


class BasicBlock(nn.Module):
    """Two 3x3 layers; the shortcut, if any, is added before the last ReLU."""

    def __init__(
        self,
        channels_in: int,
        width: int,
        stride: int,
        norm: Norm,
        shortcut: nn.Module | None,
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels_in, width, stride)
        self.bn1 = norm(width)
        self.conv2 = conv3x3(width, width)
        self.bn2 = norm(width)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels_in, H, W] to [N, width, H / stride, W / stride]."""
        out = self.conv2(norm_relu(self.bn1, self.conv1(x)))
        return norm_relu(self.bn2, out, None if self.downsample is None else self.downsample(x))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 layers (Fig. 5 right), four times as wide at the end as in the middle.

    The paper's stride sits in the first 1x1; `stride_in_3x3` moves it (torchvision, "v1.5").
    """

    expansion = 4

    def __init__(
        self,
        channels_in: int,
        width: int,
        stride: int,
        norm: Norm,
        shortcut: nn.Module | None,
        stride_in_3x3: bool = False,
    ) -> None:
        super().__init__()
        first, second = (1, stride) if stride_in_3x3 else (stride, 1)
        self.conv1 = conv1x1(channels_in, width, first)
        self.bn1 = norm(width)
        self.conv2 = conv3x3(width, width, second)
        self.bn2 = norm(width)
        self.conv3 = conv1x1(width, width * self.expansion)
        self.bn3 = norm(width * self.expansion)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels_in, H, W] to [N, 4 width, H / stride, W / stride]."""
        out = norm_relu(self.bn1, self.conv1(x))
        out = norm_relu(self.bn2, self.conv2(out))
        out = self.conv3(out)
        return norm_relu(self.bn3, out, None if self.downsample is None else self.downsample(x))
