"""Generated scenes: the same everywhere, and boxes that are where the shapes are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.ops import box_iou

from resnet_repro.base.errors import ConfigError, DataError
from resnet_repro.data import datasets
from resnet_repro.data.boxes import scenes
from resnet_repro.data.boxes.boxes import BoxDataset
from resnet_repro.data.boxes.scenes import CLASSES, Scenes, draw_scene


@pytest.fixture(scope="module")
def dataset() -> BoxDataset:
    return datasets.load("scenes", Path("nowhere"))


def test_an_item_is_an_image_and_its_target(dataset: BoxDataset) -> None:
    assert dataset.classes == CLASSES == ("disc", "ring", "square", "cross", "triangle")
    assert (len(dataset.train), len(dataset.test)) == (2_000, 500)
    seen = set()
    for index in range(40):
        image, target = dataset.train[index]
        assert image.dtype == torch.uint8
        assert image.shape[0] == 3
        height, width = image.shape[1:]
        seen.add((height, width))
        count = len(target.boxes)
        assert target.boxes.shape == (count, 4)
        assert target.boxes.dtype == torch.float32
        assert target.labels.dtype == torch.int64
        assert target.difficult.dtype == torch.bool
        assert len(target.labels) == len(target.difficult) == count > 0
        assert ((target.labels >= 1) & (target.labels <= len(CLASSES))).all()
        assert (target.boxes[:, :2] < target.boxes[:, 2:]).all()
        assert (target.boxes >= 0).all()
        assert (target.boxes[:, 2] <= width).all()
        assert (target.boxes[:, 3] <= height).all()
        assert target.image_id == f"train-{index:05d}"
    assert len(seen) == 3
    with pytest.raises(IndexError):
        dataset.test[500]


def test_a_scene_depends_on_part_and_index_alone(dataset: BoxDataset) -> None:
    image, target = dataset.train[3]
    image.zero_()  # what somebody does with an item changes nothing
    target.boxes.zero_()
    again = Scenes("train", 10)[3]
    assert again[0].any()
    assert again[1].boxes.any()
    for other in (dataset.test[3], dataset.train[4]):
        assert other[0].shape != again[0].shape or not torch.equal(other[0], again[0])


def test_boxes_are_around_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """On black, with noise of up to 10: objects that are alone, one after another."""
    monkeypatch.setattr(
        scenes, "_background", lambda _, x, y: np.zeros((3, len(y), len(x)), np.float32)
    )
    alone = 0
    for index in range(120):
        scene = draw_scene.__wrapped__(0, index)
        if len(scene.boxes) != 1 or scene.difficult.any():
            continue
        alone += 1
        x1, y1, x2, y2 = scene.boxes[0].astype(int)
        seen = scene.pixels.max(0) > 10
        assert 0.15 < seen[y1:y2, x1:x2].mean() <= 1
        assert all(edge.any() for edge in (seen[y1], seen[y2 - 1], seen[:, x1], seen[:, x2 - 1]))
        seen[max(y1 - 1, 0) : y2 + 1, max(x1 - 1, 0) : x2 + 1] = False  # smooth edges
        assert not seen.any()
    assert alone > 5


def test_there_are_overlaps_and_a_few_difficult_objects_of_all_classes() -> None:
    some = [draw_scene(0, index) for index in range(200)]
    labels = np.concatenate([scene.labels for scene in some])
    assert (np.bincount(labels, minlength=6)[1:] > 80).all()
    difficult = np.concatenate([scene.difficult for scene in some])
    assert 0.05 < difficult.mean() < 0.3
    sides = np.concatenate([(s.boxes[:, 2:] - s.boxes[:, :2]).max(1) for s in some])
    assert (difficult & (sides <= 16)).any(), "small and faint"
    assert (difficult & (sides > 20)).any(), "hidden by others"
    overlaps = [box_iou(*[torch.tensor(s.boxes)] * 2).fill_diagonal_(0) for s in some]
    assert sum(bool((overlap > 0.3).any()) for overlap in overlaps) > 20


def test_the_checksum_is_known_and_others_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    identity = datasets.verify("scenes", Path("nowhere")).identity
    assert identity.official
    assert len(identity.sha256) == 64
    monkeypatch.setattr(scenes.SCENES, "sha256", "0" * 64)
    with pytest.raises(DataError, match="generates other images here"):
        datasets.prepare("scenes", Path("nowhere"))


def test_scenes_are_not_brought(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to bring or download"):
        datasets.prepare("scenes", tmp_path, tmp_path, download=True)
    assert "scenes" in [status.name for status in datasets.describe(tmp_path)]
