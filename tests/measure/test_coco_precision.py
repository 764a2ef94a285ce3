"""COCO's average precision: its program where it is installed, against plain loops."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import numpy as np
import pytest
from made_up_detections import made_up
from numpy.typing import NDArray

from resnet_repro.data.boxes.boxes import Detections, Target
from resnet_repro.measure.average_precision import average_precisions
from resnet_repro.measure.coco_precision import coco_precisions, with_coco
from resnet_repro.store.measured import has_coco_numbers

Floats = NDArray[np.float64]
NEEDED = pytest.mark.skipif(not find_spec("pycocotools"), reason="pycocotools is not installed")


def shared(box: Floats, other: Floats) -> tuple[float, float]:
    """(the area that both cover, the other's area)."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    return max(width, 0) * max(height, 0), (other[2] - other[0]) * (other[3] - other[1])


def plain_coco(
    truths: list[Target], found: list[Detections], label: int, overlap: float
) -> float | None:
    """COCO's rules as its paper states them, one class and one overlap, in percent.

    Each detection, from the highest score, takes of the objects that are left the one that it
    overlaps most, if that is enough; without one it is passed over if a crowd covers enough of it.
    """
    ranked, objects = [], 0
    for image, (truth, some) in enumerate(zip(truths, found, strict=True)):
        every = [i for i, own in enumerate(truth.labels) if own == label]
        left = {i for i in every if not truth.difficult[i]}
        crowds = [i for i in every if truth.difficult[i]]
        objects += len(left)
        mine = [i for i, own in enumerate(some.labels) if own == label]
        for index in sorted(mine, key=lambda i: -some.scores[i])[:100]:
            box = some.boxes[index]
            area = (box[2] - box[0]) * (box[3] - box[1])

            best, which = overlap, None
            for other in sorted(left):
                inter, its = shared(box, truth.boxes[other])
                if inter / (area + its - inter) >= best:
                    best, which = inter / (area + its - inter), other
            if which is not None:
                left.remove(which)
                ranked.append((some.scores[index], image, True))
            elif not any(shared(box, truth.boxes[i])[0] / area >= overlap for i in crowds):
                ranked.append((some.scores[index], image, False))
    if not objects:
        return None
    ranked.sort(key=lambda one: -one[0])
    right = np.cumsum([one[2] for one in ranked])
    precision = right / np.arange(1, len(ranked) + 1)
    total = 0.0
    for step in range(101):
        enough = [p for p, r in zip(precision, right, strict=True) if r / objects >= step / 100]
        total += max(enough, default=0.0)
    return 100 * total / 101


@NEEDED
@pytest.mark.parametrize("seed", range(4))
def test_coco_program_and_plain_loops_agree(seed: int) -> None:
    truths, found = made_up(seed, tied=False)
    by_class = coco_precisions(truths, found, 4)
    for label, (mean, half) in enumerate(by_class, start=1):
        every = [plain_coco(truths, found, label, step / 100) for step in range(50, 100, 5)]
        if every[0] is None:
            assert (mean, half) == (None, None)
            continue
        assert half == pytest.approx(every[0], abs=1e-6)
        assert mean == pytest.approx(sum(e for e in every if e is not None) / 10, abs=1e-6)
    assert by_class[3] == (None, None)  # no object has label 4


@NEEDED
def test_rows_get_cocos_numbers_and_extremes_are_right() -> None:
    truths, _ = made_up(1)
    perfect = [
        Detections(t.boxes[~t.difficult], np.ones((~t.difficult).sum()), t.labels[~t.difficult])
        for t in truths
    ]
    nothing = [Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, int)) for _ in truths]
    for found, expected in ((perfect, 100), (nothing, 0)):
        rows = average_precisions(truths, found, list("abcd"), "0" * 64)
        rows = with_coco(rows, truths, found, print)
        for row in rows[:3]:
            assert [row.coco_ap, row.coco_ap50] == pytest.approx([expected, expected])
        assert (rows[3].coco_ap, rows[3].coco_ap50) == (None, None)


@NEEDED
def test_it_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    coco_precisions(*made_up(0), 4)
    assert capsys.readouterr() == ("", "")


def test_without_the_program_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("", ".coco", ".cocoeval"):
        monkeypatch.setitem(sys.modules, f"pycocotools{part}", None)
    rows = average_precisions([], [], ["a"], "0" * 64)
    told: list[str] = []
    assert with_coco(rows, [], [], told.append) == rows
    assert "pip install 'resnet-repro[detection]'" in told[0]


@NEEDED
def test_cocos_numbers_lack_where_its_program_was_not_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truths, found = made_up(1)
    rows = average_precisions(truths, found, list("abcd"), "0" * 64)
    assert not has_coco_numbers(rows), "it is here now"
    assert has_coco_numbers(with_coco(rows, truths, found, print))
    assert has_coco_numbers([row._replace(objects=0) for row in rows]), "nothing to find"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert has_coco_numbers(rows), "measuring once more would change nothing"
    assert not has_coco_numbers([])
