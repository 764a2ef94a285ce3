"""The measurements on a run's network besides its training curve, as data.

Storing, reading and removing measurements, and checking experiments, use the table `MEASUREMENTS`;
CONTRIBUTING.md lists what a new one needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, Field, FiniteFloat

from resnet_repro.base.records import member_of
from resnet_repro.spec.network_names import Family
from resnet_repro.spec.tables_figures import Percent, Views

__all__ = [
    "MEASUREMENTS",
    "WITH_COCO",
    "Amount",
    "BnStatistics",
    "Count",
    "CurvatureRow",
    "DetectionRow",
    "EvaluationRow",
    "GradientRow",
    "ImageCount",
    "Measurement",
    "MeasurementName",
    "PathRow",
    "PrecisionRow",
    "ResponseRow",
    "SurfaceRow",
]

# The settings of a detector's average precision where Table 8 asks for COCO's numbers beside it.
WITH_COCO = "with COCO's numbers"
BnStatistics = Literal["running", "average"]
Count = Annotated[int, Field(ge=0, le=10**15)]
ImageCount = Annotated[int, Field(ge=1, le=10**15)]
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _not_negative(number: float) -> float:
    if number < 0:
        raise ValueError("should not be negative")
    return number


Size = Annotated[float, AfterValidator(_not_negative)]  # may be infinite or NaN, which is a finding


class ResponseRow(NamedTuple):
    """The standard deviation of one 3x3 layer's response (Fig. 7)."""

    layer: int  # from 1
    module: str  # of `Architecture.observed`
    std: Amount


class GradientRow(NamedTuple):
    """One 3x3 layer at one moment of a training (section 4.1)."""

    iteration: int
    layer: int  # from 1
    module: str  # of `Architecture.observed`, as in Fig. 7
    forward_std: Size  # of the response after BN, before ReLU or addition
    gradient_norm: Size  # L2 norm of the loss's gradient in the convolution's weights
    weight_norm: Size  # L2 norm of these weights
    # As it trained, or afterwards from the seed and the final weights.
    measured: Literal["training", "afterwards"]
    # L2 norm of the loss's gradient in the response, over the whole batch; earlier files lack it
    signal_norm: Size | None = None


@dataclass(frozen=True)
class EvaluationRow:
    """The errors of one network over a data set's val part, from one or many views per image."""

    views: Views
    top1_error: Percent
    top5_error: Percent  # with fewer than six classes, over as many as there are
    loss: Amount  # cross-entropy of the averaged softmax
    images: ImageCount
    bn: BnStatistics  # which statistics batch normalisation used
    dataset_sha256: str  # of the data set that was evaluated


# Where random directions around trained weights come from. Earlier files lack it; in them the first
# direction of the seed that the run has too is that of its initial weights.
Stream = Literal["directions"]


class SurfaceRow(NamedTuple):
    """The loss at one point around trained weights."""

    directions: int  # seed of the two random directions
    alpha: FiniteFloat  # steps along the first one; 1 is the norm of each of the network's filters
    beta: FiniteFloat
    loss: Size  # mean cross-entropy
    error: Percent
    # Of the training set, not augmented; the centre is measured with all as well.
    images: ImageCount
    sample_seed: int  # for choosing these images
    sample_sha256: str  # of these images and their labels
    # Which statistics BN uses, the trained network's at every point; earlier files lack it.
    bn: BnStatistics | None = None
    fixed: str | None = None  # the parameters that stay as they are: "biases and BN"
    stream: Stream | None = None


class PathRow(NamedTuple):
    """The loss at one point of the straight line between the weights of two runs."""

    to: str  # id of the run at the other end
    position: FiniteFloat  # 0 at the run itself, 1 at the other
    loss: Size  # mean cross-entropy
    error: Percent
    images: ImageCount  # of the training set, not augmented
    sample_seed: int
    sample_sha256: str
    bn: Literal["interpolated"]  # BN's statistics move along


class CurvatureRow(NamedTuple):
    """The Hessian's extreme eigenvalues at one point; NaN where they did not converge."""

    directions: int
    alpha: FiniteFloat
    beta: FiniteFloat
    smallest: float  # eigenvalue
    largest: float
    images: ImageCount
    sample_seed: int
    sample_sha256: str
    stream: Stream | None = None  # of the directions; those of (0, 0) do not matter


class PrecisionRow(NamedTuple):
    """How well the objects of one class are detected (Tables 7, 8, 10 and 11), in percent.

    The numbers of a data set (mAP) are the means over the classes that have objects: see
    `measure.average_precision.mean_over_classes`.
    """

    class_name: str
    ap_11point: Percent | None  # PASCAL VOC 2007's form, at an overlap of 0.5; None without objects
    ap_area: Percent | None  # that of VOC 2010 and later
    objects: Count  # that are not difficult
    detections: Count  # of this class, whatever became of them
    images: Count  # that were searched
    dataset_sha256: str  # of the data set that they are from
    coco_ap: Percent | None = None  # COCO's, the mean over overlaps of 0.5 to 0.95
    coco_ap50: Percent | None = None  # COCO's at 0.5


class DetectionRow(NamedTuple):
    """An object in one of a few test images, or what a detector found there."""

    image: str  # as the data set calls it
    class_name: str
    score: float | None  # None: the object itself
    left: FiniteFloat  # corners in pixels of the image as it is in the data set
    top: FiniteFloat
    right: FiniteFloat
    bottom: FiniteFloat


class Measurement(NamedTuple):
    """A measurement and its file."""

    title: str  # in a report
    file: str  # in the run's folder; if several share it, the first column is their name
    row: type  # its fields are the columns
    families: tuple[Family, ...]  # of the networks that it fits
    digits: int | None = None  # significant digits of stored numbers; None for all
    precision: Literal["fp32", "bf16"] | None = None  # to measure in; None: that of the training

    @property
    def table(self) -> str:
        """The file's name without its suffix: its key in the store."""
        return self.file.removesuffix(".csv")


MEASUREMENTS: dict[str, Measurement] = {
    "responses": Measurement("layer responses", "responses.csv", ResponseRow, ("cifar",)),
    "gradients": Measurement(
        "signals and gradients",
        "gradients.csv",
        GradientRow,
        ("cifar", "imagenet"),
        digits=6,
    ),
    "centre": Measurement("centre-crop errors", "evaluations.csv", EvaluationRow, ("imagenet",)),
    "10-crop": Measurement("10-crop errors", "evaluations.csv", EvaluationRow, ("imagenet",)),
    "multi-scale": Measurement(
        "multi-scale errors", "evaluations.csv", EvaluationRow, ("imagenet",)
    ),
    "surface": Measurement("loss surface", "surface.csv", SurfaceRow, ("cifar",)),
    "path": Measurement("loss between two runs", "path.csv", PathRow, ("cifar",)),
    "curvature": Measurement(
        "curvature of the loss",
        "curvature.csv",
        CurvatureRow,
        ("cifar",),
        precision="fp32",
    ),
    "average-precision": Measurement(
        "average precision",
        "average_precision.csv",
        PrecisionRow,
        ("detection",),
    ),
    "detections": Measurement(
        "detections",
        "detections.csv",
        DetectionRow,
        ("detection",),
    ),
}
MeasurementName = Annotated[
    str, member_of(MEASUREMENTS, f"should be one of {', '.join(MEASUREMENTS)}")
]
