"""What the tests of reliability share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import forking
import pytest
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
