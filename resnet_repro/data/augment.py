"""Augmentation on the device: crop, mirror, mean, colour (sections 3.4 and 4.2)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["augment", "finish", "per_pixel_mean", "shrink", "subtract_mean"]

CHUNK = 10_000  # images converted at once, to save memory


def shrink(images: Tensor, side: int) -> Tensor:
    """uint8 images [N, 3, H, W] averaged over areas and rounded: uint8 [N, 3, side, side]."""
    chunks = images.split(CHUNK)
    return torch.cat([F.adaptive_avg_pool2d(c.float(), side).round().byte() for c in chunks])


def per_pixel_mean(images: Tensor) -> Tensor:
    """Mean image [3, H, W], float32, of uint8 images [N, 3, H, W], summed exactly."""
    total = torch.zeros(images.shape[1:], dtype=torch.int64)
    for chunk in images.split(CHUNK):
        total += chunk.sum(dim=0, dtype=torch.int64)
    return (total.double() / len(images)).float()


def subtract_mean(images: Tensor, mean: Tensor) -> Tensor:
    """The single original view: uint8 [B, 3, H, W] minus the mean image, float32, channels last."""
    return (images - mean).contiguous(memory_format=torch.channels_last)


def augment(
    images: Tensor,
    mean: Tensor,
    top: Tensor,
    left: Tensor,
    mirrored: Tensor,
    pad: int,
    fill: Literal["mean", "black"],
) -> Tensor:
    """Crop each padded image at (top, left), mirror where asked, with the mean subtracted.

    Args:
        images: uint8 [B, 3, H, W].
        mean: float32 [3, H, W].
        top, left: int64 [B], the crop's corner in the padded image, 0 to 2 * pad.
        mirrored: bool [B].
        pad: pixels added on each side.
        fill: pad with zeros after (`mean`) or before (`black`) the mean is subtracted.

    Returns:
        float32 [B, 3, H, W], channels last.
    """
    height, width = images.shape[2:]
    values = images - mean if fill == "mean" else images.float()
    values = F.pad(values, (pad, pad, pad, pad))
    down = torch.arange(height, device=images.device)
    across = torch.arange(width, device=images.device)
    rows = top[:, None] + down
    columns = left[:, None] + torch.where(mirrored[:, None], across.flip(0), across)
    which = torch.arange(len(images), device=images.device)
    # Indexed dimensions come first in the result: [B, H, W, 3], channels last in memory.
    cropped = values[which[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    cropped = cropped.permute(0, 3, 1, 2)
    return cropped if fill == "mean" else cropped - mean


def finish(
    images: Tensor,
    mean: Tensor,
    mirrored: Tensor | None = None,
    colour_shift: Tensor | None = None,
) -> Tensor:
    """Crops as the network's input: mirrored where asked, mean subtracted, colours shifted.

    Values stay on the scale of 0 to 255, as in the authors' framework. As in the paper's text, the
    mean is subtracted after mirroring; the mean image itself is not mirrored.

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
