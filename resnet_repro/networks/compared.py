"""Networks that the paper or its readers compare with.

torchvision's builders where they are the network of the paper in question (VGG, DenseNet), and
under a name that says so where they are not: its AlexNet has one tower and no normalisation
(Krizhevsky 2014), its GoogLeNet has BN, and 3x3 convolutions where 5x5 belong. Those of the papers
are written here.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
import torchvision.models as models
from torch import Tensor, nn
from torchvision.models.googlenet import Inception

__all__ = ["build_compared"]

_BUILDERS = {
    "alexnet-one-tower": models.alexnet,
    "vgg-16": models.vgg16,
    "vgg-19": models.vgg19,
    "googlenet-bn": models.googlenet,
    "densenet-121": models.densenet121,
    "densenet-169": models.densenet169,
    "densenet-201": models.densenet201,
    "densenet-161": models.densenet161,
}


def build_compared(label: str, classes: int) -> nn.Module:
    """A network of `COMPARED` without weights, with torchvision's parameter names.

    Maps [N, 3, H, W] (224x224 in their papers, AlexNet's 227x227) to logits [N, classes].
    """
    if label == "alexnet":
        return AlexNet(classes)
    if label == "googlenet":
        return _googlenet(classes)
    options: dict[str, bool] = {}
    if label.startswith("vgg"):
        options["init_weights"] = False
    if label == "googlenet-bn":
        options |= _GOOGLENET_OPTIONS
    built: nn.Module = _BUILDERS[label](weights=None, num_classes=classes, **options)
    return built


class AlexNet(nn.Module):
    """Krizhevsky, Sutskever and Hinton 2012: two groups in the second, fourth and fifth layer."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        # Of local responses (section 3.3): n, alpha, beta, k; torch divides alpha by n.
        norm = (5, 5 * 1e-4, 0.75, 2.0)
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 96, 11, stride=4), nn.ReLU(), nn.LocalResponseNorm(*norm)),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(96, 256, 5, padding=2, groups=2),
            *(nn.ReLU(), nn.LocalResponseNorm(*norm), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(256, 384, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU()),
            *(nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            *(nn.Linear(256 * 6 * 6, 4096), nn.ReLU(), nn.Dropout()),
            *(nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout()),
            nn.Linear(4096, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch of images."""
        x = torch.flatten(self.avgpool(self.features(x)), 1)
        logits: Tensor = self.classifier(x)
        return logits


_GOOGLENET_OPTIONS: dict[str, Any] = {
    "aux_logits": False,  # the heads beside the network serve training only
    "transform_input": False,
    "init_weights": False,
}


def _googlenet(classes: int) -> nn.Module:
    """Szegedy et al. 2015 (Table 1, Fig. 3), without the heads that serve training only.

    The paper has local response normalisation without its constants: an assumption are those that
    its authors' contemporaries used (Caffe's model: 5, 1e-4, 0.75, 1).
    """
    built = models.GoogLeNet(
        num_classes=classes,
        dropout=0.4,
        blocks=[GoogLeNetConv, _Inception, nn.Identity],
        **_GOOGLENET_OPTIONS,
    )
    norm = nn.LocalResponseNorm(5, 1e-4, 0.75, 1.0)
    built.maxpool1 = nn.Sequential(built.maxpool1, norm)
    built.maxpool2 = nn.Sequential(norm, built.maxpool2)
    built.maxpool4 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
    return built


class GoogLeNetConv(nn.Module):
    """A convolution with bias, and ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel_size: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel_size, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x), inplace=True)


class _Inception(Inception):  # type: ignore[misc]
    """torchvision's four branches (Fig. 2b), with the paper's 5x5 where that has 3x3."""

    def __init__(self, *channels: int) -> None:
        super().__init__(*channels, conv_block=GoogLeNetConv)
        self.branch3[1] = GoogLeNetConv(channels[4], channels[5], kernel_size=5, padding=2)
