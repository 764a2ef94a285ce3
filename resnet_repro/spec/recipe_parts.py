"""Parts of a recipe, and fields that say where their default comes from."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from resnet_repro.base.records import Frozen

__all__ = [
    "TOTAL_STRIDE",
    "Augmentation",
    "Integer",
    "Photographs",
    "Plateau",
    "Real",
    "Warmup",
    "ZeroChannels",
    "field",
]

FieldKind = Literal["paper", "assumption", "deviation"]
ZeroChannels = Literal["end", "both-sides"]  # where option A's are, after or around the others
PAPER_CROP = 224  # pixels; section 3.4
TOTAL_STRIDE = 32  # pixels of a photograph per pixel of the last feature map (Table 1)
LARGEST_SIDE = 4_096  # pixels


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("should be a number")
    return value


Integer = Annotated[int, BeforeValidator(_number)]
Real = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]


def field(default: Any, kind: FieldKind, reason: str, **limits: Any) -> Any:
    """A field with its default, whether the paper states that value, and the reason."""
    return Field(default, description=reason, json_schema_extra={"kind": kind}, **limits)


Side = Annotated[Integer, Field(ge=16, le=LARGEST_SIDE)]


class Warmup(Frozen):
    """A lower learning rate until the network starts to converge (ResNet-110 and 1202)."""

    learning_rate: Real = field(0.01, "paper", "section 4.2", gt=0, le=100)
    until_train_error: Real = field(
        80.0, "paper", "percent; section 4.2. From 99.9 on any error will do", gt=0, lt=100
    )
    window: Integer = field(
        391,
        "assumption",
        "iterations over which the running training error is judged; the paper says that it took "
        "about 400 iterations, which fits the running error over an epoch (391 batches of 128); "
        "over 100 iterations ResNet-110's warm-up ended here after the first 100",
        ge=1,
        le=100_000,
    )

    @property
    def length(self) -> int | None:
        """Iterations, where it ends after one window whatever the error; else None."""
        return self.window if self.until_train_error >= 99.9 else None


class Plateau(Frozen):
    """When the error has reached a plateau, so that the learning rate is divided (3.4).

    It is judged on the running training error at the points of the curve, never on the test set.
    """

    patience: Integer = field(
        6,
        "assumption",
        "points of the curve without progress after which the learning rate is divided; the paper "
        "says only `when the error plateaus`",
        ge=1,
        le=1_000,
    )
    threshold: Real = field(
        0.2,
        "assumption",
        "percentage points by which the best running training error must fall to count as progress",
        ge=0,
        lt=100,
    )
    divisions: Integer = field(
        3, "assumption", "the learning rate is divided at most so many times", ge=1, le=20
    )


class Augmentation(Frozen):
    """Random crop of the padded image or of its mirror (section 4.2)."""

    pad: Integer = field(4, "paper", "pixels on each side; section 4.2", ge=0, le=32)
    mirror: bool = field(True, "paper", "half of the time; section 4.2")
    fill: Literal["mean", "black"] = field(
        "mean",
        "assumption",
        "zeros are padded after the mean is subtracted: padding is the mean; `black` pads first",
    )


class Photographs(Frozen):
    """How photographs of any size become a network's input (section 3.4). Sizes are pixels."""

    crop: Side = field(PAPER_CROP, "paper", "side of the network's input; section 3.4")
    shorter_side: tuple[Side, Side] = field(
        (256, 480), "paper", "drawn uniformly from these, both included, in training; section 3.4"
    )
    test_shorter_side: Side = field(
        256,
        "assumption",
        "of the centre crop and of 10-crop testing; as the authors' released models are tested",
    )
    mirror: bool = field(True, "paper", "half of the time; section 3.4")
    colour_std: Real = field(
        0.1,
        "paper",
        "colour augmentation along the principal components of the training set's colours, as in "
        "AlexNet; 0 turns it off; section 3.4",
        ge=0,
        le=10,
    )
    multi_scale: tuple[Side, ...] = field(
        (224, 256, 384, 480, 640),
        "paper",
        "shorter sides over which multi-scale testing averages; section 3.4",
        min_length=1,
        max_length=20,
    )

    @model_validator(mode="after")
    def _fit(self) -> Self:
        low, high = self.shorter_side
        if low > high:
            raise ValueError("shorter_side: should be the smallest and the largest side")
        for name, side in (
            ("shorter_side", low),
            ("test_shorter_side", self.test_shorter_side),
            ("multi_scale", min(self.multi_scale)),
        ):
            if side < self.crop:
                raise ValueError(f"{name}: {side} is smaller than the crop ({self.crop})")
        if list(self.multi_scale) != sorted(set(self.multi_scale)):
            raise ValueError("multi_scale: should be different sides in increasing order")
        return self

    @classmethod
    def for_crop(cls, crop: int) -> Photographs:
        """The paper's sizes scaled to another crop, rounded to the nearest integer.

        Those of multi-scale testing are multiples of 32, each once, where the crop is one: the last
        feature map has a cell for 32 pixels, and one that begins at the edge sees mostly padding.

        Raises:
            pydantic.ValidationError: the crop is too small or too large.
        """

        def scaled(side: int) -> int:
            return max(crop, (side * crop + PAPER_CROP // 2) // PAPER_CROP)

        def in_cells(side: int) -> int:
            return side if crop % TOTAL_STRIDE else TOTAL_STRIDE * round(side / TOTAL_STRIDE)

        paper = cls()
        low, high = paper.shorter_side
        return cls(
            crop=crop,
            shorter_side=(scaled(low), scaled(high)),
            test_shorter_side=scaled(paper.test_shorter_side),
            multi_scale=tuple(sorted({in_cells(scaled(side)) for side in paper.multi_scale})),
        )
