"""Average precision, on hand-made cases and against the development kit's loops written plainly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from made_up_detections import made_up
from numpy.typing import NDArray

from resnet_repro.data.boxes.boxes import Detections, Target
from resnet_repro.measure.average_precision import (
    average_precisions,
    mean_over_classes,
)
from resnet_repro.spec.measurements import PrecisionRow

Box = tuple[float, float, float, float]
A, B, C = (0, 0, 10, 10), (20, 0, 30, 10), (40, 0, 50, 10)
NOWHERE = (70, 70, 80, 80)
SHA256 = "0" * 64  # of the data set


def truth(
    *objects: Box, difficult: tuple[int, ...] = (), labels: list[int] | None = None
) -> Target:
    count = len(objects)
    flags = np.isin(np.arange(count), difficult)
    boxes = np.array(objects, float).reshape(-1, 4)
    return Target("", boxes, np.array(labels or [1] * count, np.int64), flags)


def found(*detections: tuple[Box, float], labels: list[int] | None = None) -> Detections:
    boxes = np.array([box for box, _ in detections], float).reshape(-1, 4)
    scores = np.array([score for _, score in detections])
    return Detections(boxes, scores, np.array(labels or [1] * len(detections), np.int64))


def judge(truths: list[Target], detections: list[Detections]) -> PrecisionRow:
    return average_precisions(truths, detections, ["a"], SHA256)[0]


def test_everything_found_and_nothing_else_is_100_percent() -> None:
    one = judge([truth(A, B), truth(C)], [found((A, 0.9), (B, 0.8)), found((C, 0.1))])
    assert (one.ap_11point, one.ap_area) == (100, 100)
    assert (one.objects, one.detections) == (3, 3)


def test_half_of_the_objects_found() -> None:
    """Recall 0.5: six of eleven points have precision 1, the others none."""
    one = judge([truth(A, B)], [found((A, 0.9))])
    assert one.ap_11point == pytest.approx(100 * 6 / 11)
    assert one.ap_area == 50


def test_a_wrong_one_before_a_right_one() -> None:
    one = judge([truth(A, B)], [found((NOWHERE, 0.9), (A, 0.8), (B, 0.7))])
    assert one.ap_area == pytest.approx(100 * 2 / 3)  # the envelope is 2/3 all along
    assert one.ap_11point == pytest.approx(100 * 2 / 3)


def test_a_duplicate_is_wrong_and_does_not_go_to_the_second_best() -> None:
    near = (0, 0, 10, 14)
    one = judge([truth(A, near)], [found((A, 0.9), (A, 0.8))])
    assert one.ap_area == 50
    # The duplicate of higher score is the right one, whatever their order.
    one = judge([truth(A)], [found(((0, 0, 10, 8), 0.5), (A, 0.4))])
    assert one.ap_area == 100


def test_difficult_objects_neither_count_nor_hurt() -> None:
    hard = truth(A, B, difficult=(1,))
    without = judge([hard], [found((A, 0.5))])
    assert (without.ap_area, without.objects) == (100, 1)
    with_it = judge([hard], [found((B, 0.9), (B, 0.8), (A, 0.5))])  # even twice
    assert (with_it.ap_11point, with_it.ap_area, with_it.detections) == (100, 100, 3)
    # What overlaps a difficult object most counts as its, though it overlaps another enough.
    wide = (0, 0, 10, 12)
    both = truth(A, wide, difficult=(1,))
    assert judge([both], [found((wide, 0.9))]).ap_area == 0


def test_all_difficult_or_no_objects_is_no_average_precision() -> None:
    for image in (truth(), truth(A, difficult=(0,))):
        one = judge([image], [found((A, 0.9), (NOWHERE, 0.8))])
        assert (one.ap_11point, one.ap_area, one.objects, one.detections) == (None, None, 0, 2)
    assert mean_over_classes([None, 50.0, None, 100.0]) == 75
    assert mean_over_classes([None]) is None


def test_no_detections_is_0() -> None:
    one = judge([truth(A), truth()], [found(), found()])
    assert (one.ap_11point, one.ap_area, one.objects, one.detections) == (0, 0, 1, 0)
    assert average_precisions([], [], ["a", "b"], SHA256)[1].ap_area is None


def test_detections_of_one_score_keep_their_order() -> None:
    right_first = judge([truth(A), truth()], [found((A, 0.5)), found((A, 0.5))])
    wrong_first = judge([truth(), truth(A)], [found((A, 0.5)), found((A, 0.5))])
    assert (right_first.ap_area, wrong_first.ap_area) == (100, 50)


def test_of_objects_that_are_overlapped_alike_the_first_is_taken() -> None:
    between = (5, 0, 15, 10)
    pair = truth((0, 0, 15, 10), (5, 0, 20, 10), difficult=(1,))
    assert judge([pair], [found((between, 0.5))]).ap_area == 100
    other = truth((0, 0, 15, 10), (5, 0, 20, 10), difficult=(0,))
    assert judge([other], [found((between, 0.5))]).ap_area == 0


def test_an_overlap_of_exactly_half_is_enough_in_the_kits_pixels() -> None:
    half = (0, 0, 10, 5)
    assert judge([truth(A)], [found((half, 0.5))]).ap_area == 100
    assert judge([truth(A)], [found(((0, 0, 10, 4.999), 0.5))]).ap_area == 0
    # In the kit's words: pixels 1..10 and 1..5; without its +1 the overlap would be 36/81.
    assert kit_overlap((1, 1, 10, 10), (1, 1, 10, 5)) == 0.5


def test_recalls_are_compared_exactly() -> None:
    """3 of 10 objects found is a recall of 0.3; 0.1 * 3 in floating point is more than that."""
    objects = [(20.0 * k, 0.0, 20.0 * k + 10, 10.0) for k in range(10)]
    one = judge([truth(*objects)], [found(*((box, 0.9) for box in objects[:3]))])
    assert one.ap_11point == pytest.approx(100 * 4 / 11)


def test_classes_are_judged_apart() -> None:
    truths = [truth(A, B, labels=[1, 2])]
    detections = [found((A, 0.9), (A, 0.8), (B, 0.7), labels=[2, 1, 2])]
    rows = average_precisions(truths, detections, ["a", "b", "c"], SHA256)
    assert [(row.class_name, row.ap_area, row.objects, row.detections) for row in rows] == [
        ("a", 100, 1, 1), ("b", 50, 1, 2), ("c", None, 0, 0)
    ]  # fmt: skip


def test_empty_boxes_overlap_nothing() -> None:
    nothing = [((3.0, 3.0, 3.0, 9.0), 0.9), ((9.0, 9.0, 2.0, 2.0), 0.8)]
    assert judge([truth(A)], [found(*nothing)]).ap_area == 0


@pytest.mark.parametrize(
    "broken",
    [
        found((A, float("nan"))),
        found(((0, 0, float("inf"), 1), 0.5)),
        found((A, 0.5), labels=[2]),
        found((A, 0.5), labels=[0]),
    ],
)
def test_what_is_no_detection_is_refused(broken: Detections) -> None:
    with pytest.raises(ValueError, match="image 0"):
        judge([truth(A)], [broken])
    with pytest.raises(ValueError, match="2 images searched, 1"):
        judge([truth(A)], [found(), found()])


def test_tensors_are_as_good_as_arrays() -> None:
    target = Target(
        "a",
        torch.tensor([A, B], dtype=torch.float32),
        torch.tensor([1, 1]),
        torch.tensor([False, True]),
    )
    detections = Detections(
        torch.tensor([A], dtype=torch.float32), torch.tensor([0.5]), torch.tensor([1])
    )
    (one,) = average_precisions([target], [detections], ["a"], SHA256)
    assert (one.ap_area, one.objects) == (100, 1)


# The development kit's program once more, plainly: 1-based pixels with both ends, plain loops.


def kit_overlap(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0]) + 1
    height = min(one[3], other[3]) - max(one[1], other[1]) + 1
    if width <= 0 or height <= 0:
        return -np.inf
    area = lambda b: (b[2] - b[0] + 1) * (b[3] - b[1] + 1)  # noqa: E731
    return width * height / (area(one) + area(other) - width * height)


def in_kits_pixels(box: NDArray[np.float64]) -> Box:
    x1, y1, x2, y2 = box.tolist()
    return x1 + 1, y1 + 1, x2, y2


def kit_average_precisions(
    truths: list[Target], detections: list[Detections], label: int
) -> tuple[float, float] | None:
    ranked = []
    for image, some in enumerate(detections):
        for box, score, mine in zip(some.boxes, some.scores, some.labels, strict=True):
            if mine == label:
                ranked.append((image, in_kits_pixels(box), score))
    ranked.sort(key=lambda one: -one[2])  # Python's sort is stable
    used: set[tuple[int, int]] = set()
    positives = sum(
        int(mine == label and not hard)
        for one in truths
        for mine, hard in zip(one.labels, one.difficult, strict=True)
    )
    if not positives:
        return None
    recalls, precisions, right, wrong = [], [], 0, 0
    for image, box, _ in ranked:
        best, which = -np.inf, -1
        for index, other in enumerate(truths[image].boxes):
            if truths[image].labels[index] == label:
                overlap = kit_overlap(box, in_kits_pixels(other))
                if overlap > best:
                    best, which = overlap, index
        if best >= 0.5:
            if not truths[image].difficult[which]:
                if (image, which) in used:
                    wrong += 1
                else:
                    right += 1
                    used.add((image, which))
        else:
            wrong += 1
        recalls.append((right, positives))
        precisions.append(right / (right + wrong) if right + wrong else 0)
    eleven = 0.0
    for step in range(11):
        reached = [p for p, (r, n) in zip(precisions, recalls, strict=True) if 10 * r >= step * n]
        eleven += max(reached, default=0) / 11
    levels = [0.0, *(r / n for r, n in recalls), 1.0]
    heights = [0.0, *precisions, 0.0]
    for index in reversed(range(len(heights) - 1)):
        heights[index] = max(heights[index], heights[index + 1])
    area = sum((levels[i] - levels[i - 1]) * heights[i] for i in range(1, len(levels)))
    return 100 * eleven, 100 * area


@pytest.mark.parametrize("seed", range(12))
def test_made_up_scenes_come_out_as_the_plain_loops_have_it(seed: int) -> None:
    truths, detections = made_up(seed)
    every = average_precisions(truths, detections, ["a", "b", "c"], SHA256)
    for label, one in enumerate(every, start=1):
        expected = kit_average_precisions(truths, detections, label)
        assert expected is not None
        assert (one.ap_11point, one.ap_area) == pytest.approx(expected, abs=1e-9)
        assert 0 < expected[1] < 100
