"""PASCAL VOC's layout: what is read from it, and what is refused, with the file's name."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_boxes import annotation, write_image, write_voc
from PIL import Image

from resnet_repro.base.errors import ConfigError, DataError
from resnet_repro.data import datasets
from resnet_repro.data.boxes import annotations, voc
from resnet_repro.data.boxes.annotations import read_annotation
from resnet_repro.data.boxes.boxes import BoxDataset
from resnet_repro.data.boxes.reader import FileBoxes

REAL = os.environ.get("TEST_VOCDEVKIT", "")  # the five-class subset, where there is one
CAT, DOG = ("cat", (1, 1, 40, 30), 0), ("dog", (5, 6, 5, 6), 1)


def load(folder: Path) -> BoxDataset:
    return datasets.load("voc:mine", folder.parent / "data", {"mine": folder})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of no year: train and val."""
    return write_voc(
        tmp_path / "mine",
        {"train": {"b": [CAT, DOG], "a": []}, "val": {"c": [DOG, ("cat", (2, 3, 10.5, 12), 0)]}},
    )


def test_boxes_are_corners_and_the_lists_give_the_order(folder: Path) -> None:
    dataset = load(folder)
    assert dataset.classes == ("cat", "dog")
    assert list(dataset.train.ids) == ["b", "a"]
    image, target = dataset.train[0]
    assert image.dtype == torch.uint8
    pixels = np.asarray(Image.open(folder / "JPEGImages" / "b.jpg"))
    assert np.array_equal(image.numpy(), pixels.transpose(2, 0, 1))
    assert target.image_id == "b"
    # VOC counts from 1 and includes both ends: one pixel has a box of one by one.
    assert target.boxes.tolist() == [[0, 0, 40, 30], [4, 5, 5, 6]]
    assert target.labels.tolist() == [1, 2]
    assert target.difficult.tolist() == [False, True]
    nothing = dataset.train.target(1)
    assert nothing.boxes.shape == (0, 4)
    assert nothing.labels.dtype == torch.int64
    assert nothing.difficult.dtype == torch.bool
    assert dataset.test.target(0).boxes.tolist() == [[4, 5, 5, 6], [1, 2, 10.5, 12]]
    identity = dataset.identity
    assert not identity.official
    counts = "2 images to train on (train) and 1 to test on (val)"
    assert f"the user's own images: {counts} with boxes" in identity.note
    assert str(folder) not in identity.source + identity.note


def test_a_file_that_changes_while_it_is_read_does_not_pass_unnoticed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_and_change(path: Path, name: str) -> annotations.Annotation:
        found = read_annotation(path, name)
        path.write_text(annotation([CAT]), encoding="utf-8")
        return found

    for path in folder.glob("Annotations/*.xml"):
        os.utime(path, ns=(0, 0))  # changes within the clock's resolution are not the point here
    with monkeypatch.context() as patch:
        patch.setattr(voc, "read_annotation", read_and_change)
        assert load(folder).train.target(0).labels.tolist() == [1, 2]
    assert load(folder).train.target(0).labels.tolist() == [1]


@pytest.mark.parametrize(
    ("name", "content"), [("classes.txt", "dog\ncat\n"), ("ImageSets/Main/test.txt", "a\n")]
)
def test_a_list_that_is_added_is_noticed(folder: Path, name: str, content: str) -> None:
    for place in (folder, folder / "ImageSets" / "Main"):
        os.utime(place, ns=(0, 0))
    before = load(folder).identity
    assert load(folder).identity == before
    (folder / name).write_text(content, encoding="utf-8")
    assert load(folder).identity.sha256 != before.sha256


