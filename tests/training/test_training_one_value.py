"""Batch normalisation needs more than one value, in each of several processes too."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from resnet_repro.base.errors import ConfigError
from resnet_repro.networks.network import build_network
from resnet_repro.spec.experiment import Choices
from resnet_repro.spec.loading import load_experiment
from resnet_repro.spec.run import Run
from resnet_repro.training.feed import check_fits


def tiny_run(batch_size: int, crop: int) -> Run:
    changes = [f"recipe.batch_size={batch_size}", f"recipe.photographs.crop={crop}"]
    choices = Choices(preset="demo", networks=["plain-18"])
    return load_experiment("table2", changes, choices).resolve()[0]


def test_a_share_of_one_image_is_refused() -> None:
    images: Any = SimpleNamespace(train_images=range(100))
    check_fits(tiny_run(2, 32), images, 1)
    check_fits(tiny_run(2, 33), images, 2)
    with pytest.raises(ConfigError, match="1 for each of 2 processes: one image of 32 pixels"):
        check_fits(tiny_run(2, 32), images, 2)


@pytest.mark.parametrize("network", ["plain-18", "resnet-50"])
def test_what_is_refused_is_what_torch_cannot_do(network: str) -> None:
    model = build_network(network, 2).train()
    model(torch.zeros(1, 3, 33, 33))
    model(torch.zeros(2, 3, 32, 32))
    with pytest.raises(ValueError, match="more than 1 value"):
        model(torch.zeros(1, 3, 32, 32))
    assert isinstance(model, nn.Module)
    assert model.eval()(torch.zeros(1, 3, 16, 16)).shape == (1, 2), "testing needs no more"
