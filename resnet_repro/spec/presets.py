"""Presets: how much of the paper's protocol to spend. The recipe of each for each network."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

from resnet_repro.base.errors import ConfigError
from resnet_repro.spec.detection import Detection
from resnet_repro.spec.network_names import Family, parse_network
from resnet_repro.spec.recipe import Recipe, differences
from resnet_repro.spec.recipe_parts import Augmentation, Photographs, Plateau, Warmup

__all__ = [
    "PRESETS",
    "Preset",
    "preset_label",
    "preset_recipe",
    "presets_of",
    "training_differences",
]

Preset = Literal["paper", "quarter", "short", "demo"]
PRESETS: tuple[Preset, ...] = ("paper", "quarter", "short", "demo")  # by what they spend
SHORT_WINDOW = 100  # iterations; kept, since another value would change the ids of its runs
ONE_EPOCH = Warmup(until_train_error=99.9, window=391)  # whatever it learns
WARMED_UP_DEPTH = 110  # section 4.2: ResNet-110, and ResNet-1202 "trained as described above"

_CIFAR: dict[Preset, dict[str, Any]] = {
    "paper": {},
    # benchmarks/pilots decided on held-out training images that it starts with an epoch at 0.01.
    "quarter": {"iterations": 16_000, "milestones": (8_000, 12_000), "evaluate_every": 400},
    "short": {"iterations": 6_400, "milestones": (3_200, 4_800), "evaluate_every": 400},
    # Chosen by trial on the synthetic data set; all but the length on held-out training images.
    # With the paper's rate, so few iterations show the opposite of its results. Smaller images and
    # batches without random crops (few images are seen twice) let residual networks learn in time.
    # The rate is below the warm-up's.
    "demo": {
        "iterations": 900,
        "batch_size": 16,
        "learning_rate": 0.005,
        "warmup": None,
        "milestones": (720, 810),
        "image_size": 16,
        "augmentation": Augmentation(pad=0),
        "evaluate_every": 90,
    },
}

# Section 3.4: "up to 60 x 10^4 iterations".
_IMAGENET = Recipe(
    iterations=600_000,
    batch_size=256,
    milestones=(),
    plateau=Plateau(patience=6, threshold=0.2),
    photographs=Photographs(),
    bn_average_iterations=1_000,
    evaluate_every=5_000,
)
_TENTH = {"iterations": 60_000, "evaluate_every": 500, "bn_average_iterations": 100}
# At reduced scale the rate is divided at fixed iterations: the plateau rule would judge noise. 0.1
# goes with batches of 256. Length: benchmarks/pilots.
_SMALL: dict[str, Any] = {
    "iterations": 6_000,
    "batch_size": 64,
    "learning_rate": 0.025,
    "milestones": (3_000, 4_500),
    "plateau": None,
    "photographs": Photographs.for_crop(64),
    "bn_average_iterations": 100,
    "evaluate_every": 300,
}
_SMALLEST: dict[str, Any] = {
    "iterations": 120,
    "batch_size": 32,
    "learning_rate": 0.0125,
    "milestones": (60, 90),
    "plateau": None,
    "photographs": Photographs.for_crop(32),
    "bn_average_iterations": 20,
    "evaluate_every": 20,
}
# VGG-16 has no BN: a tenth of the rate, and its own paper's weight decay.
_VGG = {"weight_decay": 5e-4, "bn_average_iterations": 0}
_VGG_SLOWER = 10

# Faster R-CNN's 60,000 and 20,000 mini-batches, with Fast R-CNN's two images in each: here the
# four steps of its training are one.
_DETECTION = Recipe(
    iterations=80_000,
    batch_size=2,
    learning_rate=0.001,
    milestones=(60_000,),
    weight_decay=5e-4,
    evaluate_every=1_000,
    detection=Detection(),
)
# Appendix A: Fast R-CNN's 16 images on 8 GPUs; 240,000 iterations, 80,000 at a lower rate.
_COCO: dict[str, Any] = {
    "iterations": 320_000,
    "batch_size": 16,
    "milestones": (240_000,),
    "detection": Detection(anchor_sides=(64, 128, 256, 512)),
}
# For weights that `short` trains on Imagenette, with crops of 64 pixels: photographs as small as
# they saw them, all but the longest side in proportion. benchmarks/pilots decided size and rate
# on held-out images.
_SMALL_DETECTION: dict[str, Any] = {
    "iterations": 4_000,
    "learning_rate": 0.005,
    "milestones": (3_000,),
    "evaluate_every": 200,
    "detection": Detection(
        shorter_side=128,
        longer_side=229,
        anchor_sides=(27, 55, 110),
        smallest_proposal=3,
        roi_side=7,
        proposals_before_nms=(4_000, 2_000),
        proposals=(1_000, 100),
        rois_per_image=32,
    ),
}
_SMALL_COCO: dict[str, Any] = _SMALL_DETECTION | {
    "detection": _SMALL_DETECTION["detection"].model_copy(
        update={"anchor_sides": (14, 27, 55, 110)}
    ),
}
# From scratch, so that batch normalisation is trained; for generated scenes.
_SMALLEST_DETECTION: dict[str, Any] = {
    "iterations": 400,
    "learning_rate": 0.01,
    "milestones": (320,),
    "evaluate_every": 20,
    "detection": Detection(
        batch_norm="trained",
        frozen_stages=0,
        shorter_side=96,
        longer_side=128,
        anchor_sides=(24, 40),
        anchors_per_image=64,
        smallest_proposal=4,
        proposals_before_nms=(400, 200),
        proposals=(100, 20),
        rois_per_image=16,
        roi_side=7,
    ),
}

# By family. On some data sets other changes are made instead.
_PAPER: dict[Family, Recipe] = {
    "cifar": Recipe(),
    "imagenet": _IMAGENET,
    "detection": _DETECTION,
}
_CHANGES: dict[Family, dict[Preset, dict[str, Any]]] = {
    "cifar": _CIFAR,
    "imagenet": {"paper": {}, "short": _SMALL, "demo": _SMALLEST},
    "detection": {"paper": {}, "short": _SMALL_DETECTION, "demo": _SMALLEST_DETECTION},
}
_ON_DATASET: dict[tuple[Family, Preset, str], dict[str, Any]] = {
    ("imagenet", "short", "imagenet"): _TENTH,
    ("detection", "paper", "coco"): _COCO,
    ("detection", "paper", "coco2017"): _COCO,
    ("detection", "short", "coco"): _SMALL_COCO,
    ("detection", "short", "coco2017"): _SMALL_COCO,
}


def presets_of(network: str) -> tuple[Preset, ...]:
    """The presets that a network's family has, by what they spend.

    Raises:
        ConfigError: no such network.
    """
    return tuple(_CHANGES[parse_network(network).family])


@lru_cache(maxsize=1024)
def preset_recipe(preset: Preset, network: str, dataset: str) -> Recipe:
    """The recipe of a preset for one network on one data set.

    `paper` follows section 4.2 (CIFAR family), 3.4 (ImageNet family) or appendix A (detectors).
    `quarter` and `short` have a quarter and a tenth of the iterations and a schedule to match;
    `short` has smaller images and fewer iterations than that for detectors and on data sets smaller
    than ImageNet. `demo` takes seconds to minutes.

    Raises:
        ConfigError: no such network, one that is only evaluated, or a preset that its family lacks.
    """
    name = parse_network(network)
    if not name.trainable:
        raise ConfigError(f"{network} is only evaluated here: it has no recipe to train it by")
    if preset not in (known := presets_of(network)):
        raise ConfigError(f"{network} has no preset {preset}, but {', '.join(known)}")
    recipe = _PAPER[name.family]
    if name.family == "cifar" and name.residual and name.depth >= WARMED_UP_DEPTH:
        warmup = Warmup(window=SHORT_WINDOW) if preset == "short" else Warmup()
        recipe = recipe.model_copy(update={"warmup": warmup})
    elif preset == "quarter":
        recipe = recipe.model_copy(update={"warmup": ONE_EPOCH})
    changes = _ON_DATASET.get((name.family, preset, dataset)) or _CHANGES[name.family][preset]
    recipe = recipe.model_copy(update=changes)
    if name.compared and name.family == "imagenet":  # VGG-16
        rate = recipe.learning_rate / _VGG_SLOWER
        recipe = recipe.model_copy(update=_VGG | {"learning_rate": rate})
    return recipe


def training_differences(recipe: Recipe, base: Recipe) -> dict[str, Any]:
    """The top-level fields in which `recipe` trains differently from `base`.

    The interval between evaluations is one of them only if a plateau rule uses the evaluations.
    The weights that a detector starts from are not: presets leave them open.
    """
    if recipe.detection and base.detection:
        open_one = recipe.detection.model_copy(update={"backbone": None})
        recipe = recipe.model_copy(update={"detection": open_one})
    changed = differences(recipe, base)
    if recipe.plateau is None and base.plateau is None:
        changed.pop("evaluate_every", None)
    return changed


@lru_cache(maxsize=1024)  # the runs of a results folder have few different recipes
def preset_label(recipe: Recipe, network: str, dataset: str) -> str:
    """The preset that has this recipe, whatever the interval between evaluations; else `custom`."""
    for preset in presets_of(network):
        if not training_differences(recipe, preset_recipe(preset, network, dataset)):
            return preset
    return "custom"
