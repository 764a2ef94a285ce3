"""Multiply-adds of the forward pass for one image, of a detector as of other networks.

Arithmetic only, as `networks.outline`; torch need not be imported.
"""

from __future__ import annotations

from functools import lru_cache

from resnet_repro.networks.architecture import architecture
from resnet_repro.networks.layer import Layer
from resnet_repro.networks.outline import outline
from resnet_repro.spec.detection import Detection
from resnet_repro.spec.network_names import parse_network

__all__ = ["LANDSCAPE", "ROI_SIDE", "STRIDE", "forward_cost"]

ROI_SIDE = 14  # places of a pooled region before conv5_x
STRIDE = 16  # of the map that everything shares; also what images are padded to a multiple of
LANDSCAPE = 4 / 3  # longer to shorter side of a typical photograph


@lru_cache(maxsize=1024)
def forward_cost(network: str, side: int | None = None, settings: Detection | None = None) -> int:
    """Multiply-adds for one image whose (shorter) side has so many pixels, by default the paper's.

    Of a detector, a photograph in landscape and the regions of one image in training, as the
    settings say.

    Raises:
        ConfigError: no such network.
    """
    if not parse_network(network).backbone:
        return outline(network, side).multiply_adds
    body, head, shared = _parts(network)
    usual = architecture(parse_network(network).backbone).side
    settings = settings or Detection()
    by_area = (side or settings.shorter_side) ** 2 * LANDSCAPE / usual**2
    proposing = 9 * shared**2 * (usual / STRIDE) ** 2
    # Usually regions have 14x14 places, as conv5_x's input for an image of the usual side.
    # What VGG-16's fully connected layers take has 7x7 always.
    convolved = settings.roi_side is not None and head[0].kind != "fc"
    places = ((settings.roi_side or ROI_SIDE) / ROI_SIDE) ** 2 if convolved else 1
    of_regions = settings.rois_per_image * places * sum(layer.multiply_adds for layer in head)
    return round((sum(layer.multiply_adds for layer in body) + proposing) * by_area + of_regions)


def _parts(network: str) -> tuple[list[Layer], list[Layer], int]:
    """(layers of the shared convolutions, of the head, channels of the shared map)."""
    backbone = parse_network(network).backbone
    built, last = architecture(backbone), _classifier(network)
    layers = [layer for layer in outline(backbone).weighted if layer != last]
    if built.blocks:
        head = [layer for layer in layers if layer.name.startswith("layer4.")]
        shared = built.widths[2] * built.expansion
    else:
        head = [layer for layer in layers if layer.kind == "fc"]
        shared = [layer for layer in layers if layer.kind == "conv"][-1].outputs
    return [layer for layer in layers if layer not in head], head, shared


def _classifier(network: str) -> Layer:
    layers = outline(parse_network(network).backbone).layers
    return next(layer for layer in reversed(layers) if layer.kind == "fc")
