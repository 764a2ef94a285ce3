"""`benchmarks/blind_detector.py`: what the same box in every image is worth."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch

from resnet_repro.data.boxes.boxes import Target

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "blind_detector.py"


@pytest.mark.skipif(not SCRIPT.exists(), reason="only in a checkout")
def test_a_box_in_the_middle_finds_what_is_there() -> None:
    blind = runpy.run_path(str(SCRIPT))["blind"]

    def image(*box: float, label: int) -> tuple[int, int, Target]:
        boxes, labels = torch.tensor([box]), torch.tensor([label])
        return 100, 200, Target("1", boxes, labels, torch.tensor([False]))

    middle, corner = image(50, 25, 150, 75, label=1), image(0, 0, 40, 20, label=2)
    assert blind([middle], ["a"], 0.5, 0) == (100, 100)
    assert blind([middle, corner], ["a", "b"], 0.5, 0)[1] in (50, 25)  # found first, or second
    assert blind([corner], ["a", "b"], 0.5, 0) == (0, 0)
