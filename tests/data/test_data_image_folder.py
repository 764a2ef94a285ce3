"""Folders of images: labels, order and colours, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from made_up_photos import WriteImages, png_bomb
from PIL import Image

from resnet_repro.base.errors import DataError
from resnet_repro.data import datasets
from resnet_repro.data.dataset import Dataset


def colour(dataset: Dataset, index: int) -> list[int]:
    image = dataset.train_images[index]
    assert (image == image[:, :1, :1]).all()
    return [int(value) for value in image[:, 0, 0]]


def test_official_names_get_official_labels(write_images: WriteImages, tmp_path: Path) -> None:
    dataset = datasets.prepare("cifar10", tmp_path / "data", write_images(train=3, test=2))
    assert dataset.train_labels.tolist() == [label for label in range(10) for _ in range(3)]
    assert dataset.test_labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert dataset.classes[3] == "cat"
    assert colour(dataset, 3 * 3 + 2) == [60, 20, 100]
    assert not dataset.identity.official
    assert dataset.identity.source == "image folder"
    assert "30 training and 20 test images" in dataset.identity.note


def test_the_parts_may_write_a_class_in_two_ways(write_images: WriteImages, tmp_path: Path) -> None:
    folder = write_images(train=3, test=2)
    alike = datasets.prepare("cifar10", tmp_path / "data", folder).identity.sha256
    for label, path in enumerate(sorted((folder / "test").iterdir())):
        path.rename(path.with_name(str(label)))
    (folder / "train" / "cat").rename(folder / "train" / "Cat")
    again = datasets.prepare("cifar10", tmp_path / "other", folder)
    assert again.identity.sha256 == alike


def test_digits_are_official_labels(write_images: WriteImages, tmp_path: Path) -> None:
    dataset = datasets.prepare("cifar10", tmp_path / "data", write_images(list("0123456789")))
    assert dataset.classes[3] == "cat"
    assert colour(dataset, 2 * 9) == [180, 0, 100]


def test_other_classes_are_sorted(write_images: WriteImages, tmp_path: Path) -> None:
    dataset = datasets.prepare("cifar10", tmp_path / "data", write_images(list("jihgfedcba")))
    assert dataset.classes == tuple("abcdefghij")
    assert "not those of CIFAR-10" in dataset.identity.note
    assert colour(dataset, 0) == [180, 0, 100]


def test_jpeg(write_images: WriteImages, tmp_path: Path) -> None:
    dataset = datasets.prepare("cifar10", tmp_path / "data", write_images(suffix="jpg"))
    assert np.abs(np.array(colour(dataset, 3)) - [20, 10, 100]).max() <= 3


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P", "RGBA", "I;16"])
def test_every_mode_becomes_rgb(write_images: WriteImages, tmp_path: Path, mode: str) -> None:
    folder = write_images()
    white = Image.new("RGB", (32, 32), (255, 255, 255)).convert("RGB" if mode == "I;16" else mode)
    if mode == "I;16":
        white = Image.new(mode, (32, 32), 65_535)
    if "A" in mode:
        white.putalpha(0)  # dropped, so that the image stays white
    white.save(folder / "train" / "airplane" / "000.png")
    assert colour(datasets.prepare("cifar10", tmp_path / "data", folder), 0) == [255, 255, 255]


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "not an image, or damaged"),
        (b"GIF89a", "not an image, or damaged"),
        (encoded(Image.new("RGB", (32, 32)))[:60], "damaged"),
        (encoded(Image.new("RGB", (33, 32))), "33x32 pixels instead of 32x32"),
        (encoded(Image.new("RGB", (900, 900)))[:99], "900x900 pixels instead"),  # not decoded
        (png_bomb(), "far too many pixels"),
        (bytes(2**20 + 1), "too large"),
    ],
)
def test_bad_image_is_named(
    write_images: WriteImages, tmp_path: Path, contents: bytes, message: str
) -> None:
    folder = write_images()
    (folder / "test" / "cat" / "000.png").write_bytes(contents)
    with pytest.raises(DataError, match=rf"test/cat/000\.png.*{message}") as caught:
        datasets.prepare("cifar10", tmp_path / "data", folder)
    assert len(str(caught.value).splitlines()) == 1


def test_other_files(write_images: WriteImages, tmp_path: Path) -> None:
    folder = write_images()
    (folder / "train" / "cat" / ".DS_Store").touch()  # hidden files are nobody's business
    datasets.prepare("cifar10", tmp_path / "data", folder)
    (folder / "train" / "cat" / "notes.txt").touch()
    with pytest.raises(DataError, match=r"notes\.txt is neither a PNG nor a JPEG"):
        datasets.prepare("cifar10", tmp_path / "data", folder)


def test_class_folders(write_images: WriteImages, tmp_path: Path) -> None:
    folder = write_images()
    (folder / "train" / "cat" / "000.png").unlink()
    (folder / "train" / "cat" / "001.png").unlink()
    with pytest.raises(DataError, match="train/cat has no images"):
        datasets.prepare("cifar10", tmp_path / "data", folder)
    (folder / "train" / "cat").rename(folder / "train" / "dachshund")
    with pytest.raises(DataError, match="do not have the same classes"):
        datasets.prepare("cifar10", tmp_path / "data", folder)
    (folder / "train" / "dachshund").rmdir()
    with pytest.raises(DataError, match="train has 9 class folders"):
        datasets.prepare("cifar10", tmp_path / "data", folder)


def test_too_many_images(
    write_images: WriteImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resnet_repro.data.cifar.image_folder.MAX_IMAGES", 19)
    with pytest.raises(DataError, match="more than 19 images"):
        datasets.prepare("cifar10", tmp_path / "data", write_images())
