"""The first losses of two trainings, as they have always been.

A refactoring must not change what is trained. When a change is meant to, replace the numbers and
say so: results from before and after it cannot be mixed. Other processors and other numbers of
threads round differently: by iteration 8 that is 3e-4.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from resnet_repro.data.dataset import Dataset

GOLDEN = {
    "resnet-8": [2.68038, 2.35765, 2.32394, 2.42316, 2.39904, 2.67597, 2.72348, 3.05779],
    "plain-8": [2.42234, 2.33088, 2.30348, 2.27012, 2.26215, 2.30755, 2.41972, 2.27770],
}


@pytest.mark.parametrize("network", GOLDEN)
def test_the_first_losses_on_synthetic(network: str, synthetic: Dataset, train: Any) -> None:
    dataset = dataclasses.replace(
        synthetic, test_images=synthetic.test_images[:1], test_labels=synthetic.test_labels[:1]
    )
    trainer = train(dataset, network, batch_size=64, iterations=8, milestones=(2, 5))
    assert [p.train_loss for p in trainer.points] == pytest.approx(GOLDEN[network], rel=1e-3)
