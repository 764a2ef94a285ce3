"""The fully convolutional form of the networks (section 3.4): logits at every place.

The final pooling becomes an average over windows, the classifier a convolution. Where there is
room for one window only, this is the ordinary network.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_repro.networks.network import Network

__all__ = ["dense_logits", "final_map_side"]


def final_map_side(network: nn.Module, side: int) -> int:
    """Height (or width) of the final map of an image so many pixels high: 7 at 224."""
    if isinstance(network, Network):
        return -(-side >> network.architecture.halvings)  # its strides round up
    weight = next(network.parameters())
    with torch.no_grad():
        blank = torch.zeros(1, 3, side, side, device=weight.device, dtype=weight.dtype)
        return int(_final_maps(network, blank).shape[-1])


def dense_logits(network: nn.Module, x: Tensor, window: int) -> Tensor:
    """Logits [N, classes, h, w] of every `window` x `window` piece of the final map, stride 1.

    `x` is [N, 3, H, W], the mean subtracted; the network should be in evaluation mode. With
    `window` = `final_map_side(network, crop)`, an image of the crop's size gives the one place of
    the ordinary forward pass. A map lower or narrower than the window is taken whole.
    """
    maps = _final_maps(network, x)
    classifier: Any = network.fc if hasattr(network, "fc") else network.classifier
    if isinstance(classifier, nn.Sequential):
        return _dense_classifier(network, maps, window)
    pooled = F.avg_pool2d(maps, _fitting(window, maps), stride=1)
    return F.conv2d(pooled, classifier.weight[:, :, None, None], classifier.bias)


def _final_maps(network: Any, x: Tensor) -> Tensor:
    """The maps before the final pooling."""
    if hasattr(network, "inception5b"):  # GoogLeNet: pooling, dropout and classifier come last
        return nn.Sequential(*list(network.children())[:-3])(x)
    maps: Tensor = network.features(x)
    return F.relu(maps) if hasattr(network.features, "norm5") else maps  # DenseNet


def _dense_classifier(network: Any, maps: Tensor, window: int) -> Tensor:
    """Fully connected layers at every place (VGG: section 3.2 of its paper; AlexNet).

    Written as the matrix product that a convolution is: fc6 as `conv2d` with a 7x7 kernel takes
    many times as long, because its 400 MB of weights are laid out anew in every call.
    """
    height, width = _fitting(window, maps)
    pieces = maps.unfold(2, height, 1).unfold(3, width, 1).permute(0, 2, 3, 1, 4, 5)
    logits = network.classifier(network.avgpool(pieces.flatten(0, 2)).flatten(1))
    return logits.unflatten(0, pieces.shape[:3]).permute(0, 3, 1, 2)


def _fitting(window: int, maps: Tensor) -> tuple[int, int]:
    height, width = maps.shape[2:]
    return min(window, height), min(window, width)
