"""The fully convolutional form of the ImageNet networks (section 3.4): logits at every place.

The final pooling becomes an average over windows, the classifier a convolution. Where there is
room for one window only, this is the ordinary network.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_repro.networks.imagenet import ImageNetNetwork

__all__ = ["dense_logits", "final_map_side"]

_STRIDE = 32  # pixels from one place of the final map to the next


def final_map_side(network: nn.Module, side: int) -> int:
    """Height (or width) of the final map of an image so many pixels high: 7 at 224.

    Raises:
        TypeError: the network is not of the ImageNet family.
    """
    if isinstance(network, ImageNetNetwork):
        return -(-side // _STRIDE)  # its strides round up
    if _is_vgg(network):
        return side // _STRIDE  # its pooling rounds down
    raise _no_dense_form(network)


def dense_logits(network: nn.Module, x: Tensor, window: int) -> Tensor:
    """Logits [N, classes, h, w] of every `window` x `window` piece of the final map, stride 1.

    `x` is [N, 3, H, W], the mean subtracted; the network should be in evaluation mode. With
    `window` = `final_map_side(network, crop)`, an image of the crop's size gives the one place of
    the ordinary forward pass. A map lower or narrower than the window is taken whole.

    Raises:
        TypeError: the network is not of the ImageNet family.
    """
    if isinstance(network, ImageNetNetwork):
        maps = network.features(x)
        pooled = F.avg_pool2d(maps, _fitting(window, maps), stride=1)
        return _as_convolution(pooled, network.fc)
    if _is_vgg(network):
        return _dense_vgg(network, x, window)
    raise _no_dense_form(network)


def _dense_vgg(network: Any, x: Tensor, window: int) -> Tensor:
    """VGG's three fully connected layers as convolutions (section 3.2 of its paper)."""
    fc6, fc7, fc8 = (m for m in network.classifier.modules() if isinstance(m, nn.Linear))
    maps = network.features(x)
    height, width = _fitting(window, maps)
    kernel = fc6.weight.unflatten(1, (maps.shape[1], *network.avgpool.output_size))
    if (height, width) != tuple(kernel.shape[2:]):
        # The network pools what the window holds to 7x7 before fc6; that is linear, so the kernel
        # can be pooled instead, the other way round.
        rows, columns = (
            F.adaptive_avg_pool1d(torch.eye(here, device=x.device), there)
            for here, there in zip((height, width), kernel.shape[2:], strict=True)
        )
        kernel = torch.einsum("ocij,ui,vj->ocuv", kernel, rows, columns)
    out = F.relu(F.conv2d(maps, kernel, fc6.bias), inplace=True)
    out = F.relu(_as_convolution(out, fc7), inplace=True)
    return _as_convolution(out, fc8)


def _as_convolution(x: Tensor, linear: nn.Linear) -> Tensor:
    """A fully connected layer at every place of a map."""
    return F.conv2d(x, linear.weight[:, :, None, None], linear.bias)


def _fitting(window: int, maps: Tensor) -> tuple[int, int]:
    height, width = maps.shape[2:]
    return min(window, height), min(window, width)


def _is_vgg(network: nn.Module) -> bool:
    from torchvision.models import VGG

    return isinstance(network, VGG)


def _no_dense_form(network: nn.Module) -> TypeError:
    return TypeError(f"a {type(network).__name__} has no fully convolutional form")