def test_of_huge_data_sets_not_every_image_is_decoded_when_prepared(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("resnet_repro.data.folder_index.CONTENTS_LIMIT", 0)
    path = folder / "JPEGImages" / "b.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with caplog.at_level(logging.INFO, logger="resnet_repro"):
        datasets.prepare("voc:mine", data := folder.parent / "data", folder)
    command = f"resnet-repro data verify voc:mine --data-dir {data}"
    assert caplog.messages[-1] == f"`{command}` decodes every image, to find broken ones"
    with pytest.raises(DataError, match=r"an image is broken in .*: JPEGImages/b.jpg: damaged"):
        datasets.verify("voc:mine", folder.parent / "data")


def test_years_are_joined_and_tested_on_where_there_is_a_test_list(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    write_voc(
        root / "VOC2007", {"trainval": {"1": [CAT]}, "test": {"2": [CAT, ("cow", (1, 1, 9, 9), 0)]}}
    )
    write_voc(root / "VOC2012", {"train": {"x": [DOG]}, "trainval": {"x": [DOG], "y": [CAT]}})
    dataset = load(root)
    lists = "train on (VOC2007 trainval + VOC2012 trainval) and 1 to test on (VOC2007 test)"
    assert lists in dataset.identity.note
    assert list(dataset.train.ids) == ["1", "x", "y"]
    assert dataset.test.target(0).labels.tolist() == [1]
    assert "left out, since nothing is trained on their class (cow): 1" in dataset.identity.note


def test_a_file_of_classes_gives_their_order_and_refuses_others(folder: Path) -> None:
    (folder / "classes.txt").write_text("dog\ncat\nbird\n", encoding="utf-8")
    dataset = load(folder)
    assert dataset.classes == ("dog", "cat", "bird")
    assert dataset.train.target(0).labels.tolist() == [2, 1]
    (folder / "classes.txt").write_text("dog\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"^Annotations/b.xml: object 1: unknown class 'cat'$"):
        load(folder)
    (folder / "classes.txt").write_text("dog\ndog\n", encoding="utf-8")
    with pytest.raises(DataError, match="each class once"):
        load(folder)


def test_other_kinds_of_images_and_exifs_orientation(folder: Path) -> None:
    """Boxes are of the image as it is stored."""
    (folder / "JPEGImages" / "b.jpg").unlink()
    write_image(folder / "JPEGImages" / "b.PNG", 40, 30)
    exif = Image.Exif()
    exif[0x0112] = 6
    write_image(folder / "JPEGImages" / "a.jpg", 40, 30, exif=exif)
    dataset = load(folder)
    assert [tuple(image.shape) for image, _ in dataset.train] == [(3, 30, 40)] * 2


def test_what_changes_is_noticed(folder: Path) -> None:
    data = folder.parent / "data"
    first = load(folder)
    assert list((data / ".boxes").iterdir())
    assert load(folder).identity == first.identity
    xml = folder / "Annotations" / "b.xml"
    xml.write_text(annotation([CAT]), encoding="utf-8")
    os.utime(xml, ns=(1, 1))
    with pytest.raises(
        DataError, match=r"has changed since it was first used\n.*data prepare voc:/.*/mine"
    ):
        datasets.verify("voc:mine", data, {"mine": folder})
    again = load(folder)
    assert again.identity.sha256 != first.identity.sha256
    assert len(again.train.target(0).boxes) == 1
    write_image(folder / "JPEGImages" / "b.jpg", 40, 30, seed=9)
    with pytest.raises(DataError, match=r"^JPEGImages/b.jpg: damaged, or changed"):
        again.train.image(0)


def test_a_damaged_index_is_made_anew(folder: Path) -> None:
    first = load(folder)
    (path,) = (folder.parent / "data" / ".boxes").iterdir()
    whole = path.read_bytes()
    for place in range(0, len(whole), len(whole) // 20):
        content = bytearray(whole)
        content[place] ^= 4
        path.write_bytes(content)
        found = load(folder)
        assert found.identity == first.identity
        assert torch.equal(found.train.target(0).boxes, first.train.target(0).boxes)


def test_an_index_with_boxes_that_are_empty_today_is_made_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thin = ("cat", (5, 1, 4.00001, 9), 0)  # corners count from 1
    (folder / "Annotations" / "b.xml").write_text(annotation([thin]), encoding="utf-8")
    monkeypatch.setattr(annotations, "SMALLEST", 1e-6)  # as in earlier versions
    assert load(folder).train.target(0).boxes[0, 2] == pytest.approx(4, abs=1e-3)
    monkeypatch.undo()
    with pytest.raises(DataError, match="an empty box"):
        load(folder)


BOMB = (
    '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    "<annotation><object><name>&b;</name></object></annotation>"
)
PIXEL = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>1</xmax><ymax>1</ymax></bndbox>"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "damaged or no XML: no element found"),
        ("no XML at all", "damaged or no XML: syntax error"),
        ("<annotation><object>", "damaged or no XML: "),
        ("<html></html>", "no annotation but <html>"),
        (BOMB, "declares a document type or entities"),
        (BOMB.encode("utf-16"), "declares a document type or entities"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "declares a document type"),
        ("<a>" * 100_000 + "</a>" * 100_000, "no annotation but <a>"),
        (b"<annotation>" + b" " * 2**20 + b"</annotation>", "larger than 1,048,576 bytes"),
        ('<?xml version="1.0" encoding="utf-77"?><annotation/>', "damaged or no XML: "),
        (annotation([("cat", (0, 0, 40, 31), 0)]), None),  # by rounding: cut off
        (annotation([("cat", (5, 5, 4, 9), 0)]), r"object 1 \(cat\): an empty box, x 4 to 4"),
        (annotation([("cat", (5, 5, 4.00001, 9), 0)]), r"an empty box, x 4 to 4.00001, y 4 to 9$"),
        (annotation([("cat", (5, 5, 9, 4.002), 0)]), r"an empty box, x 4 to 9, y 4 to 4.002$"),
        (annotation([("cat", (40.999, 5, 41, 9), 0)]), "x 39.999 to 41, .* is not in the image"),
        (annotation([CAT, ("cat", (5, 5, 42, 9), 0)]), r"object 2 \(cat\): the box .* 40x30"),
        (annotation([("cat", (-2, 5, 9, 9), 0)]), "is not in the image of 40x30"),
        (annotation([("cat", (41.2, 5, 40.9, 9), 0)]), "is not in the image of 40x30"),
        (annotation([("cat", ("nan", 5, 9, 9), 0)]), "'nan' is no number of pixels"),  # type: ignore[list-item]
        (annotation([("cat", (1, 5, 9e99, 9), 0)]), "is no number of pixels"),
        (annotation([("cat", (1, 5, 9, 9), 2)]), "difficult is '2', not 0 or 1"),
        (annotation([("", (1, 5, 9, 9), 0)]), "object 1: '' is no class"),
        (annotation([("c" * 65, (1, 5, 9, 9), 0)]), "is no class"),
        (annotation([("c\nat", (1, 5, 9, 9), 0)]), "is no class"),
        (annotation([CAT], 30, 40), "is of an image of 30x40, but JPEGImages/b.jpg has 40x30"),
        ("<annotation><object><name>cat</name></object></annotation>", "no bndbox"),
        (
            "<annotation><object><name>cat</name><bndbox><xmin>1</xmin></bndbox></object>"
            "</annotation>",
            "lacks one of xmin, ymin, xmax and ymax",
        ),
        (f"<annotation><object><name>cat</name>{PIXEL}</object></annotation>", None),
    ],
)  # fmt: skip
def test_annotations_that_are_wrong_are_named_in_one_line(
    folder: Path, content: str | bytes, message: str | None
) -> None:
    xml = folder / "Annotations" / "b.xml"
    xml.write_bytes(content.encode() if isinstance(content, str) else content)
    if message is None:
        boxes = load(folder).train.target(0).boxes
        assert (boxes >= 0).all()
        assert (boxes <= torch.tensor([40, 30, 40, 30])).all()
        return
    with pytest.raises(DataError, match=f"^Annotations/b.xml: .*{message}") as caught:
        load(folder)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).isprintable()
    assert not (folder.parent / "data").exists()  # nothing half-read is kept


def test_a_damaged_annotation_is_an_annotation_or_one_line(tmp_path: Path) -> None:
    """Whatever bytes are changed or cut off; nothing else ever escapes."""
    whole = annotation([CAT, DOG]).encode()
    random = np.random.Generator(np.random.PCG64(0))
    path, refused = tmp_path / "x.xml", []
    for _ in range(200):
        content = bytearray(whole[: int(random.integers(1, 4 * len(whole)))])
        likely = b"0123456789eE.-+<>/&; xn\x00\xff"
        content[int(random.integers(len(content)))] = likely[random.integers(len(likely))]
        path.write_bytes(content)
        try:
            read_annotation(path, "x.xml")
        except DataError as error:
            refused.append(str(error))
    assert 60 < len(refused) < 200
    assert all(text.startswith("x.xml: ") and text.isprintable() for text in refused)


def test_the_command_says_what_is_here_and_what_is_wrong(
    folder: Path, command: Callable[..., tuple[int, str, str]]
) -> None:
    code, out, _ = command("data", "prepare", "voc:mine", "--quiet")
    assert code == 0
    assert out.startswith("voc:mine: unofficial, 2 training and 1 test images\nsha256 ")
    assert command("data", "verify", "voc:mine")[0] == 0
    (folder / "Annotations" / "b.xml").write_text(BOMB, encoding="utf-8")
    code, out, err = command("data", "verify", "voc:mine", "--quiet")
    assert (code, out) == (3, "")
    assert err.startswith("resnet-repro: Annotations/b.xml: declares a document type")
    assert len(err.splitlines()) == 1


def test_an_entity_is_never_expanded() -> None:
    """Refused when it is declared, before anything could be expanded."""
    with pytest.raises(DataError, match="document type"):
        annotations._parse(BOMB.encode(), "x.xml")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("ImageSets/Main/train.txt", b"b\n../../etc/passwd\n", "is no image's name"),
        ("ImageSets/Main/train.txt", b"b\nb\n", "lists b twice"),
        ("ImageSets/Main/train.txt", b"\n", "lists no images"),
        ("ImageSets/Main/train.txt", b"\xff\xfe", "is not UTF-8"),
        ("ImageSets/Main/train.txt", b"a\n", "no image of train has an object"),
        ("ImageSets/Main/train.txt", b"b\nz\n", r"Annotations/z.xml is missing"),
        ("Annotations/a.xml", None, r"Annotations/a.xml is missing"),
        ("JPEGImages/a.jpg", None, r"^JPEGImages/a.jpg is missing; the list train names it"),
        ("JPEGImages/a.jpg", b"no image", r"^JPEGImages/a.jpg: not an image, or damaged"),
    ],
)
def test_files_that_are_missing_or_wrong_are_named(
    folder: Path, file: str, content: bytes | None, message: str
) -> None:
    path = folder / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load(folder)
    assert len(str(caught.value).splitlines()) == 1


