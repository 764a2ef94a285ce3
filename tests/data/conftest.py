"""Copies of CIFAR-10 in its various forms, with made-up contents."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from made_up_photos import WriteImages, WritePhotos, photo
from PIL import Image

from resnet_repro.data import datasets

BATCHES = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def fake_batch(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [10000, 3072] and labels [10000], balanced and different for every batch."""
    row = np.random.default_rng(0).integers(0, 256, 3072, dtype=np.uint8)
    offsets = np.arange(10_000, dtype=np.uint32).astype(np.uint8)[:, None]
    labels = (np.arange(10_000) % 10).astype(np.uint8)
    return row * np.uint8(2 * number + 1) + offsets, np.roll(labels, number)


@pytest.fixture(scope="session")
def shared_binary_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("binary") / "cifar-10-batches-bin"
    folder.mkdir()
    for number, name in enumerate(BATCHES):
        pixels, labels = fake_batch(number)
        np.hstack([labels[:, None], pixels]).tofile(folder / f"{name}.bin")
    return folder


@pytest.fixture(scope="session")
def shared_python_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("python") / "cifar-10-batches-py"
    folder.mkdir()
    for number, name in enumerate(BATCHES):
        pixels, labels = fake_batch(number)
        values = {b"data": pixels, b"labels": labels.tolist(), b"batch_label": name.encode()}
        (folder / name).write_bytes(pickle.dumps(values, protocol=4 if number else 2))
    return folder


def _linked(shared: Path, parent: Path) -> Path:
    folder = parent / shared.name
    folder.mkdir(parents=True)
    for path in shared.iterdir():
        (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture
def binary_copy(shared_binary_copy: Path, tmp_path: Path) -> Path:
    """A cifar-10-batches-bin whose files can be replaced (`unlink` first)."""
    return _linked(shared_binary_copy, tmp_path / "from")


@pytest.fixture
def python_copy(shared_python_copy: Path, tmp_path: Path) -> Path:
    """A cifar-10-batches-py whose files can be replaced (`unlink` first)."""
    return _linked(shared_python_copy, tmp_path / "from")


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

    def write(
        classes: Sequence[str] = ("ant", "bee"),
        train: int = 3,
        val: int = 2,
        name: str = "photos",
        suffix: str = "png",
    ) -> Path:
        folder = tmp_path / name
        for part, count in (("train", train), ("val", val)):
            for index, label in enumerate(classes):
                (folder / part / label).mkdir(parents=True)
                for number in range(count):
                    seed = 100 * index + number + (50 if part == "val" else 0)
                    size = (40 + 7 * number, 60 - 9 * index)
                    path = folder / part / label / f"{part}-{label}-{number}.{suffix}"
                    photo(seed, *size).save(path)
        return folder

    return write
