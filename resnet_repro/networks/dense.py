"""The fully convolutional form of the networks (section 3.4): logits at every place.

The final pooling becomes an average over windows, the classifier a convolution. Where there is
room for one window only, this is the ordinary network.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from resnet_repro.networks.network import Network

__all__ = ["dense_logits", "final_map_side"]

_VGG_HALVINGS = 5


def final_map_side(network: nn.Module, side: int) -> int:
    """Height (or width) of the final map of an image so many pixels high: 7 at 224."""
    if isinstance(network, Network):
        return -(-side >> network.architecture.halvings)  # its strides round up
    return side >> _VGG_HALVINGS  # VGG's pooling rounds down


def dense_logits(network: nn.Module, x: Tensor, window: int) -> Tensor:
    """Logits [N, classes, h, w] of every `window` x `window` piece of the final map, stride 1.

    `x` is [N, 3, H, W], the mean subtracted; the network should be in evaluation mode. With
    `window` = `final_map_side(network, crop)`, an image of the crop's size gives the one place of
    the ordinary forward pass. A map lower or narrower than the window is taken whole.
    """
    if not isinstance(network, Network):
        return _dense_vgg(network, x, window)
    maps = network.features(x)
    pooled = F.avg_pool2d(maps, _fitting(window, maps), stride=1)
    return F.conv2d(pooled, network.fc.weight[:, :, None, None], network.fc.bias)


def _dense_vgg(network: Any, x: Tensor, window: int) -> Tensor:
    """VGG's three fully connected layers at every place (section 3.2 of its paper).

    Written as the matrix product that a convolution is: fc6 as `conv2d` with a 7x7 kernel takes
    many times as long, because its 400 MB of weights are laid out anew in every call.
    """
    maps = network.features(x)
    height, width = _fitting(window, maps)
    pieces = maps.unfold(2, height, 1).unfold(3, width, 1).permute(0, 2, 3, 1, 4, 5)
    logits = network.classifier(network.avgpool(pieces.flatten(0, 2)).flatten(1))
    return logits.unflatten(0, pieces.shape[:3]).permute(0, 3, 1, 2)


def _fitting(window: int, maps: Tensor) -> tuple[int, int]:
    height, width = maps.shape[2:]
    return min(window, height), min(window, width)
