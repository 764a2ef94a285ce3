"""Photographs as archives, operating systems and other programs leave them."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from made_up_photos import photo, write_devkit

from resnet_repro.base.errors import DataError
from resnet_repro.data import datasets
from resnet_repro.data.dataset import Dataset
from resnet_repro.data.layout import of_system, order_in_words
from resnet_repro.data.photos.photos import PhotoDataset

WNIDS = ("n01440764", "n02102040", "n03888257")
KAGGLE = "imagenet-object-localization-challenge"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "one.jpg"
    photo(0, 40, 40).save(path)
    return path


@pytest.fixture
def put(tmp_path: Path, image: Path) -> Callable[..., Path]:
    """Put the image into `tmp_path/photos` under many names; returns that folder."""

    def put(*names: str) -> Path:
        for name in names:
            path = tmp_path / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(image, path)
        return tmp_path / "photos"

    return put


def load(folder: Path, name: str = "folder:photos") -> PhotoDataset:
    if name == "imagenet":
        found = datasets.prepare(name, folder.parent / "data", folder)
    else:
        found = datasets.load(name, folder.parent / "data", {"photos": folder})
    assert isinstance(found, PhotoDataset)
    return found


def sizes(found: PhotoDataset) -> tuple[int, int, int]:
    return len(found.train), len(found.test), len(found.classes)


# --- what systems leave


@pytest.mark.parametrize(
    "name",
    [
        "__MACOSX/ant/._a.jpg",
        "__MACOSX/ant/a.jpg",
        "lost+found/a.jpg",
        ".ipynb_checkpoints/a-checkpoint.jpg",
        "@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg",
        "ant/@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg",
        "ant/.ipynb_checkpoints/a-checkpoint.jpg",
        "$RECYCLE.BIN/S-1-5/a.jpg",
        "System Volume Information/IndexerVolumeGuid",
        ".Trash-1000/files/a.jpg",
        "ant/.DS_Store",
        "ant/._a.jpg",
        "ant/Thumbs.db",
        "ant/desktop.ini",
    ],
)
@pytest.mark.parametrize("part", ["train", "val"])
def test_what_systems_leave_is_no_class_and_no_photograph(
    put: Callable[..., Path], part: str, name: str
) -> None:
    folder = put("train/ant/a.jpg", "train/bee/b.jpg", "val/ant/a.jpg", "val/bee/b.jpg")
    clean = load(folder)
    put(f"{part}/{name}")
    shutil.rmtree(folder.parent / "data")
    found = load(folder)
    assert (sizes(found), found.classes) == ((2, 2, 2), ("ant", "bee"))
    assert found.identity == clean.identity


def test_unreadable_system_folders_are_not_opened(put: Callable[..., Path]) -> None:
    folder = put("train/ant/a.jpg", "train/bee/b.jpg", "val/ant/a.jpg", "val/bee/b.jpg")
    closed = folder / "train" / "lost+found"
    closed.mkdir(mode=0)
    try:
        assert sizes(load(folder)) == (2, 2, 2)
    finally:
        closed.chmod(0o700)


@pytest.mark.parametrize(
    ("name", "says"),
    [("train/wasps", "train has no images in wasps"), ("val/new", "that train lacks: new")],
)
def test_other_folders_are_named(put: Callable[..., Path], name: str, says: str) -> None:
    folder = put("train/ant/a.jpg", "train/bee/b.jpg", "val/ant/a.jpg", "val/bee/b.jpg")
    (folder / name).mkdir()
    with pytest.raises(DataError, match=says):
        load(folder)


def test_ordinary_names_are_not_a_systems() -> None:
    assert not any(map(of_system, ("ant", "recycler", "lost", "thumbs", "MACOSX", "@ant", "$1")))


def test_an_index_made_before_systems_folders_were_known_is_made_again(
    put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put("train/ant/a.jpg", "train/bee/b.jpg", "val/ant/a.jpg", "val/bee/b.jpg")
    put("train/ant/@eaDir/a.jpg/SYNOPHOTO_THUMB_XL.jpg")
    with monkeypatch.context() as patch:
        patch.setattr("resnet_repro.data.photos.scanning.of_system", lambda name: False)
        assert sizes(load(folder)) == (3, 2, 2)
    assert sizes(load(folder)) == (2, 2, 2)


# --- the order of classes


def twelve(put: Callable[..., Path], names: list[str], parts: str = "train val") -> Path:
    return put(*(f"{part}/{name}/{part}.jpg" for part in parts.split() for name in names))


@pytest.mark.parametrize("parts", ["train val", "val"])
@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([str(n) for n in range(12)], "numbers, 2 before 10"),
        ([str(n) for n in range(1, 13)], "numbers, 2 before 10"),
        ([f"{n:02}" for n in range(12)], "numbers"),
        (["0", "1", "5"], "numbers, of which some from 0 to 5 are missing"),
        (["08", "9", "10"], "numbers, 9 before 10"),
        (sorted(f"class_{n}" for n in range(12)), "names, class_10 before class_2"),
        (["1", "10", "2", "x"], "names, 10 before 2"),
        (list(WNIDS), "names"),
    ],
)
def test_numbers_are_read_as_numbers_and_notes_say_what_may_surprise(
    put: Callable[..., Path], names: list[str], words: str, parts: str
) -> None:
    found = load(twelve(put, names, parts))
    assert list(found.classes) == names
    assert [name.split("/")[1] for name in found.test.names] == names
    assert found.test.labels.tolist() == list(range(len(names)))
    assert order_in_words(found.classes) == words
    assert (f"in the order of their folders' {words}" in found.identity.note) == ("," in words)


def test_classes_that_val_lacks_keep_their_place(put: Callable[..., Path]) -> None:
    folder = twelve(put, [str(n) for n in range(12)], "train")
    put("val/10/a.jpg", "val/2/a.jpg")
    assert load(folder).test.labels.tolist() == [2, 10]


def test_two_folders_of_one_number_are_refused(put: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="class folders 01 and 1 are the same number"):
        load(twelve(put, ["0", "01", "1"]))


def test_numbers_are_told_apart_from_other_spellings_in_val(put: Callable[..., Path]) -> None:
    twelve(put, ["00", "01"], "train")
    with pytest.raises(DataError, match="val has 2 classes that train lacks: 0, 1"):
        load(twelve(put, ["0", "1"], "val"))


def test_another_order_is_another_data_set(
    put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers were once sorted as text: what was kept then is neither used nor taken for this."""
    folder = twelve(put, [str(n) for n in range(12)])
    with monkeypatch.context() as patch:
        for module in ("scanning", "reader"):
            patch.setattr(f"resnet_repro.data.photos.{module}.in_order", sorted)
        by_text = load(folder)
        assert by_text.classes[2] == "10"
    found = load(folder)
    assert found.classes[2] == "2"
    assert found.identity.sha256 != by_text.identity.sha256


