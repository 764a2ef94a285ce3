"""The recipe of one training, and how two recipes differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from resnet_repro.base.records import Frozen
from resnet_repro.spec.detection import Detection
from resnet_repro.spec.network_names import Family
from resnet_repro.spec.recipe_parts import (
    TOTAL_STRIDE,
    Augmentation,
    Integer,
    Photographs,
    Plateau,
    Real,
    Warmup,
    ZeroChannels,
    field,
)

__all__ = ["OF_CROP", "Recipe", "changed_recipe", "differences", "merge", "open_choices"]

MOST_ITERATIONS = 10_000_000
# Fields that do not affect the training of a detector.
OF_CLASSIFIERS = (
    *("plateau", "warmup", "augmentation", "image_size", "photographs", "classifier_init"),
    *("bn_average_iterations", "validation_images"),
)


class Recipe(Frozen):
    """Everything that decides how a network is trained. The defaults are those of section 4.2."""

    iterations: Integer = field(64_000, "paper", "section 4.2", ge=1, le=MOST_ITERATIONS)
    batch_size: Integer = field(128, "paper", "section 4.2", ge=1, le=65_536)
    micro_batch_size: Integer | None = field(
        None,
        "deviation",
        "images per forward pass, which is what batch normalisation sees; the paper's two GPUs saw "
        "64 each on CIFAR-10, the authors' eight 32 each on ImageNet; one device sees the whole "
        "batch unless this says otherwise",
        ge=1,
        le=65_536,
    )
    learning_rate: Real = field(0.1, "paper", "sections 3.4 and 4.2", gt=0, le=100)
    milestones: tuple[Annotated[Integer, Field(le=MOST_ITERATIONS)], ...] = field(
        (32_000, 48_000), "paper", "iterations at which the rate is divided; section 4.2"
    )
    learning_rate_divisor: Real = field(10.0, "paper", "sections 3.4 and 4.2", gt=1, le=1e6)
    plateau: Plateau | None = field(
        None, "paper", "section 3.4: the rate is divided when the error plateaus, on ImageNet"
    )
    warmup: Warmup | None = field(
        None,
        "paper",
        'section 4.2: ResNet-110 has it, and ResNet-1202, "trained as described above"',
    )
    momentum: Real = field(0.9, "paper", "sections 3.4 and 4.2", ge=0, lt=1)
    momentum_form: Literal["caffe", "torch"] = field(
        "caffe",
        "assumption",
        "caffe: v = m v + lr g, as the authors' framework has it; torch: v = m v + g, p -= lr v. "
        "They differ for a short while after each change of the learning rate",
    )
    nesterov: bool = field(
        False, "paper", "momentum that looks ahead, as in Li et al. 2018; not in this paper"
    )
    weight_decay: Real = field(1e-4, "paper", "sections 3.4 and 4.2", ge=0, le=1)
    weight_decay_scope: Literal["all", "weights"] = field(
        "all",
        "assumption",
        "all parameters, or only the weights of convolutions and classifier (not BN, not biases)",
    )
    augmentation: Augmentation = field(
        Augmentation(), "paper", "section 4.2; of 32x32 images in the CIFAR family"
    )
    image_size: Integer | None = field(
        None,
        "paper",
        "pixels; to what side the 32x32 images of the CIFAR family are averaged down; null leaves "
        "them as they are, section 4.2",
        ge=8,
        lt=32,
    )
    photographs: Photographs | None = field(
        None, "paper", "section 3.4: sizes, crops and colours in the ImageNet family"
    )
    detection: Detection | None = field(
        None, "paper", "appendix A: Faster R-CNN, of detectors and of nothing else"
    )
    partial_batch: Literal["wrap", "drop"] = field(
        "wrap",
        "assumption",
        "an epoch's last partial batch is filled from the next epoch's permutation, or dropped",
    )
    convolution_init: Literal["he-fan-in", "he-fan-out"] = field(
        "he-fan-in",
        "assumption",
        "the paper cites He et al. 2015, which allows either; fan-in is its forward case",
    )
    classifier_init: Literal["he-fan-in", "uniform"] = field(
        "he-fan-in",
        "assumption",
        "the paper does not single out the classifier; the first loss then grows with depth (3.8, "
        "6.9 and 8.3 for ResNet-20, 56 and 110; uniform: 2.6, 3.1 and 4.2; chance is 2.3)",
    )
    gate_bias: Real = field(
        -6.0,
        "paper",
        "where the biases of gates on shortcuts start; He et al. 2016 tried 0 to -10 (its Table 1)",
        ge=-100,
        le=100,
    )
    zero_channels: ZeroChannels = field(
        "end", "assumption", "where option A puts the zero channels"
    )
    bn_epsilon: Real = field(1e-5, "assumption", "not stated", gt=0, le=1)
    bn_momentum: Real = field(
        0.1, "assumption", "weight of the newest batch in BN's running statistics", gt=0, le=1
    )
    bn_average_iterations: Integer = field(
        0,
        "assumption",
        "training batches over which BN's statistics are averaged anew after the last iteration, "
        "as the notes to the authors' released ImageNet models say without a number; 0 keeps the "
        "running ones",
        ge=0,
        le=1_000_000,
    )
    validation_images: Integer = field(
        0,
        "assumption",
        "training images held out; 5000 is the 45k/5k split on which the paper chose the schedule. "
        "Whether its test errors come from 45k or 50k images is not stated; we train on all 50k",
        ge=0,
        le=10_000_000,
    )
    evaluate_every: Integer = field(
        500,
        "assumption",
        "iterations between two points of the curve: training error is the running error over the "
        "augmented minibatches since the last point, test error is of the whole test set",
        ge=1,
        le=MOST_ITERATIONS,
    )

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        for problem in self._problems():
            raise ValueError(problem)
        return self

    def _problems(self) -> Iterator[str]:
        """What does not go together, each beginning with a field."""
        milestones = list(self.milestones)
        if any(m < 1 for m in milestones) or milestones != sorted(set(milestones)):
            yield "milestones: should be positive and increasing"
        if milestones and milestones[-1] >= self.iterations:
            yield (
                f"milestones: {milestones[-1]} is not before the end "
                f"(iterations: {self.iterations}); they are iterations, too, and go with these: "
                f"milestones: [{self.iterations // 2}, {3 * self.iterations // 4}]"
            )
        if milestones and self.plateau:
            yield (
                "milestones: with a plateau rule there are none ([]); "
                "for fixed ones turn the rule off (plateau: null)"
            )
        if self.nesterov and not self.momentum:
            yield "nesterov: looks ahead along the momentum, which is 0"
        if self.micro_batch_size and self.batch_size % self.micro_batch_size:
            yield (
                f"micro_batch_size: {self.micro_batch_size} does not divide "
                f"batch_size ({self.batch_size})"
            )
        if reason := self.too_few_for_norm(self.micro_batch_size or self.batch_size):
            yield f"{'micro_batch_size' if self.micro_batch_size else 'batch_size'}: {reason}"
        if self.photographs and self.augmentation != Augmentation():
            yield "augmentation: is for 32x32 images; photographs have `photographs` instead"
        if self.photographs and self.image_size:
            yield "image_size: is for 32x32 images; photographs have `photographs.crop`"
        if self.photographs and self.validation_images:
            yield "validation_images: only with 32x32 images can some be held out"
        for name in OF_CLASSIFIERS if self.detection else ():
            if getattr(self, name) != type(self).model_fields[name].default:
                yield f"{name}: is of classification; detectors have `detection` instead"

    @property
    def side(self) -> int | None:
        """Pixels of the network's input (of a detector's, the shorter side); None as they are."""
        if self.detection:
            return self.detection.shorter_side
        return self.photographs.crop if self.photographs else self.image_size

    @property
    def starts_from(self) -> str | None:
        """The id of the run whose weights a detector starts from, if any."""
        backbone = self.detection.backbone if self.detection else None
        return backbone.run if backbone else None

    def too_few_for_norm(self, images: int) -> str | None:
        """Why batch normalisation needs more than so many images in a forward pass, or None.

        A channel with a single value has no standard deviation.
        """
        if images > 1:
            return None
        if self.detection and self.detection.has_single_value:
            single, larger = "a region of 2x2 places", "more regions, or places (roi_side)"
        elif self.photographs and self.photographs.crop <= TOTAL_STRIDE:
            single = f"one image of {self.photographs.crop} pixels"
            larger = f"a crop of more than {TOTAL_STRIDE} pixels"
        else:
            return None
        return (
            f"{single} has a last feature map of 1x1, and batch normalisation needs more than one "
            f"value; take more images at a time, or {larger}"
        )


OF_CROP = {"crop", "shorter_side", "test_shorter_side", "multi_scale"}  # sizes of photographs


def changed_recipe(base: Recipe, *changes: Mapping[str, Any]) -> Recipe:
    """`base` with changes applied in order, validated.

    A change of `photographs.crop` scales the other sizes of `photographs` in proportion.

    Raises:
        pydantic.ValidationError: the result is invalid.
    """
    if not any(changes):
        return base
    values = base.model_dump(mode="json")
    for change in changes:
        photographs = change.get("photographs")
        if isinstance(photographs, dict) and "crop" in photographs:
            values = merge(values, {"photographs": _sizes_for(photographs["crop"])})
        values = merge(values, dict(change))
    return Recipe.model_validate(values)


def _sizes_for(crop: Any) -> dict[str, Any]:
    """The sizes for a crop; none for an invalid crop, which validation refuses later."""
    try:
        sizes = Photographs.for_crop(crop)
    except (ValidationError, TypeError):
        return {}
    return sizes.model_dump(mode="json", include=OF_CROP)


def differences(recipe: Recipe, base: Recipe) -> dict[str, Any]:
    """The top-level fields of `recipe` that differ from those of `base`."""
    names = [n for n in Recipe.model_fields if getattr(recipe, n) != getattr(base, n)]
    return recipe.model_dump(mode="json", include=set(names)) if names else {}


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` updated by `changes`; nested mappings are merged."""
    merged = dict(base)
    for key, value in changes.items():
        below = merged.get(key)
        merged[key] = (
            merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
        )
    return merged


_OF_FAMILY: dict[Family, tuple[str, ...]] = {
    "cifar": ("augmentation.", "warmup.", "validation_images"),
    "imagenet": ("photographs.", "plateau.", "bn_average_iterations"),
    "detection": ("detection.",),
}


def open_choices(*families: Family) -> list[tuple[str, str, Any, str]]:
    """(field, kind, default, reason) of every field that is an assumption or a deviation.

    With families, without the fields that affect only others.
    """
    elsewhere = [fields for of, fields in _OF_FAMILY.items() if families and of not in families]
    others = tuple(name for fields in elsewhere for name in fields)
    rows = []
    parts = (
        ("", Recipe),
        ("augmentation.", Augmentation),
        ("warmup.", Warmup),
        ("photographs.", Photographs),
        ("plateau.", Plateau),
        ("detection.", Detection),
    )
    for prefix, model in parts:
        for name, info in model.model_fields.items():
            extra = info.json_schema_extra
            kind = extra.get("kind") if isinstance(extra, dict) else None
            known = kind in ("assumption", "deviation")
            if known and not (prefix + name).startswith(others):
                rows.append((prefix + name, str(kind), info.default, info.description or ""))
    return rows
