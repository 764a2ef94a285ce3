"""What is random about a batch of training crops (section 3.4)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from resnet_repro.spec.recipe_parts import Photographs

__all__ = ["CropDraw", "draw_crops"]


@dataclass(frozen=True)
class CropDraw:
    """What is drawn for each image of a batch, [B] each."""

    sides: NDArray[np.int64]  # shorter side, pixels
    fractions: NDArray[np.float64]  # [B, 2], of [0, 1): where the crop is, down and across
    mirrored: NDArray[np.bool_]
    alphas: NDArray[np.float32]  # [B, 3], AlexNet's: one for each principal component


def draw_crops(seed: int, iteration: int, batch_size: int, photographs: Photographs) -> CropDraw:
    """Draw the crops of a whole batch: a pure function of seed and iteration (from 0)."""
    digest = hashlib.sha256(f"photographs/{seed}/{iteration}".encode()).digest()
    random = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
    low, high = photographs.shorter_side
    uniform = random.random((batch_size, 4))
    # Drawn even when it is not used: switching one thing off leaves the others as they were.
    alphas = random.standard_normal((batch_size, 3)) * photographs.colour_std
    return CropDraw(
        sides=low + (uniform[:, 0] * (high - low + 1)).astype(np.int64),
        fractions=uniform[:, 1:3],
        mirrored=(uniform[:, 3] < 0.5) & photographs.mirror,
        alphas=alphas.astype(np.float32),
    )
