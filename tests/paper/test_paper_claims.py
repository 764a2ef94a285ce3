"""The claims as data: complete, and in keeping with the paper's own numbers."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from resnet_repro.paper.claims import load_claims
from resnet_repro.paper.exact import BelowRule
from resnet_repro.paper.facts import load_facts
from resnet_repro.paper.papers import PAPERS
from resnet_repro.paper.recipes import changes_of
from resnet_repro.paper.rules import (
    BandRule,
    CloseRule,
    EnsembleRule,
    GapRule,
    OrderRule,
    TrendRule,
)
from resnet_repro.spec.experiment import Choices
from resnet_repro.spec.loading import load_experiment, shipped_experiments
from resnet_repro.spec.network_names import parse_network
from resnet_repro.spec.presets import preset_recipe
from resnet_repro.spec.run import Run


def test_every_network_of_table_6_has_a_claim_with_the_papers_number() -> None:
    bands = {
        claim.rule.network: claim.rule.value
        for claim in load_claims()
        if isinstance(claim.rule, BandRule) and claim.dataset == "cifar10"
    }
    printed = {r.network: r.error.comparable for r in load_facts().table6 if r.network}
    assert bands == printed


def test_every_network_of_tables_2_and_3_has_a_claim_with_the_papers_number() -> None:
    bands = {
        claim.rule.network: claim.rule.value
        for claim in load_claims()
        if isinstance(claim.rule, BandRule) and claim.rule.quantity == "ten_crop_error"
    }
    printed = (*load_facts().table2, *load_facts().table3)
    errors = {r.network: r.top1 for r in printed if r.network}
    assert bands == {n: e for n, e in errors.items() if not parse_network(n).compared}


def test_every_network_of_table_4_and_the_ensemble_of_table_5_have_claims() -> None:
    rules = [claim.rule for claim in load_claims()]
    bands = {
        rule.network: rule.value
        for rule in rules
        if isinstance(rule, BandRule) and rule.quantity == "multi_scale_error"
    }
    assert bands == {r.network: r.top1 for r in load_facts().table4 if r.network}
    (ensemble,) = [rule for rule in rules if isinstance(rule, EnsembleRule)]
    assert ensemble.value == load_facts().table5[-1].top5


def test_the_other_networks_parameters_are_those_of_table_6() -> None:
    rules = [claim.rule for claim in load_claims()]
    (rule,) = [rule for rule in rules if isinstance(rule, BelowRule) and rule.printed]
    printed = {
        f"{row.method}-{row.layers}": float(row.parameters.rstrip("M")) * 1e6
        for row in load_facts().table6
        if row.parameters and row.method in ("FitNet", "Highway")
    }
    assert rule.printed == printed


def test_what_was_changed_is_dated_and_says_what_was_known() -> None:
    changes = [change for claim in load_claims() for change in claim.changed]
    assert changes
    assert all(change.what and change.known for change in changes)


@pytest.mark.parametrize(
    ("paper", "tables", "fewest"),
    [
        ("the paper", ("table6",), 1),
        ("He et al. 2016", ("preact-table1", "preact-table2", "preact-table3"), 20),
    ],
)
def test_comparisons_on_cifar_hold_for_the_papers_own_test_errors(paper, tables, fewest) -> None:
    rows, checked = [row for name in tables for row in load_facts().cifar_results(name)], 0
    for claim in load_claims():
        rule = claim.rule
        if claim.paper != paper or getattr(rule, "quantity", "") != "final_test_error":
            continue
        printed = {row.network: row.error.printed for row in rows if row.dataset == claim.dataset}
        if isinstance(rule, OrderRule):
            for low, high in rule.pairs:
                if low in printed and high in printed:
                    assert printed[low] < printed[high], claim.id
                    checked += 1
        if isinstance(rule, GapRule) and set(claim.networks) <= set(printed):
            a, b, c, d = (printed[network] for network in claim.networks)
            assert b - a > d - c, claim.id
            checked += 1
    assert checked >= fewest


@pytest.mark.parametrize(
    ("quantity", "tables", "fewest"),
    [("ten_crop_error", ("table3", "table2"), 9), ("multi_scale_error", ("table4",), 3)],
)
def test_claims_on_imagenet_hold_for_the_papers_own_numbers(quantity, tables, fewest) -> None:
    rows = [row for table in tables for row in load_facts().imagenet_results(table)]
    errors = {row.network: row.top1 for row in rows if row.network}
    checked = 0
    for claim in load_claims():
        if isinstance(claim.rule, OrderRule) and claim.rule.quantity == quantity:
            for low, high in claim.rule.pairs:
                better, worse = errors[low], errors[high]
                assert better is not None
                assert worse is not None
                assert better + (claim.rule.at_least or 0) < worse, claim.id
                assert worse - better <= (claim.rule.at_most or 100), claim.id
                checked += 1
        if isinstance(claim.rule, TrendRule) and claim.rule.quantity == quantity:
            chain = [errors[network] for network in claim.rule.chain]
            assert chain == sorted(chain), claim.id
            checked += len(chain) - 1
        if isinstance(claim.rule, CloseRule) and claim.rule.quantity == quantity:
            one, other = (errors[network] for network in claim.rule.pair)
            assert one is not None
            assert other is not None
            difference = other - one - claim.rule.value
            assert abs(difference) <= (0.005 if claim.rule.value else claim.rule.band), claim.id
    assert checked >= fewest


def test_what_the_full_protocol_alone_judges_can_be_run() -> None:
    """By a shipped experiment at the paper preset, or by a command that the report names."""
    trained = {
        (paper, run.dataset, run.network)
        for name in shipped_experiments()
        for run in load_experiment(name).choose(Choices(preset="paper")).measured_runs
        for paper, its in PAPERS.items()
        if changes_of(run) == its.changes
    }
    for claim in load_claims():
        if claim.reduced == "not judged" and not claim.command:
            needed = {(claim.paper, claim.dataset, network) for network in claim.networks}
            assert needed <= trained, claim.id


def test_the_commands_of_claims_give_the_runs_that_judge_them(command: Any, tmp_path: Path) -> None:
    told = {claim.command: claim.networks for claim in load_claims() if claim.command}
    assert len(told) > 1
    for line, (network,) in told.items():
        _, *arguments = shlex.split(line)
        answer = command(*arguments, "--preset", "paper", "--dry-run", "--results", tmp_path)
        recipe = preset_recipe("paper", network, "cifar10").model_copy(update={"warmup": None})
        run = Run(network=network, dataset="cifar10", recipe=recipe, seed=0)
        assert run.id in answer.out


def test_claims_are_about_the_networks_of_their_data_set() -> None:
    for claim in load_claims():
        family = {"imagenet": "imagenet", "voc07+12": "detection"}.get(claim.dataset, "cifar")
        assert {parse_network(network).family for network in claim.networks} == {family}, claim.id
