"""Copies of CIFAR-10 in its various forms, with made-up contents."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from made_up_photos import WriteImages, WritePhotos, write_photo_folder
from PIL import Image

from resnet_repro.data import datasets
from resnet_repro.data.cifar.known import CIFAR_10
from resnet_repro.spec.dataset_names import DATASETS

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.fixture
def small_cifar10(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CIFAR-10 of 600 images, laid out as that of 60,000."""
    known = DATASETS["cifar10"]._replace(train_images=500, test_images=100)
    monkeypatch.setitem(DATASETS, "cifar10", known)


def fake_batch(number: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [count, 3072] and labels [count], balanced and different for every batch."""
    row = np.random.default_rng(0).integers(0, 256, 3072, dtype=np.uint8)
    offsets = np.arange(count, dtype=np.uint32).astype(np.uint8)[:, None]
    labels = (np.arange(count) % 10).astype(np.uint8)
    return row * np.uint8(2 * number + 1) + offsets, np.roll(labels, number)


@pytest.fixture
def binary_copy(tmp_path: Path) -> Path:
    """A cifar-10-batches-bin of as many images as the data set has."""
    folder = tmp_path / "from" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for number, (name, count) in enumerate(CIFAR_10.files.items()):
        pixels, labels = fake_batch(number, count)
        np.hstack([labels[:, None], pixels]).tofile(folder / f"{name}.bin")
    return folder


@pytest.fixture
def python_copy(tmp_path: Path) -> Path:
    """A cifar-10-batches-py of as many images as the data set has."""
    folder = tmp_path / "from" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for number, (name, count) in enumerate(CIFAR_10.files.items()):
        pixels, labels = fake_batch(number, count)
        values = {b"data": pixels, b"labels": labels.tolist(), b"batch_label": name.encode()}
        (folder / name).write_bytes(pickle.dumps(values, protocol=4 if number else 2))
    return folder


@pytest.fixture
def write_images(tmp_path: Path) -> WriteImages:
    """A function that writes a folder of images, each of one colour that tells its class."""

    def write(
        classes: list[str] = NAMES, train: int = 2, test: int = 1, suffix: str = "png"
    ) -> Path:
        folder = tmp_path / "images"
        for part, count in (("train", train), ("test", test)):
            for index, name in enumerate(classes):
                (folder / part / name).mkdir(parents=True)
                for number in range(count):
                    colour = (20 * index, 10 * number, 100 if part == "train" else 200)
                    path = folder / part / name / f"{number:03d}.{suffix}"
                    Image.new("RGB", (32, 32), colour).save(path)
        return folder

    return write


@pytest.fixture
def prepared(write_images: WriteImages, tmp_path: Path) -> Path:
    """A data folder with a small prepared cifar10."""
    datasets.prepare("cifar10", tmp_path / "data", write_images())
    return tmp_path / "data"


@pytest.fixture
def write_photos(tmp_path: Path) -> WritePhotos:
    """A function that writes train/<class>/ and val/<class>/ with photographs of various sizes."""
    return partial(write_photo_folder, tmp_path)
