"""Recipes and runs of detectors (Tables 7 and 8)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from resnet_repro.base.errors import ConfigError
from resnet_repro.spec.detection import Backbone, Detection
from resnet_repro.spec.experiment import Choices
from resnet_repro.spec.loading import load_experiment, parse_experiment
from resnet_repro.spec.presets import preset_label, preset_recipe, presets_of
from resnet_repro.spec.recipe import Recipe, changed_recipe, open_choices
from resnet_repro.spec.recipe_parts import Augmentation, Photographs, Warmup
from resnet_repro.spec.run import Run
from resnet_repro.spec.yaml_io import parse_yaml, write_yaml

NETWORK = "faster-rcnn-resnet-18-a"
PRETRAINED = {"run": "resnet-18-a-imagenette-short-s0-3bfd8a10"}


def of_preset(preset: Any, dataset: str = "scenes", **changes: Any) -> Recipe:
    return changed_recipe(preset_recipe(preset, NETWORK, dataset), {"detection": changes})


def run_of(recipe: Recipe, network: str = NETWORK) -> Run:
    return Run(network=network, dataset="scenes", recipe=recipe, seed=0)


def test_the_paper_preset_is_faster_rcnns_schedule() -> None:
    recipe = preset_recipe("paper", NETWORK, "scenes")
    assert (recipe.iterations, recipe.milestones, recipe.batch_size) == (80_000, (60_000,), 2)
    assert (recipe.learning_rate, recipe.momentum, recipe.weight_decay) == (0.001, 0.9, 0.0005)
    assert recipe.detection == Detection()


def test_coco_has_an_anchor_more_in_proportion() -> None:
    for preset, sides in (("paper", (64, 128, 256, 512)), ("short", (14, 27, 55, 110))):
        for dataset, anchors in (("coco", sides), ("coco2017", sides), ("voc07", sides[1:])):
            detection = preset_recipe(preset, NETWORK, dataset).detection
            assert detection is not None
            assert detection.anchor_sides == anchors


@pytest.mark.parametrize("preset", presets_of(NETWORK))
def test_a_run_is_labelled_by_its_preset_whatever_it_starts_from(preset: Any) -> None:
    recipe = of_preset(preset, backbone=PRETRAINED)
    assert preset_label(recipe, NETWORK, "scenes") == preset
    other = of_preset(preset, backbone=PRETRAINED, shorter_side=72)
    assert preset_label(other, NETWORK, "scenes") == "custom"
    assert run_of(recipe).id != run_of(of_preset(preset, backbone={"run": "another"})).id


def test_only_the_demo_trains_from_scratch() -> None:
    run_of(of_preset("demo"))
    for preset in ("paper", "short"):
        with pytest.raises(ValidationError, match="without classification weights"):
            run_of(of_preset(preset))
    with pytest.raises(ValidationError, match="frozen_stages"):
        run_of(of_preset("paper", batch_norm="trained"))


@pytest.mark.parametrize(
    "backbone",
    [
        {},
        {"run": "a", "file": "b", "sha256": "0" * 64},
        {"file": "resnet50.pth"},
        {"sha256": "0" * 64},
        {"file": "../resnet50.pth", "sha256": "0" * 64},
        {"file": "resnet50.pth", "sha256": "xyz"},
    ],
)
def test_a_backbone_is_a_run_or_a_file_with_its_checksum(backbone: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        Backbone.model_validate(backbone)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"longer_side": 500}, "longer_side"),
        ({"anchor_overlap": [0.7, 0.3]}, "anchor_overlap"),
        ({"proposals": [0, 100]}, "proposals"),
        ({"anchor_sides": []}, "anchor_sides"),
        ({"rois_per_image": True}, "rois_per_image"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        of_preset("paper", **changes)


def test_batch_norm_over_one_value_is_refused() -> None:
    def with_regions(batch_size: int, **regions: Any) -> Recipe:
        return Recipe(batch_size=batch_size, detection=Detection(**regions))

    single: dict[str, Any] = {"rois_per_image": 1, "roi_side": 2, "batch_norm": "trained"}
    with pytest.raises(ValidationError, match="batch_size: a region of 2x2 places"):
        with_regions(1, **single)
    with_regions(2, **single)
    for enough in ({"rois_per_image": 2}, {"roi_side": 3}, {"batch_norm": "frozen"}):
        with_regions(1, **(single | enough))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("photographs", Photographs()),
        ("warmup", Warmup()),
        ("validation_images", 100),
        ("augmentation", Augmentation(pad=0)),
        ("bn_average_iterations", 10),
    ],
)
def test_a_detectors_recipe_has_nothing_of_classification(name: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=name):
        Recipe(detection=Detection(), **{name: value})


def test_detection_goes_with_detectors_and_with_nothing_else() -> None:
    with pytest.raises(ValidationError, match="has no `detection`"):
        Run(network="resnet-20", dataset="cifar10", recipe=of_preset("demo"), seed=0)
    with pytest.raises(ValidationError, match="needs `detection`"):
        run_of(Recipe())


@pytest.mark.parametrize(
    ("pretraining", "words"),
    [
        ({"recipe": {"batch_size": -1}}, r"line 9: pretraining\.recipe\.batch_size: "),
        ({"dataset": "cifar10"}, "line 7: pretraining: .* does not go with cifar10"),
    ],
)
def test_mistakes_in_the_training_of_a_backbone_are_told_there(
    pretraining: dict[str, Any], words: str
) -> None:
    mine = {"name": "mine", "title": "t", "dataset": "voc07", "runs": [{"networks": [NETWORK]}]}
    text = write_yaml(mine | {"pretraining": pretraining})
    with pytest.raises(ConfigError, match=words):
        parse_experiment(parse_yaml(text, "mine.yaml"))


def test_data_without_test_images_are_refused_before_training(command: Any) -> None:
    for more in ((), ("--dry-run",)):
        answer = command("run", "table7", "--dataset", "voc07++12", *more)
        said = "table7: average-precision needs test images, and voc07++12 has none"
        assert (answer.code, said in answer.err) == (2, True), answer.err
    assert command("show", "table7", "--dataset", "voc07++12").code == 0


def test_a_run_of_data_without_test_images_is_repeated_from_its_file(
    command: Any, tmp_path: Path
) -> None:
    experiment = load_experiment("table7", choices=Choices(dataset="voc07++12"))
    run = next(run for run in experiment.resolve() if run.recipe.detection)
    (tmp_path / "config.yaml").write_text(run.to_yaml(), encoding="utf-8")
    answer = command("run", "config.yaml", "--dry-run")
    assert (answer.code, run.id in answer.out) == (0, True), answer.err


def test_every_setting_says_where_it_comes_from() -> None:
    fields = {f"detection.{name}": info for name, info in Detection.model_fields.items()}
    kinds = {name: info.json_schema_extra["kind"] for name, info in fields.items()}  # type: ignore[index,call-overload]
    assert set(kinds.values()) == {"paper", "assumption", "deviation"}
    assert all(info.description for info in fields.values())
    told = {name for name, *_ in open_choices("detection")}
    assert told >= {name for name, kind in kinds.items() if kind != "paper"}
    assert not any(name.startswith("detection.") for name, *_ in open_choices("cifar"))
