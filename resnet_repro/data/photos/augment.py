"""What is left to do with crops on the device: mirror, mean, colour (section 3.4).

Imports torch, so it is not part of what `resnet_repro.data` loads by itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["finish"]


def finish(
    images: Tensor,
    mean: Tensor,
    mirrored: Tensor | None = None,
    colour_shift: Tensor | None = None,
) -> Tensor:
    """Crops as the network's input: mirrored where asked, mean subtracted, colours shifted.

    Values stay on the scale of 0 to 255, as in the authors' framework. The mean is subtracted after
    mirroring, which is the order of the paper's text; the mean image itself is not mirrored.

    Args:
        images: uint8 [B, h, w, 3], on the device.
        mean: float32 [3, h, w], the training set's, of 0 to 255.
        mirrored: bool [B]; None mirrors nothing.
        colour_shift: float32 [B, 3], added to each pixel of an image; None shifts nothing.

    Returns:
        float32 [B, 3, h, w], channels last in memory.
    """
    if mirrored is not None:
        images = torch.where(mirrored[:, None, None, None], images.flip(2), images)
    values = images - mean.permute(1, 2, 0)
    if colour_shift is not None:
        values += colour_shift[:, None, None, :]
    return values.permute(0, 3, 1, 2)
