"""Blocks of He et al. 2016, "Identity Mappings in Deep Residual Networks".

Other orders of activation (its Fig. 4, Table 2) and impeded shortcuts (its Fig. 2, Table 1). The
original order with an identity shortcut is `networks.blocks`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_repro.networks.blocks import BasicBlock, Norm, norm_relu

__all__ = ["BLOCKS", "Gate", "ImpededBlock"]

Convolutions = Sequence[tuple[int, int, int]]  # (kernel, outputs, stride) of each convolution
SCALES = {"half-shortcut": (1.0, 0.5), "half-both": (0.5, 0.5)}  # of F and of the shortcut


class _Block(nn.Module):
    """Two or three convolutions with their batch normalisations, and a shortcut.

    Maps [N, channels_in, H, W] to [N, outputs of the last, H / stride, W / stride].
    """

    norm_first = False

    def __init__(
        self,
        channels_in: int,
        shapes: Convolutions,
        norm: Norm,
        shortcut: nn.Module,
        first: bool,
    ) -> None:
        super().__init__()
        self.layers, self.first = len(shapes), first
        for number, (kernel, outputs, stride) in enumerate(shapes, start=1):
            padding = kernel // 2
            convolution = nn.Conv2d(channels_in, outputs, kernel, stride, padding, bias=False)
            normalised = norm(channels_in if self.norm_first else outputs)
            self.add_module(f"conv{number}", convolution)
            self.add_module(f"bn{number}", normalised)
            channels_in = outputs
        if self.norm_first and isinstance(shortcut, nn.Sequential):
            shortcut = shortcut[0]
        self.downsample = shortcut

    def conv(self, number: int, x: Tensor) -> Tensor:
        """Through a convolution, counted from 1."""
        return self.get_submodule(f"conv{number}")(x)

    def norm(self, number: int, x: Tensor) -> Tensor:
        """Through a batch normalisation, counted from 1."""
        return self.get_submodule(f"bn{number}")(x)

    def norm_relu(self, number: int, x: Tensor) -> Tensor:
        """Through a batch normalisation, counted from 1, and a ReLU."""
        return norm_relu(self.get_submodule(f"bn{number}"), x)

    def past_all_but_the_last(self, x: Tensor) -> Tensor:
        """Convolution, BN and ReLU, but for the last of each."""
        for number in range(1, self.layers):
            x = self.norm_relu(number, self.conv(number, x))
        return x


class BnAfterAdd(_Block):
    """The last BN, and ReLU, after the addition (Fig. 4 b)."""

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        out = self.conv(self.layers, self.past_all_but_the_last(x)) + self.downsample(x)
        return self.norm_relu(self.layers, out)


class ReluBeforeAdd(_Block):
    """BN and ReLU before the addition, nothing after it (Fig. 4 c)."""

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        out = self.conv(self.layers, self.past_all_but_the_last(x))
        return self.norm_relu(self.layers, out) + self.downsample(x)


class ReluOnly(_Block):
    """ReLU before each convolution, BN after it, nothing after the addition (Fig. 4 d)."""

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        out = activated = F.relu(x)
        for number in range(1, self.layers + 1):
            out = self.conv(number, out)
            out = self.norm_relu(number, out) if number < self.layers else self.norm(number, out)
        return out + _shortcut(self, x, activated)


class Preact(_Block):
    """BN and ReLU before each convolution, nothing after the addition (Fig. 4 e).

    A projection has no BN of its own: its input is normalised.
    """

    norm_first = True

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        out = activated = self.norm_relu(1, x)
        for number in range(1, self.layers + 1):
            if number > 1:
                out = self.norm_relu(number, out)
            out = self.conv(number, out)
        return out + _shortcut(self, x, activated)


def _shortcut(block: _Block, x: Tensor, activated: Tensor) -> Tensor:
    """The shortcut's output for a block's input `x`.

    It starts from the activated `x` in the network's first block and before a projection, from `x`
    itself elsewhere (the paper's appendix, its authors' code).
    """
    projects = isinstance(block.downsample, nn.Conv2d | nn.Sequential)
    shortcut: Tensor = block.downsample(activated if block.first or projects else x)
    return shortcut


BLOCKS: dict[str, type[_Block]] = {
    "bn-after-add": BnAfterAdd,
    "relu-before-add": ReluBeforeAdd,
    "relu-only": ReluOnly,
    "preact": Preact,
}


class Gate(nn.Conv2d):
    """The 1x1 convolution behind a gate; its bias starts where the recipe says."""


class ImpededBlock(BasicBlock):
    """The original block with something in the way of its shortcut (Fig. 2, Table 1).

    What is done where dimensions change is not stated: here it is done to option A's output.
    """

    def __init__(
        self,
        channels_in: int,
        width: int,
        stride: int,
        norm: Norm,
        shortcut: nn.Module,
        impeded: str,
    ) -> None:
        super().__init__(channels_in, width, stride, norm, shortcut)
        self.impeded = impeded
        if impeded.endswith("gate"):
            self.gate = Gate(channels_in, width, 1, stride)
        if impeded == "dropout-shortcut":
            self.dropout = CountedDropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """[N, channels_in, H, W] to [N, width, H / stride, W / stride]."""
        out = self.bn2(self.conv2(norm_relu(self.bn1, self.conv1(x))))
        assert self.downsample is not None
        shortcut = self.downsample(x)
        if self.impeded in SCALES:
            scale, scale_shortcut = SCALES[self.impeded]
            out, shortcut = scale * out, scale_shortcut * shortcut
        elif self.impeded == "dropout-shortcut":
            shortcut = self.dropout(shortcut)
        else:
            gate = torch.sigmoid(self.gate(x))
            out = gate * out if self.impeded == "exclusive-gate" else out
            shortcut = (1 - gate) * shortcut
        return F.relu(out + shortcut, inplace=True)


class CountedDropout(nn.Module):
    """Dropout whose draws depend on a key and on how many batches were seen: buffers, both.

    So a training that is continued draws what an uninterrupted one does. The draws are a hash, in
    whole numbers, of the element's place, that count, the key, which `initialise` draws for each
    layer, and the rank of the process among those that share a batch.
    """

    batches: Tensor
    key: Tensor
    rank = 0

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self.register_buffer("batches", torch.tensor(0))
        self.register_buffer("key", torch.tensor(0))

    @torch.no_grad()
    def draw_key(self, generator: torch.Generator) -> None:
        """Tell this layer's draws from those of all others."""
        self.key.copy_(torch.randint(_RANGE, (), generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        """In training, zeros with this probability and the rest scaled up; else `x`."""
        if not self.training:
            return x
        self.batches += 1
        places = torch.arange(x.numel(), device=x.device).view(x.shape)
        drawn = _hashed(places + _hashed(self.batches + _hashed(self.key + self.rank)))
        kept = drawn >= int(self.probability * _RANGE)
        return x * kept / (1 - self.probability)


_RANGE = 1 << 32


def _hashed(numbers: Tensor) -> Tensor:
    """Numbers below 2**32 that look random, of whole numbers (the finaliser of MurmurHash3)."""
    numbers = numbers & (_RANGE - 1)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0x42B2AE35)):
        numbers = ((numbers ^ (numbers >> shift)) * factor) & (_RANGE - 1)
    return numbers ^ (numbers >> 16)
