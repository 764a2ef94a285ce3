"""Faster R-CNN on a network of the ImageNet family (Tables 7 and 8, appendix A).

torchvision's `FasterRCNN` with the paper's parts: the stages up to conv4_x are shared at a stride
of 16, regions are pooled before conv5_1, and conv5_x with average pooling is the head; of VGG-16,
all 13 convolutions are shared, and fc6 and fc7 are the head.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.models.detection.rpn import RPNHead
from torchvision.ops import MultiScaleRoIAlign, roi_pool
from torchvision.ops.misc import FrozenBatchNorm2d

from resnet_repro.base.errors import ConfigError
from resnet_repro.data.boxes.boxes import Detections
from resnet_repro.networks.blocks import BatchNorm, Norm
from resnet_repro.networks.detector_cost import ROI_SIDE, STRIDE
from resnet_repro.networks.network import Network, build_network
from resnet_repro.spec.detection import Detection
from resnet_repro.spec.input_kinds import IMAGENET_MEAN
from resnet_repro.spec.network_names import parse_network
from resnet_repro.spec.recipe_parts import ZeroChannels

__all__ = [
    "Detector",
    "build_detector",
    "initialise_new_layers",
]

_HIDDEN = 4096  # outputs of fc6 and fc7
_BOX_SHARE = 0.1  # of the new layers' deviation: that of box regression (Fast R-CNN)


class Detector(nn.Module):
    """Images of any size to their objects; in training, to the parts of the loss.

    Everything but the convolutions and fc layers of the classification network is fp32.
    """

    pixel_mean: Tensor  # [3, 1, 1], of 0 to 255
    pixel_std: Tensor

    def __init__(self, rcnn: FasterRCNN) -> None:
        super().__init__()
        self.rcnn = rcnn
        self.register_buffer("pixel_mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1))
        self.register_buffer("pixel_std", torch.ones(3, 1, 1))

    def forward(
        self, images: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]] | None = None
    ) -> dict[str, Tensor] | list[Detections]:
        """Torchvision's losses by name in training, else what is found in each image.

        Args:
            images: uint8 [3, H, W] each, red, green, blue.
            targets: in training, `boxes` float32 [n, 4] and `labels` int64 [n] for each.
        """
        inputs = [(image - self.pixel_mean) / self.pixel_std for image in images]
        kind = self.pixel_mean.device.type
        reduced = torch.is_autocast_enabled(kind)
        for part in (self.rcnn.backbone, self.rcnn.roi_heads.box_head):
            part.reduced = reduced
        with torch.autocast(kind, enabled=False):
            found = self.rcnn(inputs, targets)
        if self.training:
            losses: dict[str, Tensor] = found
            return losses
        return [Detections(one["boxes"], one["scores"], one["labels"]) for one in found]

    def load_backbone(self, weights: Mapping[str, Tensor]) -> None:
        """Take over a classification network's weights, all but its classifier's.

        Raises:
            ValueError, RuntimeError: they are not of this backbone.
        """
        parts = (self.rcnn.backbone, self.rcnn.roi_heads.box_head)
        wanted = [name for part in parts for name in part.state_dict()]
        if _kept(wanted) != _kept(weights):
            raise ValueError("weights of another network")
        for part in parts:
            known = _kept(part.state_dict())  # what is not there is BN's count of batches
            part.load_state_dict({name: weights[name] for name in known}, strict=False)


def _kept(names: Iterable[str]) -> set[str]:
    """The tensors that a detector has of its backbone."""
    left = ("fc.", "classifier.6.")
    return {n for n in names if not n.startswith(left) and not n.endswith("num_batches_tracked")}


class _Part(nn.Sequential):
    """A part of a classification network, in bf16 where the rest of the detector may not be.

    Its tensors are called as in that network.
    """

    reduced = False

    def __init__(self, layers: Mapping[str, nn.Module], out_channels: int) -> None:
        super().__init__(OrderedDict(layers))
        self.out_channels = out_channels

    def forward(self, x: Tensor) -> Tensor:
        """float32 to float32."""
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.reduced):
            return super().forward(x).float()


def _parts(network: nn.Module, frozen: int) -> tuple[_Part, _Part]:
    """The shared convolutions, of which the first stages stay as they are, and the head.

    Of a plain or residual network conv1 to conv4_x, and conv5_x with average pooling: [N, C, s, s]
    to [N, features]. Of VGG the convolutions without the last pooling, and fc6 and fc7 with their
    dropout: [N, 512, 7, 7] to [N, 4096].
    """
    part = network.get_submodule
    if isinstance(network, Network):
        stem = {"conv1": part("conv1"), "bn1": part("bn1")}
        pool = {"relu": nn.ReLU(inplace=True), "maxpool": nn.MaxPool2d(3, 2, padding=1)}
        shared = {name: part(name) for name in ("layer1", "layer2", "layer3")}
        stages = [nn.ModuleList(stem.values()), *shared.values()]
        built = network.architecture
        body = _Part(stem | pool | shared, built.widths[2] * built.expansion)
        last = {"layer4": part("layer4"), "avgpool": nn.AdaptiveAvgPool2d(1)}
        head = _Part(last | {"flatten": nn.Flatten()}, built.features)
    else:
        layers, classifier = list(part("features").children()), list(part("classifier").children())
        ends = [n for n, layer in enumerate(layers, start=1) if isinstance(layer, nn.MaxPool2d)]
        stages = [nn.ModuleList(layers[a:b]) for a, b in pairwise((0, *ends))]
        body = _Part({"features": nn.Sequential(*layers[:-1])}, 512)
        fc = nn.Sequential(*classifier[:-1])
        head = _Part({"flatten": nn.Flatten(), "classifier": fc}, _HIDDEN)
    for stage in stages[:frozen]:
        stage.requires_grad_(False)
    return body, head


class _RoIPool(MultiScaleRoIAlign):  # type: ignore[misc]
    """Maximum pooling of regions, as the paper has it, where torchvision wants an alignment."""

    def __init__(self, side: int) -> None:
        super().__init__(["0"], side, sampling_ratio=1)

    def forward(
        self, x: dict[str, Tensor], boxes: list[Tensor], image_shapes: list[tuple[int, int]]
    ) -> Tensor:
        """[regions of all images, C, side, side]."""
        return roi_pool(x["0"], boxes, self.output_size, 1 / STRIDE)


def build_detector(
    network: str,
    classes: int,
    settings: Detection,
    norm: Norm = BatchNorm,
    zero_channels: ZeroChannels = "end",
) -> Detector:
    """Faster R-CNN by its name, for so many classes besides the background.

    Its weights are those of torch's modules: see `networks.initialise`, and `load_backbone`.

    Raises:
        ConfigError: it is the name of something else.
    """
    backbone = parse_network(network).backbone
    if not backbone:
        raise ConfigError(f"{network} is no detector")
    if settings.batch_norm == "frozen":  # a constant scale and offset (appendix A)
        norm = partial(FrozenBatchNorm2d, eps=norm(1).eps)
    whole = build_network(backbone, 1, norm, zero_channels)
    body, head = _parts(whole, settings.frozen_stages)
    roi_side = ROI_SIDE if isinstance(whole, Network) else 7
    if roi_side != ROI_SIDE and settings.roi_side not in (None, roi_side):
        raise ConfigError(f"recipe.detection.roi_side: {backbone}'s fc6 is for {roi_side}")
    anchors = AnchorGenerator((settings.anchor_sides,), (settings.anchor_ratios,))
    rcnn = FasterRCNN(
        body,
        min_size=settings.shorter_side,
        max_size=settings.longer_side,
        size_divisible=STRIDE,
        image_mean=[0.0, 0.0, 0.0],  # `Detector` has subtracted it
        image_std=[1.0, 1.0, 1.0],
        rpn_anchor_generator=anchors,
        rpn_head=RPNHead(body.out_channels, anchors.num_anchors_per_location()[0]),
        rpn_pre_nms_top_n_train=settings.proposals_before_nms[0],
        rpn_pre_nms_top_n_test=settings.proposals_before_nms[1],
        rpn_post_nms_top_n_train=settings.proposals[0],
        rpn_post_nms_top_n_test=settings.proposals[1],
        rpn_nms_thresh=settings.proposal_nms,
        rpn_fg_iou_thresh=settings.anchor_overlap[1],
        rpn_bg_iou_thresh=settings.anchor_overlap[0],
        rpn_batch_size_per_image=settings.anchors_per_image,
        box_roi_pool=_RoIPool(settings.roi_side or roi_side),
        box_head=head,
        box_predictor=FastRCNNPredictor(head.out_channels, classes + 1),
        box_score_thresh=settings.lowest_score,
        box_nms_thresh=settings.test_nms,
        box_detections_per_img=settings.detections_per_image,
        box_fg_iou_thresh=settings.foreground_overlap,
        box_bg_iou_thresh=settings.foreground_overlap,
        box_batch_size_per_image=settings.rois_per_image,
        box_positive_fraction=settings.foreground_share,
    )
    rcnn.rpn.min_size = settings.smallest_proposal
    return Detector(rcnn)


def initialise_new_layers(
    detector: nn.Module, deviation: float, generator: torch.Generator
) -> None:
    """Draw the weights of the layers that no classification network has: normal, biases zero."""
    assert isinstance(detector, Detector)
    predictor = detector.rcnn.roi_heads.box_predictor
    for module in (*detector.rcnn.rpn.head.modules(), predictor.cls_score, predictor.bbox_pred):
        if isinstance(module, nn.Conv2d | nn.Linear):
            share = _BOX_SHARE if module is predictor.bbox_pred else 1.0
            nn.init.normal_(module.weight, std=deviation * share, generator=generator)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
