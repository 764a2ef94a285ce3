"""What the tests of reliability share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import forking
import pytest
import torch
from stoppable import Driver

from resnet_repro.data.dataset import Dataset


@pytest.fixture(scope="session")
def driver() -> Iterator[Driver]:
    with tempfile.TemporaryDirectory() as folder:
        made = Driver(Path(folder))
        yield made
        made.close()


@pytest.fixture(scope="session")
def small_dataset() -> Dataset:
    return forking.small_dataset()


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
