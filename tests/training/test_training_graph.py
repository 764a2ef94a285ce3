"""The draws of a graphed iteration are those of an ordinary one, whatever is prepared when."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from resnet_repro.data.dataset import Dataset
from resnet_repro.data.datasets import load
from resnet_repro.spec.recipe import Recipe
from resnet_repro.spec.run import Run
from resnet_repro.training.cifar_feed import CifarFeed
from resnet_repro.training.graph import DrawQueue


@pytest.fixture(scope="module")
def feed(tmp_path_factory: pytest.TempPathFactory) -> CifarFeed:
    dataset = load("synthetic", Path(tmp_path_factory.mktemp("data")))
    assert isinstance(dataset, Dataset)
    recipe = Recipe(batch_size=3000, iterations=20, milestones=())  # an epoch is 3 1/3 batches
    run = Run(network="resnet-8", dataset="synthetic", recipe=recipe, seed=3)
    return CifarFeed(run, dataset, torch.device("cpu"))


@pytest.mark.parametrize("queued", [1, 2, 5])
def test_the_queue_gives_every_iteration_its_batch(feed: CifarFeed, queued: int) -> None:
    queue = DrawQueue(feed, queued)
    for iteration in (0, 1, 2, 3, 4, 9, 10, 3, 4, 3):  # as after a stop and a resume as well
        queue.prepare(iteration)
        taken, expected = queue.take(), feed.batch(iteration)
        assert torch.equal(taken.inputs, expected.inputs)
        assert torch.equal(taken.targets, expected.targets)
