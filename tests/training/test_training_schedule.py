"""The learning rate of section 4.2, iteration by iteration."""

from __future__ import annotations

import math

import pytest

from resnet_repro.spec.presets import preset_recipe
from resnet_repro.spec.recipe import Recipe
from resnet_repro.spec.recipe_parts import Warmup
from resnet_repro.spec.schedule import learning_rate


@pytest.mark.parametrize(
    ("iteration", "rate"),
    [
        (0, 0.1),
        (31_999, 0.1),
        (32_000, 0.01),
        (47_999, 0.01),
        (48_000, 0.001),
        (63_999, 0.001),
    ],
)
def test_the_papers_schedule(iteration: int, rate: float) -> None:
    recipe = preset_recipe("paper", "resnet-56", "cifar10")
    assert learning_rate(recipe, iteration, None) == pytest.approx(rate, rel=1e-12)
    # A recipe without a warm-up does not care when one ended.
    assert learning_rate(recipe, iteration, 50_000) == pytest.approx(rate, rel=1e-12)


@pytest.mark.parametrize(
    ("preset", "drops", "end"),
    [
        ("paper", (32_000, 48_000), 64_000),
        ("short", (3_200, 4_800), 6_400),
    ],
)
def test_paper_and_short_drop_the_rate_at_a_half_and_at_three_quarters(
    preset: str, drops: tuple[int, int], end: int
) -> None:
    recipe = preset_recipe(preset, "plain-20", "cifar10")  # type: ignore[arg-type]
    assert recipe.iterations == end
    assert drops == (end // 2, end * 3 // 4)
    rates = [learning_rate(recipe, i, None) for i in range(end)]
    assert [i for i in range(1, end) if rates[i] != rates[i - 1]] == list(drops)
    assert (rates[0], rates[drops[0]], rates[-1]) == pytest.approx((0.1, 0.01, 0.001))


def test_a_quarter_starts_with_an_epoch_at_a_tenth_of_the_rate() -> None:
    recipe = preset_recipe("quarter", "plain-20", "cifar10")
    assert recipe.warmup is not None
    end, epoch = recipe.iterations, recipe.warmup.length
    assert (end, epoch) == (64_000 // 4, math.ceil(50_000 / 128))
    rates = [learning_rate(recipe, i, epoch if i >= epoch else None) for i in range(end)]
    changes = [i for i in range(1, end) if rates[i] != rates[i - 1]]
    assert changes == [epoch, end // 2, end * 3 // 4]
    assert [rates[i] for i in (0, *changes)] == pytest.approx([0.01, 0.1, 0.01, 0.001])
    assert preset_recipe("quarter", "resnet-110", "cifar10").warmup == Warmup(), "has its own"


def test_a_warm_up_holds_until_it_has_ended() -> None:
    recipe = preset_recipe("paper", "resnet-110", "cifar10")
    assert learning_rate(recipe, 0, None) == 0.01
    assert learning_rate(recipe, 5_000, None) == 0.01  # still going
    assert learning_rate(recipe, 399, 400) == 0.01
    assert learning_rate(recipe, 400, 400) == 0.1


def test_the_milestones_count_from_the_start_however_long_the_warm_up_was() -> None:
    recipe = preset_recipe("paper", "resnet-1202", "cifar10")
    assert learning_rate(recipe, 31_999, 3_000) == 0.1
    assert learning_rate(recipe, 32_000, 3_000) == pytest.approx(0.01)
    assert learning_rate(recipe, 48_000, 3_000) == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("network", "warmed_up"),
    [
        ("resnet-56", False),
        ("resnet-110", True),
        ("resnet-1202", True),
        ("plain-56", False),
        ("plain-110", False),
    ],
)
@pytest.mark.parametrize("preset", ["paper", "short"])
def test_only_resnet_110_and_1202_are_warmed_up(preset: str, network: str, warmed_up: bool) -> None:
    recipe = preset_recipe(preset, network, "cifar10")  # type: ignore[arg-type]
    assert learning_rate(recipe, 0, None) == (0.01 if warmed_up else 0.1)


def test_other_rates_and_divisors() -> None:
    recipe = Recipe(
        iterations=10,
        learning_rate=0.4,
        learning_rate_divisor=2,
        milestones=(1, 2, 9),
        warmup={"learning_rate": 0.003},
    )
    assert [learning_rate(recipe, i, 1) for i in range(10)] == pytest.approx(
        [0.003, 0.2] + [0.1] * 7 + [0.05]
    )
