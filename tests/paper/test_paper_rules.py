"""Each kind of rule in words, and what it makes of numbers, without any results folder."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from resnet_repro.base.errors import ConfigError
from resnet_repro.paper.claims import Claim, load_claims
from resnet_repro.paper.estimates import weakest
from resnet_repro.paper.rules import CostRule, EnsembleRule, Rule, RunRule, Subject

RULES: TypeAdapter[Any] = TypeAdapter(Rule)
A, B, C = "resnet-20", "plain-20", "resnet-34-b"
CHANGED = Subject(A, ("warmup=null",))


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
        (GAP, "(plain-20 minus ResNet-20) > (ResNet-34 B minus ResNet-34 B), and more than 0.3"),
        (BAND, "ResNet-20 within 0.5 of 8.75"),
        (CLOSE, "(plain-20 minus ResNet-20) within 0.7 of 2.85"),
        (SAME, "ResNet-20 with warmup=null within 0.5 of ResNet-20 without"),
    ],
)
def test_words(made: RunRule, words: str) -> None:
    assert made.words() == f"final test error: {words} (margin 0.3)"


def test_words_name_the_quantity_and_its_unit() -> None:
    assert LIMIT.words() == (
        "epochs until the training error is below 90%: ResNet-20 below 10 epochs with warmup=null "
        "(margin 0.3)"
    )
    assert THROUGHOUT.words().startswith(
        "training error along the way, seed by seed: plain-20 above ResNet-20 at 95 percent of the"
    )


@pytest.mark.parametrize(
    ("made", "values", "outcome"),
    [
        (ORDER, {A: [7.0], B: [8.5]}, "consistent"),
        (ORDER, {A: [7.0], B: [7.4]}, "contradicted"),  # not by 1
        (ORDER, {A: [7.0], B: [9.5]}, "contradicted"),  # by more than 2
        (ORDER, {A: [7.0, 7.1], B: [8.5, 8.6]}, "confirmed"),
        (TREND, {A: [7.0], B: [7.5], C: [8.0]}, "consistent"),
        (TREND, {A: [8.0], B: [7.5], C: [7.0]}, "contradicted"),
        (THROUGHOUT, {A: [], B: [99.0]}, "consistent"),
        (THROUGHOUT, {A: [], B: [60.0]}, "contradicted"),
        (GAP, {A: [7.0], B: [9.0], C: [5.0]}, "consistent"),
        (GAP, {A: [9.0], B: [7.0], C: [5.0]}, "contradicted"),
        (BAND, {A: [8.9]}, "consistent"),
        (BAND, {A: [9.6]}, "contradicted"),
        (CLOSE, {A: [7.0], B: [10.0]}, "consistent"),
        (CLOSE, {A: [7.0], B: [7.1]}, "contradicted"),
        (LIMIT, {CHANGED: [6.0], A: [99.0]}, "consistent"),
        (LIMIT, {CHANGED: [12.0], A: [0.0]}, "contradicted"),
        (SAME, {CHANGED: [8.0], A: [8.2]}, "consistent"),
        (SAME, {CHANGED: [8.0], A: [9.2]}, "contradicted"),
    ],
)
def test_outcomes(made: RunRule, values: dict[Any, list[float]], outcome: str) -> None:
    samples = {Subject(k) if isinstance(k, str) else k: v for k, v in values.items()}
    assert set(made.subjects) <= set(samples), "what it says it needs is enough"
    needed = {subject: samples[subject] for subject in made.subjects}
    assert weakest(made.conditions(needed)) == outcome


def test_a_network_is_named_once_among_those_that_a_rule_needs() -> None:
    assert rule("order", chains=[[A, B], [A, C]]).networks == (A, B, C)


def test_costs_and_ensembles_need_no_runs_of_their_own() -> None:
    cost, ensemble = (
        next(c.rule for c in load_claims() if isinstance(c.rule, kind))
        for kind in (CostRule, EnsembleRule)
    )
    assert cost.words().startswith("parameters: ResNet-110 below FitNet-19 (2.5e+06), ")
    assert cost.condition(1_000_000).outcome == "confirmed"
    assert cost.condition(2_400_000).text.endswith("not below Highway-32's 1,250,000")
    assert ensemble.condition(6, 3.6).outcome == "consistent"
    assert "6 networks 9.00, paper 3.57: difference +5.43" in ensemble.condition(6, 9.0).text


def test_misspelt_networks_and_quantities_are_refused() -> None:
    claim = load_claims()[0].model_dump()
    with pytest.raises(ConfigError, match="plain-21"):
        Claim.model_validate(claim | {"rule": {**claim["rule"], "chains": [["plain-21", B]]}})
    with pytest.raises(ValueError, match="no such quantity: final_tset_error"):
        rule("band", "final_tset_error", network=A, value=8.75, band=0.5)
