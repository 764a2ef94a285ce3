"""A narrow detector and a few small scenes, for trainings of seconds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from resnet_repro.data import datasets
from resnet_repro.data.boxes.boxes import BoxDataset
from resnet_repro.data.boxes.scenes import Scenes
from resnet_repro.spec.presets import preset_recipe
from resnet_repro.spec.recipe import Recipe, changed_recipe
from resnet_repro.spec.run import Run

NETWORK = "faster-rcnn-resnet-18-b"
SETTINGS: dict[str, Any] = {
    "shorter_side": 48,
    "longer_side": 64,
    "anchor_sides": [12, 24],
    "anchors_per_image": 32,
    "proposals_before_nms": [60, 30],
    "proposals": [30, 10],
    "rois_per_image": 8,
    "roi_side": 3,
}


def small_recipe(iterations: int, **changes: Any) -> Recipe:
    base = preset_recipe("demo", NETWORK, "scenes")
    fields = {"iterations": iterations, "milestones": [], "evaluate_every": 4}
    return changed_recipe(base, fields, {"detection": SETTINGS}, changes)


def small_run(iterations: int = 8, seed: int = 0, **changes: Any) -> Run:
    recipe = small_recipe(iterations, **changes)
    return Run(network=NETWORK, dataset="scenes", recipe=recipe, seed=seed)


def few_scenes(train: int = 12, test: int = 4) -> BoxDataset:
    whole = datasets.load("scenes", Path("nowhere"))
    return dataclasses.replace(whole, train=Scenes("train", train), test=Scenes("test", test))
