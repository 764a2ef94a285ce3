"""Small data sets and short trainings on the CPU."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from short_runs import KeepGoing, small_synthetic

from resnet_repro.data.dataset import Dataset
from resnet_repro.data.synthetic import generate
from resnet_repro.spec.recipe import Recipe
from resnet_repro.spec.run import Run
from resnet_repro.training.device import choose_backend
from resnet_repro.training.feed import make_feed
from resnet_repro.training.trainer import Trainer

Prepare = Callable[..., Trainer]


@pytest.fixture
def keep_going() -> type[KeepGoing]:
    return KeepGoing


@pytest.fixture(scope="session")
def synthetic() -> Dataset:
    return generate()


@pytest.fixture(scope="session")
def small() -> Dataset:
    """The first 100 training and 30 test images of `synthetic`."""
    return small_synthetic()


@pytest.fixture(scope="session")
def prepare() -> Prepare:
    """A function that makes a trainer, ready to start; keywords are fields of the recipe."""

    def make(
        dataset: Dataset,
        network: str = "resnet-8",
        seed: int = 0,
        device: str = "cpu",
        precision: str = "fp32",
        compiled: bool = False,
        **recipe: object,
    ) -> Trainer:
        fields = {"iterations": 12, "milestones": (), "batch_size": 32, "evaluate_every": 1}
        run = Run(
            network=network,
            dataset="synthetic",
            recipe=Recipe.model_validate(fields | recipe),
            seed=seed,
        )
        backend = choose_backend(device, precision)  # as commands do: TF32 is not fp32
        return Trainer(run, make_feed(run, dataset, backend), backend, compiled=compiled)

    return make


@pytest.fixture(scope="session")
def train(prepare: Prepare) -> Prepare:
    """The same, trained to the end."""

    def make(*arguments: object, **keywords: object) -> Trainer:
        trainer = prepare(*arguments, **keywords)
        assert trainer.train(KeepGoing())
        return trainer

    return make
