"""The generated data set: the same everywhere, balanced, and not to be had by pixels alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from resnet_repro.data import datasets
from resnet_repro.data.dataset import Dataset


@pytest.fixture(scope="module")
def synthetic() -> Dataset:
    return datasets.load("synthetic", Path("nowhere"))


def test_contents_are_what_they_have_always_been(synthetic: Dataset) -> None:
    assert synthetic.identity.sha256.startswith("0614661ffb11")
    assert synthetic.identity.official
    assert synthetic.identity.source == "generated from seed 0"
    assert datasets.verify("synthetic", Path("nowhere")).identity == synthetic.identity


def test_shapes_and_balance(synthetic: Dataset) -> None:
    assert synthetic.train_images.shape == (10_000, 3, 32, 32)
    assert synthetic.test_images.shape == (2_000, 3, 32, 32)
    assert synthetic.train_images.dtype == np.uint8
    assert np.bincount(synthetic.train_labels).tolist() == [1_000] * 10
    assert np.bincount(synthetic.test_labels).tolist() == [200] * 10
    assert len(synthetic.classes) == 10
    assert np.bincount(synthetic.train_labels[:500]).max() < 100  # in random order


def test_a_linear_classifier_does_not_get_far(synthetic: Dataset) -> None:
    def features(images: np.ndarray) -> np.ndarray:
        some = images[:, :, ::2, ::2]  # of every four pixels one
        pixels = some.reshape(len(some), -1).astype(np.float32) / 255
        return np.hstack([pixels - 0.5, np.ones((len(images), 1), np.float32)])

    train, test = features(synthetic.train_images), features(synthetic.test_images)
    targets = np.eye(10, dtype=np.float32)[synthetic.train_labels]
    ridge = 1e3 * np.eye(train.shape[1], dtype=np.float32)
    weights = np.linalg.solve(train.T @ train + ridge, train.T @ targets)
    accuracy = np.mean((test @ weights).argmax(1) == synthetic.test_labels)
    assert 0.1 < accuracy < 0.35
