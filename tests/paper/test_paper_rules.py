"""Each kind of rule in words, and what it makes of numbers, without any results folder."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from resnet_repro.base.errors import ConfigError
from resnet_repro.paper.claims import Claim, load_claims
from resnet_repro.paper.estimates import Condition, weakest
from resnet_repro.paper.rules import EnsembleRule, Rule, RunRule

RULES: TypeAdapter[Any] = TypeAdapter(Rule)
A, B, C = "resnet-20", "plain-20", "resnet-34-b"


def rule(kind: str, quantity: str = "final_test_error", **fields: Any) -> Any:
    return RULES.validate_python({"kind": kind, "quantity": quantity, "margin": 0.3, **fields})


ORDER = rule("order", chains=[[A, B]], at_least=1, at_most=2)
TREND = rule("trend", chain=[A, B, C])
THROUGHOUT = rule("throughout", "train_error_along", pair=[A, B], share=95)
GAP = rule("gap", wider=[A, B], narrower=[C, C])
LIMIT = rule("limit", "epochs_to_start", each=[A], side="below", limit=10, changes=["warmup=null"])
BAND = rule("band", network=A, value=8.75, band=0.5)
CLOSE = rule("close", pair=[A, B], value=2.85, band=0.7)
SAME = rule("same", network=A, changes=["warmup=null"], band=0.5)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (ORDER, "ResNet-20 < plain-20, by at least 1, each step at most 2"),
        (TREND, "rises along ResNet-20, plain-20, ResNet-34 B, as a linear trend"),
        (
            GAP,
            "(plain-20 minus ResNet-20) > (ResNet-34 B minus ResNet-34 B), the first more than 0.3",
        ),
        (BAND, "ResNet-20 within 0.5 of 8.75"),
        (CLOSE, "(plain-20 minus ResNet-20) within 0.7 of 2.85"),
        (SAME, "ResNet-20 with warmup=null within 0.5 of ResNet-20 without"),
    ],
)
def test_words(made: RunRule, words: str) -> None:
    assert made.words() == f"final test error: {words} (margin 0.3)"


def test_words_name_the_quantity_and_its_unit() -> None:
    assert LIMIT.words() == (
        "epochs until the training error is below 90% by four standard errors: ResNet-20 below 10 "
        "epochs with warmup=null (margin 0.3)"
    )
    assert THROUGHOUT.words().startswith(
        "training error along the way, seed by seed: plain-20 above ResNet-20 at 95 percent of the"
    )


def judged(name: str, *values: list[float]) -> list[Condition]:
    """The conditions of a claim, given values for each of what its rule speaks of."""
    rule = next(claim.rule for claim in load_claims() if claim.id == name)
    assert isinstance(rule, RunRule)
    return rule.conditions(dict(zip(rule.subjects, values, strict=True)))


@pytest.mark.parametrize(
    ("shallow", "deep", "outcome"),
    [
        ([9.0, 9.1, 9.2], [12.0, 12.1, 12.2], "confirmed"),
        ([12.0, 12.1, 12.2], [9.0, 9.1, 9.2], "contradicted"),
        ([9.0, 10.0, 11.0], [9.5, 10.5, 11.5], "consistent"),  # right direction, wide interval
        ([9.5, 10.5, 11.5], [9.0, 10.0, 11.0], "undecided"),  # wrong direction, wide interval
        ([9.0, 9.5], [9.0, 9.5], "undecided"),  # a tie
        ([9.0, 9.0], [9.0, 9.0], "undecided"),  # a tie without any spread
        ([9.0], [12.0], "consistent"),  # one seed is never more than that
        ([9.0, 9.1, 9.2], [12.0], "consistent"),  # nor one seed on one side
        ([9.0], [9.0], "undecided"),
        ([9.0], [8.8], "undecided"),  # wrong direction within the margin of 0.3
        ([9.0], [9.2], "undecided"),  # right direction within it
        ([9.0], [9.4], "consistent"),  # beyond it
        ([9.0], [8.6], "contradicted"),  # beyond it
        ([9.0, 9.3], [8.6, 8.3], "contradicted"),  # whichever two seeds are taken
        ([9.0, 9.3], [8.6, 9.1], "undecided"),  # 9.1 is above 9.0
        ([9.0], [8.6, 8.7], "contradicted"),
        ([9.0], [8.1, 9.1], "undecided"),
    ],
)
def test_order(shallow: list[float], deep: list[float], outcome: str) -> None:
    assert weakest(judged("plain-56-test", shallow, deep)) == outcome


@pytest.mark.parametrize(
    ("errors", "outcome"),
    [
        ((24.19, 24.52, 25.03), "consistent"),  # the paper's
        ((23.0, 26.9, 27.4), "contradicted"),  # a step of 3.9 points is no margin
        ((24.2, 24.6, 25.8), "undecided"),  # a step of 1.2 is over 1 by less than the margin
        ((24.4, 24.2, 25.0), "undecided"),
        ((25.1, 24.2, 25.0), "contradicted"),
    ],
)
def test_slightly_and_marginally_better(errors: tuple[float, ...], outcome: str) -> None:
    conditions = judged("imagenet-options-order", *([error] for error in errors))
    assert weakest(conditions) == outcome


@pytest.mark.parametrize(("plain", "outcome"), [(28.54, "consistent"), (26.2, "undecided")])
def test_considerably_better(plain: float, outcome: str) -> None:
    conditions = judged("imagenet-options-beat-plain", [25.03], [plain], [24.52], [24.19])
    assert weakest(conditions) == outcome


@pytest.mark.parametrize(
    ("errors", "spread", "outcome"),
    [
        ((8.75, 7.51, 7.17, 6.97, 6.61), 0.16, "confirmed"),
        ((8.75, 7.51, 7.17, 7.20, 6.61), 0.16, "confirmed"),  # one step is not the trend
        ((6.61, 6.97, 7.17, 7.51, 8.75), 0.16, "contradicted"),
        ((8.75, 7.51, 7.17, 6.97, 6.61), None, "consistent"),  # single seeds
        ((7.0, 7.1, 7.0, 7.1, 7.0), None, "undecided"),
        ((7.0, 7.05, 6.9, 6.95, 6.85), None, "undecided"),  # within the margin
        ((6.61, 6.97, 7.17, 7.51, 8.75), None, "contradicted"),
    ],
)
def test_gains_from_depth_are_a_trend(
    errors: tuple[float, ...], spread: float | None, outcome: str
) -> None:
    """`errors` are of 20 to 110 layers."""
    values = [[e] if spread is None else [e - spread, e, e + spread] for e in errors[::-1]]
    (condition,) = judged("residual-depth-test", *values)
    assert condition.outcome == outcome
    slope = np.polyfit([-2, -1, 0, 1, 2], errors, 1)[0]
    assert f": {slope:+.2f}" in condition.text
    assert " a step; " in condition.text
    assert f"the steps {errors[1] - errors[0]:+.2f}, " in condition.text


@pytest.mark.parametrize(("share", "outcome"), [(99.0, "consistent"), (60.0, "contradicted")])
def test_throughout(share: float, outcome: str) -> None:
    (condition,) = judged("imagenet-plain-throughout", [share], [share])
    assert condition.outcome == outcome
    assert (
        f"plain-34 above plain-18 at {share:.2f} percent of the points (1 seed)" in condition.text
    )


@pytest.mark.parametrize(
    ("lead_at_56", "outcome"), [(5.0, "consistent"), (1.0, "undecided"), (0.0, "contradicted")]
)
def test_gap(lead_at_56: float, outcome: str) -> None:
    conditions = judged("residual-gain-grows", [7.0], [7.0 + lead_at_56], [9.0], [10.0])
    assert weakest(conditions) == outcome
    assert f"growth {lead_at_56 - 1:+.2f}" in conditions[0].text


def test_networks_that_learned_nothing_have_no_gap_that_grows() -> None:
    conditions = judged("residual-gain-grows", [89.9], [90.0], [70.0], [60.0])
    assert "growth +10.10" in conditions[0].text
    assert weakest(conditions) == "undecided"


@pytest.mark.parametrize(
    ("train", "outcome"),
    [
        ([0.05, 0.05, 0.06], "confirmed"),
        ([0.05], "consistent"),
        ([0.08], "undecided"),  # within the margin of 0.03
        ([0.12], "undecided"),
        ([0.15], "contradicted"),
    ],
)
def test_limit(train: list[float], outcome: str) -> None:
    assert weakest(judged("resnet-1202-trains", train)) == outcome


@pytest.mark.parametrize(
    ("errors", "outcome"),
    [
        ([8.7, 8.75, 8.8], "confirmed"),
        ([8.2, 8.7, 9.2], "consistent"),
        ([8.6, 9.3, 10.1], "undecided"),
        ([10.0, 10.1, 10.2], "contradicted"),
        ([9.2], "consistent"),
        ([9.5], "undecided"),  # outside the band of 0.5, by less than the margin of 0.3
        ([9.6], "contradicted"),
        ([7.9], "contradicted"),
        ([9.6, 9.9], "contradicted"),  # a second seed does not take that back
        ([7.9, 7.6], "contradicted"),
        ([9.6, 9.3], "undecided"),  # together by less than the margin
        ([9.0, 10.9], "undecided"),  # one is within the band
    ],
)
def test_band(errors: list[float], outcome: str) -> None:
    assert weakest(judged("table6-resnet-20", errors)) == outcome


@pytest.mark.parametrize(
    ("gain", "outcome"), [(3.4, "consistent"), (2.7, "undecided"), (1.0, "contradicted")]
)
def test_a_difference_of_the_paper(gain: float, outcome: str) -> None:
    (condition,) = judged("imagenet-residual-34-gain", [25.0], [25.0 + gain])
    assert condition.outcome == outcome
    assert "paper +3.51" in condition.text


@pytest.mark.parametrize(("changed", "outcome"), [(6.8, "consistent"), (7.6, "contradicted")])
def test_the_same_with_a_changed_recipe(changed: float, outcome: str) -> None:
    assert weakest(judged("resnet-110-without-warmup", [6.6], [changed])) == outcome


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("plain-56-test", (9.0, 9.5), (8.8, 10.0)),
        ("plain-56-test", (9.5, 9.0), (10.0, 8.8)),
        ("residual-depth-test", (6.6, 6.8, 7.0, 7.2, 7.4), (5.0, 6.4, 7.6, 7.9, 9.0)),
        ("residual-depth-test", (7.4, 7.2, 7.0, 6.8, 6.6), (9.0, 7.9, 7.6, 6.4, 5.0)),
        ("residual-gain-grows", (7.0, 7.8, 9.0, 9.1), (6.9, 8.5, 9.1, 9.0)),
        ("residual-gain-grows", (7.8, 7.0, 9.0, 9.1), (8.9, 6.8, 9.0, 9.3)),
        ("residual-gain-grows", (7.0, 7.8, 9.0, 10.5), (7.0, 7.7, 8.9, 11.0)),
        ("table6-resnet-56", (7.4,), (6.5,)),
        ("table6-resnet-56", (7.85,), (8.2,)),
        ("table6-resnet-56", (6.1,), (5.7,)),
        ("imagenet-residual-34-gain", (25.0, 26.0), (25.2, 25.5)),
        ("resnet-110-without-warmup", (6.6, 5.5), (6.7, 5.0)),
    ],
)
def test_no_verdict_is_weaker_by_further_seeds_that_agree(
    name: str, first: tuple[float, ...], second: tuple[float, ...]
) -> None:
    """Of one network after the other; the intervals are wide."""
    values = [[error] for error in first]
    single = weakest(judged(name, *values))
    assert single in ("consistent", "contradicted")
    assert weakest(judged(name, *([error] for error in second))) == single
    for seeds, error in zip(values, second, strict=True):
        seeds.append(error)
        found = weakest(judged(name, *values))
        assert found == single or (single, found) == ("consistent", "confirmed")


@pytest.mark.parametrize(
    ("epochs", "outcome", "text"),
    [
        ([math.inf], "contradicted", "never (1 seed)"),
        ([math.inf, 41.0], "contradicted", "never, 41.00 (2 seeds)"),
        ([math.inf, math.inf], "contradicted", "never, never (2 seeds)"),
        ([math.inf, 5.0], "undecided", "never, 5.00 (2 seeds)"),
    ],
)
def test_what_never_happened_has_no_mean(epochs: list[float], outcome: str, text: str) -> None:
    (condition,) = judged("resnet-110-starts-without-warmup", epochs)
    assert condition == Condition(
        outcome,
        f"ResNet-110 {text}, predicted at most 10 epochs",  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("correlation", "outcome"),
    [
        (1.0, "consistent"),
        (0.8, "consistent"),
        (0.6, "undecided"),
        (0.2, "undecided"),
        (0.0, "undecided"),
        (-0.2, "contradicted"),
    ],
)
def test_weak_agreement_is_not_the_opposite(correlation: float, outcome: str) -> None:
    of_all_four = [[correlation]] * 4  # together
    (found,) = judged("detection-follows-classification", *of_all_four)
    assert found.outcome == outcome


def test_a_network_is_named_once_among_those_that_a_rule_needs() -> None:
    assert rule("order", chains=[[A, B], [A, C]]).networks == (A, B, C)


def test_ensembles_need_no_runs_of_their_own() -> None:
    ensemble = next(c.rule for c in load_claims() if isinstance(c.rule, EnsembleRule))
    assert ensemble.condition(6, 3.6).outcome == "consistent"
    assert "6 networks 9.00, paper 3.57: difference +5.43" in ensemble.condition(6, 9.0).text


def test_misspelt_networks_and_quantities_are_refused() -> None:
    claim = load_claims()[0].model_dump()
    with pytest.raises(ConfigError, match="plain-21"):
        Claim.model_validate(claim | {"rule": {**claim["rule"], "chains": [["plain-21", B]]}})
    with pytest.raises(ValueError, match="no such quantity: final_tset_error"):
        rule("band", "final_tset_error", network=A, value=8.75, band=0.5)
