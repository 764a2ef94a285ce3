"""Folders of photographs: what is in them, and one clear line about what is wrong with them."""

from __future__ import annotations

import csv
import io
import logging
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from made_up_photos import WritePhotos, write_devkit
from made_up_photos import load_photos as load
from scipy.io import savemat

from resnet_repro.base.errors import DataError
from resnet_repro.data import datasets
from resnet_repro.data.photos.photos import PhotoDataset


def test_classes_names_and_labels(write_photos: WritePhotos, tmp_path: Path) -> None:
    folder = write_photos(("wasp", "ant", "bee"))
    dataset = load(folder, tmp_path / "data")
    assert dataset.classes == ("ant", "bee", "wasp")
    assert list(dataset.train.names)[:2] == [
        "train/ant/train-ant-0.png",
        "train/ant/train-ant-1.png",
    ]
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert dataset.test.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert dataset.test.labels.dtype == np.int64
    assert dataset.test.pixels(5).shape == (60, 47, 3)


def test_identity_is_honest(write_photos: WritePhotos, tmp_path: Path) -> None:
    identity = load(write_photos(), tmp_path / "data").identity
    assert identity.name == "folder:photos"
    assert not identity.official
    assert "cannot be checked" in identity.note
    assert "6 training and 4 validation images of 2 classes" in identity.note
    assert str(tmp_path) not in str(identity.to_dict())


def test_identity_is_of_names_and_contents(write_photos: WritePhotos, tmp_path: Path) -> None:
    folder = write_photos()
    shutil.copytree(folder, tmp_path / "copy")

    def sha256(n: int) -> str:
        return load(tmp_path / "copy", tmp_path / f"data{n}").identity.sha256

    first = load(folder, tmp_path / "data").identity.sha256
    assert sha256(1) == first
    path = tmp_path / "copy" / "val" / "bee" / "val-bee-1.png"
    contents = path.read_bytes()
    path.write_bytes(contents[:-1] + b"\0")
    changed = sha256(2)
    assert changed != first
    path.write_bytes(contents)
    path.rename(path.with_name("x.png"))
    assert len({first, changed, sha256(3)}) == 3


