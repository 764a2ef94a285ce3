"""Smaller images than the data set's: averaged down, and a labelled field of the recipe."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from resnet_repro.base.errors import ConfigError
from resnet_repro.data.augment import shrink
from resnet_repro.data.dataset import Dataset
from resnet_repro.data.synthetic import COUNTS
from resnet_repro.networks.outline import outline
from resnet_repro.plan.estimator import Estimator, training_cost
from resnet_repro.spec.loading import load_experiment
from resnet_repro.spec.presets import preset_recipe
from resnet_repro.spec.run import Run
from resnet_repro.store.store import Store
from resnet_repro.training.trainer import Trainer


def averaged(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[N, 3, 32, 32] to [N, 3, 16, 16] by numpy; halves are rounded to even values."""
    squares = images.reshape(len(images), 3, 16, 2, 16, 2).astype(np.float64)
    rounded: NDArray[np.uint8] = np.rint(squares.mean(axis=(3, 5))).astype(np.uint8)
    return rounded


def test_images_are_averaged_over_areas(small: Dataset) -> None:
    smaller = shrink(torch.from_numpy(small.train_images), 16)
    assert np.array_equal(smaller.numpy(), averaged(small.train_images))


def test_a_training_sees_and_tests_on_smaller_images(small: Dataset, prepare, train) -> None:
    feed = prepare(small, image_size=16).feed
    assert feed.mean.shape == (3, 16, 16)
    assert feed.batch(0).inputs.shape == (32, 3, 16, 16)
    assert {batch.inputs.shape[1:] for batch in feed.part("test")} == {(3, 16, 16)}
    before = dataclasses.replace(
        small,
        train_images=averaged(small.train_images),
        test_images=averaged(small.test_images),
    )
    here: Trainer = train(small, iterations=3, image_size=16)
    there: Trainer = train(before, iterations=3)
    errors = [[(p.train_loss, p.test_error) for p in t.points] for t in (here, there)]
    assert errors[0] == errors[1], "the same as on a data set that is smaller from the start"


def test_photographs_have_a_crop_instead() -> None:
    with pytest.raises(ConfigError, match="image_size: is for 32x32 images"):
        load_experiment("table2", ["recipe.image_size=16"])


def test_a_run_without_it_keeps_its_id() -> None:
    (run, *_) = load_experiment("fig1").resolve()
    assert run.recipe.image_size is None
    assert run.id == "plain-20-cifar10-paper-s0-4748941b"
    (smaller, *_) = load_experiment("fig1", ["recipe.image_size=16"]).resolve()
    assert smaller.preset == "custom"


def test_smaller_images_cost_less(tmp_path) -> None:
    paper = preset_recipe("paper", "resnet-20", "cifar10")
    runs = [
        Run(network="resnet-20", dataset="cifar10", recipe=recipe, seed=0)
        for recipe in (paper.model_copy(update={"image_size": 16}), paper)
    ]
    quarter = outline("resnet-20", 16).multiply_adds / outline("resnet-20", 32).multiply_adds
    assert quarter == pytest.approx(1 / 4, rel=0.01)
    assert training_cost(runs[0]) / training_cost(runs[1]) == pytest.approx(quarter)
    estimator = Estimator(Store(tmp_path), "cpu")
    seconds = [estimator.seconds(run) for run in runs]
    assert seconds[0] / seconds[1] == pytest.approx(quarter)


def test_the_demo_trains_gently_on_small_images() -> None:
    """At the paper's rate so few iterations would show the opposite of what it found."""
    for network in ("plain-56", "resnet-56", "resnet-110"):
        recipe = preset_recipe("demo", network, "synthetic")
        assert (recipe.image_size, recipe.learning_rate, recipe.warmup) == (16, 0.005, None)
        assert recipe.iterations * recipe.batch_size < 2 * COUNTS[0], "without random crops"
