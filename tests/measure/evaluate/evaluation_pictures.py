"""Photographs and networks made up for tests."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import nn

from resnet_repro.networks.blocks import BatchNorm
from resnet_repro.networks.initialise import initialise
from resnet_repro.networks.network import build_network

# (width, height, file type): higher, wider, square, two of a size, one smaller than any crop.
SIZES = (
    (90, 70, "jpg"),
    (61, 133, "png"),
    (80, 80, "jpg"),
    (90, 70, "png"),
    (200, 67, "jpg"),
    (21, 30, "png"),
    (131, 97, "jpg"),
)


def photograph(width: int, height: int, seed: int) -> Image.Image:
    """Gradients of random colours with some noise: no two places are alike."""
    random = np.random.default_rng(seed)
    across, down = np.linspace(0, 1, width), np.linspace(0, 1, height)[:, None]
    waves = [np.sin(3 * (a * across + b * down) + c) for a, b, c in random.uniform(-3, 3, (3, 3))]
    pixels = 127 + 90 * np.stack(waves, axis=2) + random.normal(0, 12, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def random_network(name: str, classes: int = 5) -> nn.Module:
    """Random weights, with the statistics of random photographs, so that outputs differ."""
    network = build_network(name, classes, partial(BatchNorm, momentum=1.0))
    initialise(network, 3)
    images = [np.asarray(photograph(64, 64, seed)) for seed in range(1000, 1016)]
    with torch.no_grad():
        network.train()(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) - 120.0)
    return network.eval()