def test_of_huge_data_sets_names_and_sizes_count(
    write_photos: WritePhotos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("resnet_repro.data.folder_index.CONTENTS_LIMIT", 1000)
    folder = write_photos()
    first = load(folder, tmp_path / "data").identity
    assert "not contents" in first.note
    with caplog.at_level("INFO"):
        datasets.verify("folder:photos", tmp_path / "data", {"photos": folder})
    assert "compared by names and sizes, each image decoded, not compared" in caplog.text
    path = folder / "val" / "bee" / "val-bee-1.png"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert load(folder, tmp_path / "data1").identity.sha256 == first.sha256
    path.write_bytes(path.read_bytes() + b"\0")
    assert load(folder, tmp_path / "data2").identity.sha256 != first.sha256


def test_a_folder_is_looked_through_once(
    write_photos: WritePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, data_dir = write_photos(), tmp_path / "data"
    first = load(folder, data_dir)
    with monkeypatch.context() as patch:
        patch.setattr("resnet_repro.data.photos.reader.scan_folder", None)
        again = load(folder, data_dir)
    assert again.identity == first.identity
    assert again.classes == first.classes
    assert list(again.test.names) == list(first.test.names)
    assert (again.train.labels == first.train.labels).all()
    path = folder / "train" / "ant" / "train-ant-1.png"
    os.utime(path.parent, ns=(0, 0))  # a change within the clock's resolution is not the point here
    shutil.copy(path, path.with_name("new.png"))
    assert len(load(folder, data_dir).train) == 7
    (kept,) = (data_dir / ".photographs").iterdir()
    kept.write_bytes(kept.read_bytes()[:300])
    assert len(load(folder, data_dir).train) == 7


def test_data_folder_that_cannot_be_written_to(write_photos: WritePhotos, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file", encoding="utf-8")
    assert len(load(write_photos(), tmp_path / "data").train) == 6


def test_folders_in_class_folders_and_other_files(
    write_photos: WritePhotos, tmp_path: Path
) -> None:
    folder = write_photos()
    deeper = folder / "train" / "ant" / "images" / "more"
    deeper.mkdir(parents=True)
    (folder / "train" / "ant" / "train-ant-1.png").rename(deeper / "IMG.PNG")
    (folder / "train" / "ant" / "notes.txt").touch()
    (folder / "train" / "ant" / ".DS_Store").touch()
    (folder / "train" / "bee" / "train-bee-0.png").rename(tmp_path / "elsewhere.png")
    (folder / "train" / "bee" / "train-bee-0.png").symlink_to(tmp_path / "elsewhere.png")
    dataset = load(folder, tmp_path / "data")
    assert "train/ant/images/more/IMG.PNG" in dataset.train.names
    assert len(dataset.train) == 6
    assert "files left out because they are not images: 1" in dataset.identity.note


def test_class_without_validation_images_is_noted(
    write_photos: WritePhotos, tmp_path: Path
) -> None:
    folder = write_photos(("ant", "bee", "wasp"))
    shutil.rmtree(folder / "val" / "bee")
    dataset = load(folder, tmp_path / "data")
    assert dataset.test.labels.tolist() == [0, 0, 2, 2]
    assert "classes without validation images: 1" in dataset.identity.note


def no_parts(folder: Path) -> None:
    shutil.rmtree(folder / "train")
    shutil.rmtree(folder / "val")


def no_val(folder: Path) -> None:
    (folder / "val").rename(folder / "test")


def no_classes(folder: Path) -> None:
    for path in (folder / "train").iterdir():
        shutil.rmtree(path)


def one_class(folder: Path) -> None:
    shutil.rmtree(folder / "train" / "bee")


def unknown_class(folder: Path) -> None:
    (folder / "val" / "bee").rename(folder / "val" / "hornet")


def no_images(folder: Path) -> None:
    shutil.rmtree(folder / "train" / "bee")
    (folder / "train" / "bee").mkdir()


def no_val_images(folder: Path) -> None:
    for path in (folder / "val").rglob("*.png"):
        path.unlink()


def flat_val(folder: Path) -> None:
    for path in list((folder / "val").rglob("*.png")):
        path.rename(folder / "val" / path.name)
    for path in list((folder / "val").iterdir()):
        if path.is_dir():
            path.rmdir()


def empty_val(folder: Path) -> None:
    shutil.rmtree(folder / "val")
    (folder / "val").mkdir()


def broken_link(folder: Path) -> None:
    (folder / "val" / "bee" / "gone.jpg").symlink_to(folder / "nowhere.jpg")


def a_pipe(folder: Path) -> None:
    os.mkfifo(folder / "train" / "ant" / "pipe.jpg")


def failing_disk(folder: Path) -> None:
    (folder / "train" / "bee" / "bad.jpg").symlink_to("/proc/self/mem")  # opens, but does not read


def endless_folders(folder: Path) -> None:
    (folder / "train" / "ant" / "again").symlink_to(folder / "train" / "ant")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (no_parts, "has no folder 'train' or 'val': photographs belong in train/<class>/ and val/"),
        (no_val, "has no folder 'val': .*there is a folder 'test': rename it"),
        (no_classes, "train has no class folders"),
        (one_class, "train has only one class, ant: two are needed"),
        (unknown_class, "val has a class that train lacks: hornet"),
        (no_images, "train has no images in bee"),
        (no_val_images, "val has no images"),
        (flat_val, "val has images but no class folders"),
        (empty_val, "val has no class folders and no images"),
        (broken_link, r"val/bee/gone\.jpg is not a file, or a link that leads nowhere"),
        (a_pipe, r"train/ant/pipe\.jpg is not a file"),
        pytest.param(
            failing_disk,
            r"cannot read .*train/bee/bad\.jpg: Input/output error",
            marks=pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs /proc"),
        ),
        (endless_folders, "too many folders in folders"),
    ],
)
def test_bad_folder(
    write_photos: WritePhotos, tmp_path: Path, damage: object, message: str
) -> None:
    folder = write_photos()
    damage(folder)  # type: ignore[operator]
    with pytest.raises(DataError, match=message) as caught:
        load(folder, tmp_path / "data")
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.exit_code == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["train/ant", "val/bee/val-bee-0.png"])
def test_unreadable(write_photos: WritePhotos, tmp_path: Path, name: str) -> None:
    folder = write_photos()
    (folder / name).chmod(0)
    try:
        with pytest.raises(DataError, match=f"cannot read .*{name}: Permission denied"):
            load(folder, tmp_path / "data")
    finally:
        (folder / name).chmod(0o700)


