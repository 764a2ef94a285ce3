"""COCO's layout: what is read from it, and what is refused, with the file's name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_boxes import write_coco, write_image

from resnet_repro.base.errors import ConfigError, DataError
from resnet_repro.data import datasets
from resnet_repro.data.boxes.boxes import BoxDataset

JSON = "annotations/instances_train2014.json"


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "data" / "coco2014")


def load(coco: Path) -> BoxDataset:
    return datasets.load("coco", coco.parent)


def test_images_and_objects_are_cocos(coco: Path) -> None:
    dataset = load(coco)
    assert dataset.classes == ("car", "train")  # by their numbers, which have gaps
    assert list(dataset.train.ids) == ["5", "12"]  # in the order of their numbers
    image, target = dataset.train[0]
    assert image.shape == (3, 30, 40)
    assert target.boxes.tolist() == [[1.5, 2, 11.5, 7.25], [0, 0, 40, 30]]
    assert target.labels.tolist() == [1, 2]
    assert target.difficult.tolist() == [False, True]  # the crowd
    identity = dataset.identity
    assert not identity.official
    assert "2 images to train on (train2014) and 1 to test on (val2014)" in identity.note
    assert "the official one has 82,783 and 40,504" in identity.note
    assert "empty boxes left out: 3" in identity.note


@pytest.mark.parametrize(
    "box",
    [
        *([30, 2, 1e-5, 5], [30, 2, 5, 0.004], [30, 2, -1, 5]),
        *([30, 2, 0.005, 5], [39.999, 2, 0.01, 5]),  # so after rounding, or inside the image
    ],
)
def test_boxes_that_are_empty_or_nearly_so_are_left_out(coco: Path, box: list[float]) -> None:
    changed(coco, lambda content: content["annotations"][3].update(bbox=box))
    dataset = load(coco)
    assert dataset.train.target(0).boxes.tolist() == [[0, 0, 40, 30]]
    assert "empty boxes left out: 4" in dataset.identity.note
    changed(coco, lambda content: content["annotations"][3].update(bbox=[39.99, 2, 0.01, 5]))
    assert len(load(coco).train.target(0).boxes) == 2, "COCO's smallest"


def test_torchvisions_reader_gives_the_same(coco: Path) -> None:
    pytest.importorskip("pycocotools", reason="pycocotools is not installed")
    from torchvision.datasets import CocoDetection

    theirs = CocoDetection(coco / "train2014", str(coco / JSON))
    ours = load(coco).train
    assert len(theirs) == len(ours)
    for (image, target), (picture, objects) in zip(ours, theirs, strict=True):
        assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(picture))
        boxes = [one["bbox"] for one in objects if one["bbox"][2] > 0]
        corners = [[x, y, x + width, y + height] for x, y, width, height in boxes]
        assert target.boxes.tolist() == corners


def test_what_is_in_the_way_and_no_coco_is_not_said_to_be_usable(
    coco: Path, tmp_path: Path
) -> None:
    (tmp_path / "other" / "coco2014" / "train2014").mkdir(parents=True)
    with pytest.raises(DataError, match=r"coco2014 is in the way: move it elsewhere$"):
        datasets.prepare("coco", tmp_path / "other", coco)


def test_it_is_brought_checked_and_noticed_when_it_changes(coco: Path, tmp_path: Path) -> None:
    data = tmp_path / "elsewhere"
    for source in (coco, coco.parent):
        assert datasets.prepare("coco", data, source).identity == load(coco).identity
    assert (data / "coco2014").resolve() == coco
    with pytest.raises(ConfigError, match="coco cannot be downloaded: bring it with"):
        datasets.prepare("coco", data, download=True)
    with pytest.raises(DataError, match=r"no COCO 2017 in .*coco2017 \(train2017"):
        datasets.load("coco2017", data)
    before = load(coco).identity
    changed(coco, lambda content: content["annotations"][0].update(bbox=[3, 3, 4, 4]))
    assert load(coco).identity.sha256 != before.sha256


def test_zips_as_its_site_has_them_are_to_be_unpacked(tmp_path: Path) -> None:
    (archive := tmp_path / "train2014.zip").touch()
    with pytest.raises(DataError, match=r"train2014\.zip is still packed: unpack it first$"):
        datasets.prepare("coco", tmp_path / "data", tmp_path)
    with pytest.raises(DataError, match=r"train2014\.zip is not a folder; unpack"):
        datasets.prepare("coco", tmp_path / "data", archive)


def changed(coco: Path, change: Callable[[dict[str, Any]], Any], name: str = JSON) -> None:
    path = coco / name
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("images"), r"instances_train2014.json: images: Field required"),
        (lambda c: c["annotations"][1].update(bbox=[1, 2, 3]), "annotations.1.bbox.3"),
        (lambda c: c["annotations"][1].update(bbox=[1, "x", 3, 4]), "annotations.1.bbox.1"),
        (lambda c: c["annotations"][1].update(category_id=99), "annotations.1: unknown category"),
        (lambda c: c["annotations"][1].update(image_id=99), "annotations.1: unknown image"),
        (lambda c: c["annotations"][0].update(bbox=[30, 2, 30, 5]), "is not in the image of 40x30"),
        (lambda c: c["images"].append(c["images"][0]), "two images have the same number"),
        (lambda c: c["images"][0].update(width=41), "has 40x30 pixels, but .* says 41x30"),
        (lambda c: c["images"][0].update(file_name="../x.jpg"), "'../x.jpg' is no file's name"),
        (lambda c: c["images"][0].update(file_name="x.jpg"), "x.jpg: the file is missing"),
        (lambda c: c["categories"][0].update(name="car"), "should name each category once"),
        (lambda c: c["categories"].pop(), "unknown category"),
        (lambda c: c["categories"].append({"id": 90, "name": "z"}), "have other categories"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(
    coco: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    changed(coco, change)
    with pytest.raises(DataError, match=message) as caught:
        load(coco)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("content", ["", "[]", "{" * 10_000, '{"images": [', "\x00"])
def test_what_is_no_json_of_coco_is_one_line(coco: Path, content: str) -> None:
    (coco / JSON).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=JSON) as caught:
        load(coco)
    assert len(str(caught.value).splitlines()) == 1


def test_a_truncated_image_is_named(coco: Path) -> None:
    path = coco / "val2014" / "COCO_val2014_000000000001.jpg"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=f"an image is broken in .*: val2014/{path.name}: damaged"):
        datasets.verify("coco", coco.parent)
    write_image(path, 40, 31)
    with pytest.raises(DataError, match="has 40x31 pixels"):
        datasets.verify("coco", coco.parent)