def test_a_truncated_image_is_named_when_it_is_prepared_and_when_it_is_used(folder: Path) -> None:
    path = folder / "JPEGImages" / "b.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"^JPEGImages/b.jpg: damaged"):
        load(folder).train.image(0)
    with pytest.raises(DataError, match=r"an image is broken in .*: JPEGImages/b.jpg: damaged"):
        datasets.prepare("voc:mine", folder.parent / "data", folder)
    assert not (folder.parent / "data" / "mine").exists()


def test_a_folder_is_linked_to_and_listed(folder: Path) -> None:
    data = folder.parent / "data"
    prepared = datasets.prepare("voc:mine", data, folder)
    assert isinstance(prepared, BoxDataset)
    assert (data / "mine").resolve() == folder
    assert datasets.load("voc:mine", data).identity == prepared.identity
    assert datasets.known_test_images(["voc:mine", "voc:other", "scenes"], data) == {"voc:mine": 1}
    *_, status = datasets.describe(data)
    assert (status.name, status.prepared, status.images) == ("voc:mine", True, 3)
    with pytest.raises(ConfigError, match="cannot be downloaded: bring it with"):
        datasets.prepare("voc:mine", data, download=True)
    with pytest.raises(DataError, match=r"no folder .*other: voc:other is looked for there"):
        datasets.load("voc:other", data)


