"""The recipe: everything that decides how a network is trained (section 4.2).

Each field says whether the paper states its value (`paper`), leaves it open (`assumption`) or has
it otherwise (`deviation`), and why we chose ours. The defaults are the paper's protocol and never
change: a run's id is derived from what differs from them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from resnet_repro.names import parse_network

__all__ = [
    "PRESETS",
    "Augmentation",
    "Preset",
    "Recipe",
    "Warmup",
    "merge",
    "open_choices",
    "preset_label",
    "preset_recipe",
]

Preset = Literal["paper", "short", "demo"]
PRESETS: tuple[Preset, ...] = ("paper", "short", "demo")
WARMED_UP_DEPTH = 110  # section 4.2: ResNet-110, and ResNet-1202 "trained as described above"


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("should be a number")
    return value


Count = Annotated[int, BeforeValidator(_number)]
Real = Annotated[float, BeforeValidator(_number), Field(allow_inf_nan=False)]


def _field(default: Any, kind: str, reason: str, **limits: Any) -> Any:
    return Field(default, description=reason, json_schema_extra={"kind": kind}, **limits)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Warmup(_Frozen):
    """A lower learning rate until the network starts to converge (ResNet-110 and 1202)."""

    learning_rate: Real = _field(0.01, "paper", "section 4.2", gt=0, le=100)
    until_train_error: Real = _field(80.0, "paper", "percent; section 4.2", gt=0, lt=100)
    window: Count = _field(
        100,
        "assumption",
        "iterations over which the running training error is judged; the paper says only that "
        "it took about 400 iterations",
        ge=1,
        le=100_000,
    )


class Augmentation(_Frozen):
    """Random crop of the padded image or of its mirror (section 4.2)."""

    pad: Count = _field(4, "paper", "pixels on each side; section 4.2", ge=0, le=32)
    mirror: bool = _field(True, "paper", "half of the time; section 4.2")
    fill: Literal["mean", "black"] = _field(
        "mean",
        "assumption",
        "zeros are padded after the mean is subtracted: padding is the mean; `black` pads first",
    )


class Recipe(_Frozen):
    """Everything that decides how a network is trained; the defaults are section 4.2."""

    iterations: Count = _field(64_000, "paper", "section 4.2", ge=1, le=10_000_000)
    batch_size: Count = _field(128, "paper", "section 4.2", ge=1, le=65_536)
    micro_batch_size: Count | None = _field(
        None,
        "deviation",
        "images per forward pass, which is what batch normalisation sees; the paper's two GPUs saw "
        "64 each, one device sees the whole batch unless this says otherwise",
        ge=1,
        le=65_536,
    )
    learning_rate: Real = _field(0.1, "paper", "section 4.2", gt=0, le=100)
    milestones: tuple[Annotated[Count, Field(le=10_000_000)], ...] = _field(
        (32_000, 48_000), "paper", "iterations at which the rate is divided; section 4.2"
    )
    learning_rate_divisor: Real = _field(10.0, "paper", "section 4.2", gt=1, le=1e6)
    warmup: Warmup | None = _field(
        None, "paper", "section 4.2: only ResNet-110 and 1202 need it, and only they have it"
    )
    momentum: Real = _field(0.9, "paper", "section 4.2", ge=0, lt=1)
    momentum_form: Literal["caffe", "torch"] = _field(
        "caffe",
        "assumption",
        "caffe: v = m v + lr g, as the authors' framework has it; torch: v = m v + g, p -= lr v. "
        "They differ for a short while after each change of the learning rate",
    )
    weight_decay: Real = _field(1e-4, "paper", "section 4.2", ge=0, le=1)
    weight_decay_scope: Literal["all", "weights"] = _field(
        "all",
        "assumption",
        "all parameters, or only the weights of convolutions and classifier (not BN, not biases)",
    )
    augmentation: Augmentation = _field(Augmentation(), "paper", "section 4.2")
    partial_batch: Literal["wrap", "drop"] = _field(
        "wrap",
        "assumption",
        "an epoch's last partial batch is filled from the next epoch's permutation, or dropped",
    )
    convolution_init: Literal["he-fan-in", "he-fan-out"] = _field(
        "he-fan-in",
        "assumption",
        "the paper cites He et al. 2015, which allows either; fan-in is its forward case",
    )
    classifier_init: Literal["he-fan-in", "uniform"] = _field(
        "he-fan-in", "assumption", "the paper does not single out the classifier"
    )
    zero_channels: Literal["end", "both-sides"] = _field(
        "end", "assumption", "where option A puts the zero channels"
    )
    bn_epsilon: Real = _field(1e-5, "assumption", "not stated", gt=0, le=1)
    bn_momentum: Real = _field(
        0.1, "assumption", "weight of the newest batch in BN's running statistics", gt=0, le=1
    )
    validation_images: Count = _field(
        0,
        "assumption",
        "training images held out; 5000 is the 45k/5k split on which the paper chose the schedule. "
        "Whether its test errors come from 45k or 50k images is not stated; we train on all 50k",
        ge=0,
        le=10_000_000,
    )
    evaluate_every: Count = _field(
        500,
        "assumption",
        "iterations between two points of the curve: training error is the running error over the "
        "augmented minibatches since the last point, test error is of the whole test set",
        ge=1,
        le=10_000_000,
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if any(m < 1 for m in self.milestones) or list(self.milestones) != sorted(
            set(self.milestones)
        ):
            raise ValueError("milestones: should be positive and increasing")
        if self.milestones and self.milestones[-1] >= self.iterations:
            raise ValueError(
                f"milestones: {self.milestones[-1]} is not before the end "
                f"(iterations: {self.iterations})"
            )
        if self.micro_batch_size and self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"micro_batch_size: {self.micro_batch_size} does not divide "
                f"batch_size ({self.batch_size})"
            )
        return self


def preset_recipe(preset: Preset, network: str) -> Recipe:
    """The recipe of a preset for one network.

    `paper` is section 4.2. `short` has a tenth of the iterations, the schedule scaled with it.
    `demo` has minutes' worth, with smaller batches.
    """
    name = parse_network(network)
    needs_warmup = name.residual and name.depth >= WARMED_UP_DEPTH
    paper = Recipe(warmup=Warmup() if needs_warmup else None)
    if preset == "short":
        return paper.model_copy(
            update={"iterations": 6_400, "milestones": (3_200, 4_800), "evaluate_every": 400}
        )
    if preset == "demo":
        return paper.model_copy(
            update={
                "iterations": 240,
                "batch_size": 32,
                "milestones": (120, 180),
                "evaluate_every": 40,
            }
        )
    return paper


def preset_label(recipe: Recipe, network: str) -> str:
    """The preset whose recipe this is, or `custom`. How often it was measured does not matter."""
    for preset in PRESETS:
        if differences(recipe, preset_recipe(preset, network)).keys() <= {"evaluate_every"}:
            return preset
    return "custom"


def differences(recipe: Recipe, base: Recipe) -> dict[str, Any]:
    """The top-level fields of `recipe` that are not as in `base`."""
    return {
        field: value
        for field, value in recipe.model_dump(mode="json").items()
        if getattr(recipe, field) != getattr(base, field)
    }


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, nested mappings field by field."""
    merged = dict(base)
    for key, value in changes.items():
        below = merged.get(key)
        merged[key] = (
            merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
        )
    return merged


def open_choices() -> list[tuple[str, str, Any, str]]:
    """(field, kind, default, reason) of every field that is an assumption or a deviation."""
    rows = []
    for prefix, model in (("", Recipe), ("augmentation.", Augmentation), ("warmup.", Warmup)):
        for name, field in model.model_fields.items():
            extra = field.json_schema_extra
            kind = extra.get("kind") if isinstance(extra, dict) else None
            if kind in ("assumption", "deviation"):
                rows.append((prefix + name, str(kind), field.default, field.description or ""))
    return rows