@pytest.mark.parametrize("names", [WNIDS, ("0", "1", "2"), ("00", "01", "02"), ("a", "b1", "b2")])
def test_where_the_order_is_the_same_nothing_changes(
    put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    folder = twelve(put, list(names))
    kept = load(folder).identity
    shutil.rmtree(folder.parent / "data")
    monkeypatch.setattr("resnet_repro.data.photos.scanning.in_order", sorted)
    assert load(folder).identity == kept


def test_small_images_go_by_numbers_as_well(
    write_images: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write_images([str(number) for number in range(1, 11)], train=1)
    found = datasets.prepare("cifar10", tmp_path / "data", folder)
    assert isinstance(found, Dataset)
    assert found.classes == tuple(str(number) for number in range(1, 11))
    assert found.train_images[:, 0, 0, 0].tolist() == [20 * index for index in range(10)]


def test_small_images_beside_what_systems_leave(
    write_images: Callable[..., Path], tmp_path: Path
) -> None:
    folder = write_images()
    clean = datasets.prepare("cifar10", tmp_path / "clean", folder)
    for name in ("train/__MACOSX/cat/._000.png", "test/lost+found/a", "train/cat/Thumbs.db"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    found = datasets.prepare("cifar10", tmp_path / "data", folder)
    assert found.identity == clean.identity
    (tmp_path / "__MACOSX").mkdir()
    with tarfile.open(tmp_path / "images.tar", "w") as tar:
        tar.add(folder, "images")
        tar.add(tmp_path / "__MACOSX", "__MACOSX")
    packed = datasets.prepare("cifar10", tmp_path / "data2", tmp_path / "images.tar")
    assert packed.identity.sha256 == clean.identity.sha256


# --- layouts of ImageNet and its kin


def write_tiny_imagenet(put: Callable[..., Path]) -> Path:
    folder = put(
        *(f"train/{wnid}/images/{wnid}_{n}.JPEG" for wnid in WNIDS for n in range(2)),
        *(f"val/images/val_{n}.JPEG" for n in range(4)),
        "test/images/test_0.JPEG",
    )
    told = zip(range(4), (2, 0, 1, 2), strict=True)
    rows = "".join(f"val_{n}.JPEG\t{WNIDS[label]}\t0\t0\t62\t62\n" for n, label in told)
    (folder / "val" / "val_annotations.txt").write_text(rows, encoding="utf-8")
    (folder / "wnids.txt").write_text("\n".join(reversed(WNIDS)), encoding="utf-8")
    for wnid in WNIDS:
        (folder / "train" / wnid / f"{wnid}_boxes.txt").write_text("0\t0\n", encoding="utf-8")
    return folder


def test_tiny_imagenet(put: Callable[..., Path]) -> None:
    folder = write_tiny_imagenet(put)
    found = load(folder)
    assert sizes(found) == (6, 4, 3)
    assert found.classes == WNIDS
    assert found.test.labels.tolist() == [0, 1, 2, 2]
    assert list(found.test.names) == [f"val/images/val_{n}.JPEG" for n in (1, 2, 0, 3)]
    shutil.rmtree(folder / "train")
    alone = load(folder)
    assert (sizes(alone), alone.classes) == ((0, 4, 3), WNIDS)
    assert alone.test.labels.tolist() == [0, 1, 2, 2]


@pytest.mark.parametrize("rows", ["val_0.JPEG\n", "\xff", "val_0.JPEG\tn01440764\n"])
def test_tiny_imagenet_with_damaged_annotations(put: Callable[..., Path], rows: str) -> None:
    folder = write_tiny_imagenet(put)
    (folder / "val" / "val_annotations.txt").write_bytes(rows.encode("latin-1"))
    with pytest.raises(DataError, match=r"val_annotations\.txt") as caught:
        load(folder)
    assert len(str(caught.value).splitlines()) == 1


def solution(folder: Path, mark: str = "") -> None:
    rows = [f"ILSVRC2012_val_{n:08d},{wnid} 1 2 3 4 " for n, wnid in enumerate(WNIDS, 1)]
    text = "\n".join([f"{mark}ImageId,PredictionString", *rows])
    (folder / "LOC_val_solution.csv").write_text(text, encoding="utf-8")


def write_kaggle(put: Callable[..., Path]) -> Path:
    place = f"{KAGGLE}/ILSVRC/Data/CLS-LOC"
    folder = put(
        *(f"{place}/train/{wnid}/{wnid}_{n}.JPEG" for wnid in WNIDS for n in range(2)),
        *(f"{place}/val/ILSVRC2012_val_{n:08d}.JPEG" for n in range(1, 4)),
        f"{place}/test/ILSVRC2012_test_00000001.JPEG",
    )
    solution(folder / KAGGLE)
    return folder


def assert_is_imagenet(found: PhotoDataset) -> None:
    assert (sizes(found), found.classes) == ((6, 3, 3), WNIDS)
    assert found.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.test.labels.tolist() == [0, 1, 2]
    assert [Path(name).name[:23] for name in found.test.names] == [
        f"ILSVRC2012_val_{n:08d}" for n in range(1, 4)
    ]


@pytest.mark.parametrize(
    "named",
    [
        "",
        KAGGLE,
        f"{KAGGLE}/ILSVRC",
        f"{KAGGLE}/ILSVRC/Data",
        f"{KAGGLE}/ILSVRC/Data/CLS-LOC",
    ],
)
def test_kaggles_archive_named_at_any_folder(put: Callable[..., Path], named: str) -> None:
    folder = write_kaggle(put)
    found = datasets.prepare("imagenet", folder.parent / "data", folder / named)
    assert isinstance(found, PhotoDataset)
    assert_is_imagenet(found)
    assert datasets.load("imagenet", folder.parent / "data").identity == found.identity


@pytest.mark.parametrize("below", ["", KAGGLE])
def test_kaggles_archive_unpacked_in_the_data_folder(put: Callable[..., Path], below: str) -> None:
    folder = write_kaggle(put)
    (folder / below).rename(folder.parent / "imagenet")
    found = datasets.load("imagenet", folder.parent)
    assert isinstance(found, PhotoDataset)
    assert_is_imagenet(found)


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("beside", [".", ".."])
def test_kaggles_table_with_a_byte_order_mark_and_where_it_lies(
    put: Callable[..., Path], mark: str, beside: str
) -> None:
    folder = write_kaggle(put) / KAGGLE / "ILSVRC" / "Data" / "CLS-LOC"
    (folder.parents[2] / "LOC_val_solution.csv").unlink()
    solution(folder / beside, mark)
    assert_is_imagenet(load(folder, "imagenet"))


@pytest.mark.parametrize("name", ["imagenet", "folder:photos"])
@pytest.mark.parametrize("train", ["sorted", "flat"])
@pytest.mark.parametrize("table", [False, True])
def test_hugging_faces_archives(
    put: Callable[..., Path], name: str, train: str, table: bool
) -> None:
    """Their file names end in the class, and they have no folders."""
    folder = put(
        *(
            f"train/{wnid if train == 'sorted' else '.'}/{wnid}_{n}_{wnid}.JPEG"
            for wnid in WNIDS
            for n in range(2)
        ),
        *(f"val/ILSVRC2012_val_{n:08d}_{wnid}.JPEG" for n, wnid in enumerate(WNIDS, 1)),
    )
    if table:
        solution(folder)
    assert_is_imagenet(load(folder, name))


def test_the_development_kit_may_lie_beside_and_knows_all_classes(
    put: Callable[..., Path],
) -> None:
    """Of val alone, two photographs of a thousand classes are still of a thousand classes."""
    folder = put("val/ILSVRC2012_val_00000002.JPEG", "val/ILSVRC2012_val_00000003.JPEG")
    write_devkit(folder.parent, list(WNIDS))
    found = load(folder, "imagenet")
    assert (sizes(found), found.classes) == ((0, 2, 3), WNIDS)
    assert found.test.labels.tolist() == [1, 2]
    assert "classes without validation images: 1" in found.identity.note


# --- what is said of other layouts


@pytest.mark.parametrize(
    ("names", "named", "says"),
    [
        (["val/ant/a.jpg", "val/bee/b.jpg"], "val", "name the folder above it, .*photos$"),
        (["Val/ant/a.jpg"], "", "a folder 'Val': rename it"),
        (["train/ant/a.jpg", "validation/ant/a.jpg"], "", "a folder 'validation': rename it"),
        (["inner/val/ant/a.jpg"], "", "photos/inner has them"),
        (["0/a.jpg", "1/a.jpg"], "", "move them into a folder 'val'"),
        (["tiny-imagenet-200.zip"], "", r"tiny-imagenet-200\.zip is still packed"),
        (["data/val_images.tar.gz"], "data", r"val_images\.tar\.gz is still packed"),
        (["train/n01440764.tar", "val/n01440764/a.jpg"], "", r"n01440764\.tar is still packed"),
        (["a.txt"], "", "photographs belong in train/<class>/ and val/<class>/$"),
    ],
)
def test_what_is_wrong_with_a_layout_is_said(
    put: Callable[..., Path], names: list[str], named: str, says: str
) -> None:
    folder = put(*names) / named
    for dataset in ("folder:photos", "imagenet"):
        with pytest.raises(DataError, match=says) as caught:
            load(folder, dataset)
        assert len(str(caught.value).splitlines()) == 1


def test_a_link_to_a_disk_that_is_away_is_not_taken_for_val_alone(
    put: Callable[..., Path],
) -> None:
    folder = put("val/ant/a.jpg", "val/bee/b.jpg")
    (folder / "train").symlink_to(folder / "nowhere")
    with pytest.raises(DataError, match=r"no folder 'train': .*train is a link that leads nowhere"):
        load(folder)


@pytest.mark.parametrize("names", [["val/ant/a.jpg"], ["val/ant/a.jpg", "val/bee/note.txt"]])
def test_val_alone_has_to_be_whole(put: Callable[..., Path], names: list[str]) -> None:
    with pytest.raises(DataError, match=r"val has (only one class, ant|no images in bee)"):
        load(put(*names))


def test_an_index_of_val_alone_notices_train(put: Callable[..., Path]) -> None:
    folder = put("val/ant/a.jpg", "val/bee/b.jpg")
    alone = load(folder)
    assert sizes(alone) == (0, 2, 2)
    assert "with none to train on" in alone.identity.note
    kept = json.dumps(load(folder).identity.to_dict())
    assert kept == json.dumps(alone.identity.to_dict())
    put("train/ant/a.jpg", "train/bee/b.jpg")
    assert sizes(load(folder)) == (2, 2, 2)