def test_a_folder_that_is_not_laid_out_like_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(DataError, match="not laid out like VOC's development kit"):
        load(tmp_path / "mine")
    write_voc(tmp_path / "mine", {"train": {"a": [CAT]}})
    with pytest.raises(DataError, match="of the lists test and val, ImageSets/Main has none"):
        load(tmp_path / "mine")


@pytest.mark.skipif(not REAL, reason="TEST_VOCDEVKIT does not say where the subset is")
def test_the_five_class_subset_has_the_counts_that_its_readme_states(tmp_path: Path) -> None:
    dataset = datasets.load("voc:VOCdevkit", tmp_path, {"VOCdevkit": Path(REAL)})
    assert dataset.classes == ("cat", "cow", "dog", "horse", "sheep")
    lists = "to train on (VOC2012 trainval) and 1,239 to test on (VOC2007 test)"
    assert lists in dataset.identity.note
    assert isinstance(dataset.train, FileBoxes)
    assert isinstance(dataset.test, FileBoxes)
    train, test = dataset.train.part, dataset.test.part
    assert (len(train.ids), len(train.labels), train.difficult.sum()) == (2_482, 3_765, 0)
    images = [
        len({i for i in range(len(train.ids)) if k in train.labels[slice(*train.first[i : i + 2])]})
        for k in range(1, 6)
    ]
    assert images == [701, 303, 708, 482, 325]
    assert len(test.ids) == 1_239
    counted = np.bincount(test.labels[~test.difficult], minlength=6)[1:]
    assert counted.tolist() == [358, 244, 489, 348, 242]
    assert counted.sum() == 1_681
