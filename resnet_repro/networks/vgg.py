"""VGG-16 (Simonyan and Zisserman 2015), which Table 3 compares with: torchvision's own."""

from __future__ import annotations

from torch import nn

__all__ = ["make_vgg16"]


def make_vgg16(classes: int = 1000) -> nn.Module:
    """VGG-16 without BN, with torchvision's parameter names and without weights.

    Maps [N, 3, H, W] (224x224 in its paper) to logits [N, classes].
    """
    from torchvision.models import vgg16  # takes a second, which nothing else here needs

    return vgg16(weights=None, num_classes=classes, init_weights=False)
