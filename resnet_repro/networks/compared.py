"""Networks that the paper or its readers compare with; none is trained here.

torchvision's builders where they are the network of the paper in question (VGG, DenseNet), and
under a name that says so where they are not: its AlexNet has one tower and no normalisation
(Krizhevsky 2014), its GoogLeNet has BN, and 3x3 convolutions where 5x5 belong.
"""

from __future__ import annotations

import torch
import torchvision.models as models
from torch import Tensor, nn

__all__ = ["AlexNet", "build_compared"]

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
    options: dict[str, bool] = {}
    if label.startswith(("vgg", "googlenet")):
        options["init_weights"] = False
    if label.startswith("googlenet"):
        options |= {"aux_logits": False, "transform_input": False}
    built: nn.Module = _BUILDERS[label](weights=None, num_classes=classes, **options)
    return built


class AlexNet(nn.Module):
    """Krizhevsky, Sutskever and Hinton 2012: two groups in the second, fourth and fifth layer."""

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        norm = (5, 1e-4, 0.75, 2.0)  # of local responses: window, alpha, beta, k (section 3.3)
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