WNIDS = ("n01440764", "n02102040", "n03888257")


@pytest.fixture
def imagenet(write_photos: WritePhotos, tmp_path: Path) -> Path:
    """A data folder with a small ImageNet whose val is sorted into folders."""
    folder = write_photos(WNIDS, name="data/imagenet", val=2, suffix="JPEG")
    for index, path in enumerate(
        sorted((folder / "val").rglob("*.JPEG"), key=lambda p: p.name[::-1])
    ):
        path.rename(path.with_name(f"ILSVRC2012_val_{index + 1:08d}.JPEG"))
    return tmp_path / "data"


def flatten(imagenet: Path) -> list[str]:
    """Make val flat; returns the wnid of each image by number."""
    val = imagenet / "imagenet" / "val"
    classes = {}
    for path in list(val.rglob("*.JPEG")):
        classes[path.name] = path.parent.name
        path.rename(val / path.name)
    for wnid in WNIDS:
        (val / wnid).rmdir()
    return [classes[name] for name in sorted(classes)]


def write_solution(folder: Path, wnids: list[str]) -> None:
    with (folder / "LOC_val_solution.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["ImageId", "PredictionString"])
        for number, wnid in reversed(list(enumerate(wnids, start=1))):
            rows.writerow([f"ILSVRC2012_val_{number:08d}", f"{wnid} 1 2 3 4 {wnid} 5 6 7 8 "])


@pytest.mark.parametrize("layout", ["devkit", "packed devkit", "solution", "kaggle"])
def test_flat_val_is_the_same_data_set(imagenet: Path, layout: str) -> None:
    sorted_val = datasets.load("imagenet", imagenet)
    assert isinstance(sorted_val, PhotoDataset)
    pixels = [sorted_val.test.pixels(index) for index in range(6)]
    wnids, folder = flatten(imagenet), imagenet / "imagenet"
    assert len(set(wnids[:3])) == 3  # in an order that is not that of the classes
    if layout == "kaggle":
        whole = imagenet / "kaggle"
        (whole / "ILSVRC" / "Data").mkdir(parents=True)
        folder.rename(whole / "ILSVRC" / "Data" / "CLS-LOC")
        whole.rename(folder)
    if "devkit" in layout:
        devkit = write_devkit(folder, wnids)
        if layout == "packed devkit":
            with tarfile.open(folder / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as tar:
                tar.add(devkit, devkit.name)
            shutil.rmtree(devkit)
    else:
        write_solution(folder, wnids)
    flat = datasets.load("imagenet", imagenet)
    assert isinstance(flat, PhotoDataset)
    assert flat.identity.sha256 == sorted_val.identity.sha256
    assert flat.test.labels.tolist() == sorted_val.test.labels.tolist() == [0, 0, 1, 1, 2, 2]
    for index in range(6):
        assert (flat.test.pixels(index) == pixels[index]).all()
    assert "the official one has 1,281,167 and 50,000" in flat.identity.note


@pytest.mark.parametrize("layout", ["devkit", "solution", "solution beside"])
def test_corrected_ground_truth_is_read_again(
    imagenet: Path, caplog: pytest.LogCaptureFixture, layout: str
) -> None:
    wnids, folder = flatten(imagenet), imagenet / "imagenet"
    if layout == "devkit":
        told = write_devkit(folder, wnids) / "data" / "ILSVRC2012_validation_ground_truth.txt"
    else:
        write_solution(imagenet if "beside" in layout else folder, wnids)
    before = datasets.load("imagenet", imagenet)
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="resnet_repro"):
        assert datasets.load("imagenet", imagenet).identity == before.identity
    assert not caplog.records, "what is unchanged is not looked through again"
    if layout == "devkit":
        lines = told.read_text(encoding="utf-8").splitlines()[::-1]
        told.write_text("\n".join(lines), encoding="utf-8")
    else:
        write_solution(imagenet if "beside" in layout else folder, wnids[::-1])
    after = datasets.load("imagenet", imagenet)
    assert isinstance(after, PhotoDataset)
    assert after.identity.sha256 != before.identity.sha256
    found = dict(zip(after.test.names, after.test.labels.tolist(), strict=True))
    assert [WNIDS[found[name]] for name in sorted(found)] == wnids[::-1]


def test_flat_val_without_ground_truth(imagenet: Path) -> None:
    flatten(imagenet)
    with pytest.raises(DataError, match="there is no ground truth: put ILSVRC2012_devkit_t12") as c:
        datasets.load("imagenet", imagenet)
    assert len(str(c.value).splitlines()) == 1


def test_ground_truth_that_does_not_fit(imagenet: Path) -> None:
    wnids, folder = flatten(imagenet), imagenet / "imagenet"
    write_solution(folder, wnids[:-1])
    with pytest.raises(DataError, match=r"does not say the class of val/ILSVRC2012_val_00000006"):
        datasets.load("imagenet", imagenet)
    write_solution(folder, [*wnids[:-1], "n99999999"])
    with pytest.raises(DataError, match="val has a class that train lacks: n99999999"):
        datasets.load("imagenet", imagenet)
    (folder / "LOC_val_solution.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(DataError, match="is not Kaggle's"):
        datasets.load("imagenet", imagenet)
    devkit = write_devkit(folder, wnids[:-1])
    with pytest.raises(DataError, match=r"does not say the class of val/ILSVRC2012_val_00000006"):
        datasets.load("imagenet", imagenet)
    (devkit / "data" / "meta.mat").write_bytes(b"MATLAB 5.0 MAT-file, they say")
    with pytest.raises(DataError, match="the ground truth in ILSVRC2012_devkit_t12 is damaged"):
        datasets.load("imagenet", imagenet)
    shutil.rmtree(devkit)
    (folder / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(io.BytesIO(b"no tar").getvalue())
    with pytest.raises(DataError, match=r"ILSVRC2012_devkit_t12\.tar\.gz is damaged"):
        datasets.load("imagenet", imagenet)


def test_a_small_ground_truth_that_unpacks_without_end(imagenet: Path) -> None:
    wnids, folder = flatten(imagenet), imagenet / "imagenet"
    meta = write_devkit(folder, wnids) / "data" / "meta.mat"
    savemat(meta, {"synsets": np.zeros(2**26, np.uint8)}, do_compression=True)
    assert meta.stat().st_size < 2**20
    with pytest.raises(DataError, match=r"ground truth in .* damaged: it unpacks to more than"):
        datasets.load("imagenet", imagenet)


def test_test_images_are_known_once_it_was_looked_through(
    write_photos: WritePhotos, tmp_path: Path
) -> None:
    folders = {"photos": write_photos(("ant", "bee", "wasp"))}
    asked = (["folder:photos"], tmp_path / "data", folders)
    assert datasets.known_test_images(*asked) == {}
    load(folders["photos"], tmp_path / "data")
    assert datasets.known_test_images(*asked) == {"folder:photos": 6}
