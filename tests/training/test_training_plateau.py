"""The plateau rule of section 3.4: when the learning rate is divided."""

from __future__ import annotations

from typing import Any

import pytest

from resnet_repro.data.dataset import Dataset
from resnet_repro.spec.recipe import Recipe
from resnet_repro.spec.recipe_parts import Plateau, Warmup
from resnet_repro.spec.schedule import learning_rate, plateau_divisions
from resnet_repro.store.models import CurveRow


def points(errors: list[float], every: int = 10) -> list[CurveRow]:
    """A curve; its test errors say the opposite of its training errors."""
    return [
        CurveRow(every * i, float(i), 0.1, 1.0, error, 100 - error, 0.0)
        for i, error in enumerate(errors, start=1)
    ]


def recipe(patience: int, threshold: float, divisions: int = 3, **more: object) -> Recipe:
    rule = Plateau(patience=patience, threshold=threshold, divisions=divisions)
    fields = {"iterations": 1_000, "milestones": (), "plateau": rule}
    return Recipe.model_validate({**fields, **more})


@pytest.mark.parametrize(
    ("errors", "patience", "threshold", "expected"),
    [
        ([90, 80, 70, 60, 50], 1, 0.2, []),  # always better
        ([90, 80, 80, 80, 80], 3, 0.2, [50]),
        ([90, 80, 79.9, 79.8, 79.7], 3, 0.5, [50]),  # better, but not by enough
        ([90, 80, 79.9, 79.7, 79.4], 3, 0.5, []),  # by enough in the end
        ([90, 80, 85, 79, 85, 85, 78], 3, 0.2, []),  # progress starts the count anew
        ([90] * 5, 2, 0.2, [30, 50]),  # patience again after a division
        ([90] * 20, 2, 0.2, [30, 50, 70]),  # no more than three
        ([90, 50, 60, 60, 49.9, 60], 2, 0.2, [40, 60]),  # the best before a division still counts
    ],
)
def test_the_rate_is_divided_after_points_without_progress(
    errors: list[float], patience: int, threshold: float, expected: list[int]
) -> None:
    chosen, curve = recipe(patience, threshold), points(errors)
    assert plateau_divisions(chosen, curve) == expected
    # What has been decided stands when more points come.
    for shorter in range(len(curve)):
        known = plateau_divisions(chosen, curve[:shorter])
        assert known == expected[: len(known)]


def test_the_rate_falls_from_the_iteration_after_the_point() -> None:
    rates = [learning_rate(recipe(1, 0), i, None, [30, 50]) for i in (0, 29, 30, 49, 50, 999)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_the_last_point_divides_nothing() -> None:
    assert plateau_divisions(recipe(1, 0, iterations=30), points([90, 90, 90])) == [20]


def test_points_of_the_warm_up_do_not_count() -> None:
    chosen, curve = recipe(2, 0.2, warmup=Warmup()), points([90] * 6)
    assert plateau_divisions(chosen, curve) == []
    assert plateau_divisions(chosen, curve, warmup_end=20) == [50]


def test_a_recipe_without_the_rule_has_no_divisions() -> None:
    assert plateau_divisions(Recipe(), points([90] * 50)) == []


PLATEAU = {
    "iterations": 12,
    "evaluate_every": 2,
    "learning_rate": 0.01,
    "plateau": {"patience": 2, "threshold": 99, "divisions": 2},  # only the first is progress
}


def test_a_training_divides_and_says_where(small: Dataset, prepare: Any, keep_going: Any) -> None:
    trainer, hooks = prepare(small, **PLATEAU), keep_going()
    assert trainer.train(hooks)
    assert trainer.divisions == [6, 10]
    assert hooks.rates == pytest.approx([0.01] * 6 + [0.001] * 4 + [0.0001] * 2)
    assert [p.lr for p in trainer.points] == pytest.approx([0.01] * 3 + [0.001] * 2 + [0.0001])
