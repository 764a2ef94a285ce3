"""How a detector is trained: Faster R-CNN on a classification network (Tables 7 and 8)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from resnet_repro.base.records import Frozen
from resnet_repro.spec.recipe_parts import LARGEST_SIDE, Integer, Real, field

__all__ = ["Backbone", "Detection", "RunId", "Sha256"]

RunId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,255}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Length = Annotated[Integer, Field(ge=4, le=LARGEST_SIDE)]  # pixels
Fraction = Annotated[Real, Field(ge=0, le=1)]
MOST_BOXES = 100_000


class Backbone(Frozen):
    """Where a detector's classification weights come from: a run of this tool, or a file."""

    run: RunId | None = None
    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")] | None = None
    sha256: Sha256 | None = None  # of the file

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if (self.run is None) is (self.file is None) or (self.file is None) is not (
            self.sha256 is None
        ):
            raise ValueError(
                "should be a run's id (run), or the name of a file in the data folder (file) "
                "with its SHA-256 (sha256)"
            )
        return self

    def __str__(self) -> str:
        return self.run or f"{self.file} (SHA-256 {str(self.sha256)[:8]})"


class Detection(Frozen):
    """Settings of Faster R-CNN; the defaults are those of Table 7 (PASCAL VOC).

    What the paper takes over from Faster R-CNN (arXiv 1506.01497) counts as stated by it.
    """

    backbone: Backbone | None = field(
        None,
        "paper",
        "classification weights to start from; null trains all layers from scratch, which the "
        "paper does not",
    )
    batch_norm: Literal["frozen", "trained"] = field(
        "frozen",
        "paper",
        "fixed at the statistics of the classification data, appendix A; `trained` is for "
        "detectors without such weights",
    )
    frozen_stages: Integer = field(
        2,
        "assumption",
        "of the first stages (conv1, conv2_x ...), how many keep their weights: VGG-16 is tuned "
        "from conv3_1 on, of ResNets nothing is stated",
        ge=0,
        le=4,
    )
    shorter_side: Length = field(600, "paper", "pixels of the resized image; appendix A")
    longer_side: Length = field(1_000, "paper", "at most so many pixels; as in Faster R-CNN")
    mirror: bool = field(True, "paper", "half of the time, the only augmentation")
    anchor_sides: tuple[Length, ...] = field(
        (128, 256, 512),
        "paper",
        "pixels; areas are their squares; COCO adds 64",
        min_length=1,
        max_length=10,
    )
    anchor_ratios: tuple[Annotated[Real, Field(gt=0.01, lt=100)], ...] = field(
        (0.5, 1.0, 2.0), "paper", "height to width", min_length=1, max_length=10
    )
    anchors_per_image: Integer = field(
        256, "paper", "that the loss is of, at most half of them positive", ge=2, le=MOST_BOXES
    )
    anchor_overlap: tuple[Fraction, Fraction] = field(
        (0.3, 0.7), "paper", "IoU below and above which anchors are negative and positive"
    )
    smallest_proposal: Real = field(
        16.0,
        "deviation",
        "pixels of a proposal's side in the resized image; the authors' code, not the text, has "
        "as many of the original one",
        ge=0,
        le=LARGEST_SIDE,
    )
    proposals_before_nms: tuple[Integer, Integer] = field(
        (12_000, 6_000),
        "assumption",
        "in training and in testing, of the highest scores; in the authors' code, not in the text",
    )
    proposals: tuple[Integer, Integer] = field(
        (2_000, 300), "paper", "after non-maximum suppression, in training and in testing"
    )
    proposal_nms: Fraction = field(0.7, "paper", "IoU above which the lower score is dropped")
    rois_per_image: Integer = field(
        64, "paper", "regions of interest that the loss is of, as in Fast R-CNN", ge=1, le=10_000
    )
    foreground_share: Fraction = field(0.25, "paper", "of these regions, at most")
    foreground_overlap: Fraction = field(0.5, "paper", "IoU from which a region is foreground")
    roi_side: Annotated[Integer, Field(ge=2, le=28)] | None = field(
        None,
        "assumption",
        "places of a pooled region; null is 14, before conv5_1's stride of 2, or 7 before VGG-16's "
        "fc6. For ResNets a caption of Mask R-CNN tells it",
    )
    new_layers_std: Real = field(
        0.01, "paper", "of the new layers' initial weights; a tenth of it for boxes", gt=0, le=1
    )
    test_nms: Fraction = field(
        0.3, "assumption", "IoU within a class; in the authors' code, not in the text"
    )
    lowest_score: Fraction = field(
        0.05, "deviation", "of a detection that counts; the authors' code has 0, at a higher cost"
    )
    detections_per_image: Integer = field(
        100, "assumption", "at most; in the authors' code, not in the text", ge=1, le=10_000
    )

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.longer_side < self.shorter_side:
            raise ValueError("longer_side: is below shorter_side")
        if self.anchor_overlap[0] > self.anchor_overlap[1]:
            raise ValueError("anchor_overlap: should be the lower and the higher limit")
        if not all(1 <= n <= MOST_BOXES for n in (*self.proposals, *self.proposals_before_nms)):
            raise ValueError("proposals: numbers from 1 on, in training and in testing")
        return self

    @property
    def needs_backbone(self) -> bool:
        """Whether classification weights are needed and not named yet."""
        return self.backbone is None and self.batch_norm == "frozen"

    @property
    def has_single_value(self) -> bool:
        """Whether one image leaves batch normalisation a single value, behind conv5_1's stride."""
        return self.batch_norm == "trained" and self.rois_per_image == 1 and self.roi_side == 2

    @property
    def misfit(self) -> str | None:
        """Why a detector cannot be trained by these settings, or None.

        They may need classification weights: presets leave open which.
        """
        if self.needs_backbone:
            return (
                "detection.backbone: without classification weights there are no statistics to "
                "freeze at; name some, or train everything (detection.batch_norm=trained, "
                "detection.frozen_stages=0)"
            )
        if self.backbone is None and self.frozen_stages:
            return "detection.frozen_stages: without classification weights all are trained (0)"
        return None
