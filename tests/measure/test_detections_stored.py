"""What is kept of a detector's test images, to be drawn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from narrow_networks import narrow_networks
from small_detectors import few_scenes, small_run

from resnet_repro.base.errors import StoreError
from resnet_repro.measure.detection import show_some
from resnet_repro.training.box_feed import BoxFeed
from resnet_repro.training.device import Backend
from resnet_repro.training.subject import Subject, initial_network


def test_images_that_cannot_be_kept_are_said_in_a_line(tmp_path: Path) -> None:
    run, cpu = small_run(), Backend(torch.device("cpu"), "fp32")
    with narrow_networks():
        network = initial_network(run, 5, cpu)
    subject = Subject(run, network, BoxFeed(run, few_scenes(), cpu.device), cpu)
    rows = show_some(subject, tmp_path / "photographs.npz")
    assert {row.image for row in rows} == {f"test-{index:05d}" for index in range(4)}
    with pytest.raises(StoreError, match=r"cannot write .*gone"):
        show_some(subject, tmp_path / "gone" / "photographs.npz")
