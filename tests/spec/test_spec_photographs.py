"""Recipes of the ImageNet family: section 3.4, reduced scale, and what cannot go together."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from resnet_repro.base.errors import ConfigError
from resnet_repro.spec.experiment import Choices
from resnet_repro.spec.loading import load_experiment
from resnet_repro.spec.presets import preset_label, preset_recipe
from resnet_repro.spec.recipe import Recipe, changed_recipe, differences, open_choices
from resnet_repro.spec.recipe_parts import Photographs, Plateau
from resnet_repro.spec.run import Run

REDUCED = ("imagenette", "folder:birds", "synthetic")


def test_the_paper_preset_is_section_3_4_on_any_photographs() -> None:
    recipe = preset_recipe("paper", "resnet-50", "imagenet")
    assert (recipe.iterations, recipe.batch_size, recipe.learning_rate) == (600_000, 256, 0.1)
    assert (recipe.momentum, recipe.weight_decay) == (0.9, 1e-4)
    assert (recipe.milestones, recipe.plateau) == ((), Plateau(patience=6, threshold=0.2))
    assert recipe.learning_rate_divisor == 10
    assert recipe.bn_average_iterations == 1_000
    photographs = recipe.photographs
    assert photographs is not None
    assert (photographs.crop, photographs.shorter_side) == (224, (256, 480))
    assert photographs.test_shorter_side == 256
    assert photographs.multi_scale == (224, 256, 384, 480, 640)
    assert (photographs.mirror, photographs.colour_std) == (True, 0.1)
    for network, dataset in (("plain-34", "imagenette"), ("resnet-152", "folder:birds")):
        assert preset_recipe("paper", network, dataset) == recipe


def test_short_is_a_tenth_on_imagenet() -> None:
    recipe = preset_recipe("short", "plain-18", "imagenet")
    full = preset_recipe("paper", "plain-18", "imagenet")
    assert (recipe.iterations, recipe.evaluate_every, recipe.bn_average_iterations) == (
        60_000,
        500,
        100,
    )
    same = {"iterations": 600_000, "evaluate_every": 5_000, "bn_average_iterations": 1_000}
    assert recipe.model_copy(update=same) == full


@pytest.mark.parametrize("dataset", REDUCED)
def test_short_is_smaller_on_other_photographs(dataset: str) -> None:
    recipe = preset_recipe("short", "resnet-34-a", dataset)
    assert (recipe.iterations, recipe.batch_size) == (6_000, 64)
    assert recipe.learning_rate == 0.1 * 64 / 256, "0.1 goes with batches of 256"
    assert (recipe.milestones, recipe.plateau) == ((3_000, 4_500), None)
    assert (recipe.evaluate_every, recipe.bn_average_iterations) == (300, 100)
    assert recipe.photographs == Photographs.for_crop(64)


@pytest.mark.parametrize("dataset", ["imagenet", *REDUCED])
def test_demo_takes_minutes_anywhere(dataset: str) -> None:
    recipe = preset_recipe("demo", "resnet-34-a", dataset)
    assert (recipe.iterations, recipe.batch_size, recipe.milestones) == (120, 32, (60, 90))
    assert recipe.photographs == Photographs.for_crop(32)


def test_sizes_scale_with_the_crop_to_the_nearest_pixel() -> None:
    assert Photographs.for_crop(224) == Photographs()
    half = Photographs.for_crop(112)
    assert half.shorter_side == (128, 240)
    assert (half.test_shorter_side, half.multi_scale) == (128, (112, 128, 192, 240, 320))
    small = Photographs.for_crop(64)
    assert small.shorter_side == (73, 137)  # 73.1 and 137.1
    assert small.multi_scale == (64, 96, 128, 192), "whole cells of the last feature map"
    assert Photographs.for_crop(32).multi_scale == (32, 64, 96)


def test_a_changed_crop_takes_the_other_sizes_with_it_unless_they_are_given() -> None:
    changes = ["recipe.photographs.crop=112"]
    (run, *_) = load_experiment("table2", changes).resolve()
    assert run.recipe.photographs == Photographs.for_crop(112)
    changes.append("recipe.photographs.test_shorter_side=150")
    (run, *_) = load_experiment("table2", changes).resolve()
    assert run.recipe.photographs is not None
    assert run.recipe.photographs.test_shorter_side == 150
    assert run.recipe.photographs.shorter_side == (128, 240)
    paper = preset_recipe("paper", "resnet-50", "imagenet")
    unmirrored = changed_recipe(paper, {"photographs": {"mirror": False}})
    assert unmirrored.photographs == Photographs(mirror=False)
    smaller = changed_recipe(unmirrored, {"photographs": {"crop": 112}}).photographs
    assert smaller == Photographs.for_crop(112).model_copy(update={"mirror": False})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"photographs": {"crop": 8}}, "greater than or equal"),
        ({"photographs": {"crop": "big"}}, "valid integer"),
        ({"photographs": {"shorter_side": [480, 256]}}, "smallest and the largest"),
        ({"photographs": {"shorter_side": [200, 256]}}, "200 is smaller than the crop"),
        ({"photographs": {"test_shorter_side": 223}}, "223 is smaller than the crop"),
        ({"photographs": {"multi_scale": [256, 224]}}, "increasing"),
        ({"photographs": {"multi_scale": []}}, "at least 1"),
        ({"photographs": {"colour_std": -1}}, "greater than or equal"),
        ({"photographs": {"hue": 1}}, "Extra inputs"),
        ({"milestones": [1000]}, r"milestones: .*plateau: null"),
        ({"plateau": {"patience": 0}}, "greater than or equal"),
        ({"plateau": {"threshold": 100}}, "less than"),
        ({"bn_average_iterations": -1}, "greater than or equal"),
        ({"augmentation": {"pad": 2}}, "augmentation: is for 32x32"),
        ({"validation_images": 5000}, "validation_images: only with 32x32"),
    ],
)
def test_impossible_recipes_are_refused(changes: dict[str, Any], words: str) -> None:
    paper = preset_recipe("paper", "resnet-50", "imagenet")
    with pytest.raises(ValidationError, match=words):
        changed_recipe(paper, changes)


def test_milestones_instead_of_the_plateau_rule() -> None:
    paper = preset_recipe("paper", "resnet-50", "imagenet")
    fixed = changed_recipe(paper, {"plateau": None, "milestones": [300_000, 450_000]})
    assert fixed.plateau is None
    assert preset_label(fixed, "resnet-50", "imagenet") == "custom"


def test_measuring_oftener_changes_a_training_only_under_a_plateau_rule() -> None:
    oftener = {"evaluate_every": 100}
    small = preset_recipe("short", "plain-18", "imagenette").model_copy(update=oftener)
    assert preset_label(small, "plain-18", "imagenette") == "short"
    full = preset_recipe("paper", "plain-18", "imagenet").model_copy(update=oftener)
    assert preset_label(full, "plain-18", "imagenet") == "custom"


def test_each_family_has_its_own_kind_of_recipe() -> None:
    of_cifar = preset_recipe("paper", "resnet-20", "cifar10")
    of_imagenet = preset_recipe("paper", "resnet-50", "imagenet")
    with pytest.raises(ValidationError, match="needs `photographs`"):
        Run(network="resnet-50", dataset="imagenet", recipe=of_cifar, seed=0)
    with pytest.raises(ValidationError, match="has no `photographs`"):
        Run(network="resnet-20", dataset="cifar10", recipe=of_imagenet, seed=0)
    with pytest.raises(ConfigError, match="needs `photographs`"):
        load_experiment("table2", ["recipe.photographs=null"])
    with pytest.raises(ConfigError, match="has no `photographs`"):
        load_experiment("fig1", ["recipe.photographs.crop=64"])


def test_vgg_16_learns_without_bn_at_a_lower_rate_for_as_long() -> None:
    for preset, dataset in (("paper", "imagenet"), ("short", "imagenette"), ("demo", "synthetic")):
        vgg, resnet = (preset_recipe(preset, n, dataset) for n in ("vgg-16", "resnet-34-a"))  # type: ignore[arg-type]
        assert set(differences(vgg, resnet)) <= {
            "learning_rate",
            "weight_decay",
            "bn_average_iterations",
        }
        rates = {0.1: "0.01", 0.025: "0.0025", 0.0125: "0.00125"}
        assert str(vgg.learning_rate) == rates[resnet.learning_rate]


def test_compared_networks_have_no_recipe_and_no_run() -> None:
    with pytest.raises(ConfigError, match="only evaluated"):
        preset_recipe("paper", "vgg-19", "imagenet")
    recipe = preset_recipe("paper", "resnet-50", "imagenet")
    with pytest.raises(ValidationError, match="evaluate FILE --network vgg-19"):
        Run(network="vgg-19", dataset="imagenet", recipe=recipe, seed=0)


def test_ids_of_imagenet_runs_never_change() -> None:
    """A refactoring that changes these would orphan every stored result."""
    paper = load_experiment("table2").resolve()
    assert [run.id for run in paper] == [
        "plain-18-imagenet-paper-s0-a8dd7bd0",
        "resnet-18-a-imagenet-paper-s0-4871b74f",
        "plain-34-imagenet-paper-s0-a6a783b5",
        "resnet-34-a-imagenet-paper-s0-f6e4bbad",
    ]
    choices = Choices(preset="short", dataset="imagenette", networks=["plain-18"])
    short = load_experiment("table2", choices=choices).resolve()
    assert [run.id for run in short] == ["plain-18-imagenette-short-s0-5e699727"]


def test_fields_of_photographs_leave_the_hashes_of_cifar_alone() -> None:
    """Their defaults are what CIFAR's recipes have, and only differences are hashed."""
    base = Recipe()
    assert (base.photographs, base.plateau, base.bn_average_iterations) == (None, None, 0)


def test_open_choices_of_a_family() -> None:
    families = ("cifar", "imagenet", "detection")
    of = {family: {c[0] for c in open_choices(family)} for family in families}  # type: ignore[arg-type]
    assert {"plateau.patience", "plateau.threshold", "bn_average_iterations"} <= of["imagenet"]
    assert not of["cifar"] & {"plateau.patience", "bn_average_iterations"}
    assert {"warmup.window", "validation_images"} <= of["cifar"] - of["imagenet"]
    assert "momentum_form" in of["cifar"] & of["imagenet"]
    assert {"detection.frozen_stages", "momentum_form"} <= of["detection"] - {"warmup.window"}
    assert {c[0] for c in open_choices()} == set().union(*of.values())
