"""The claims as data: complete, and in keeping with the paper's own numbers."""

import pytest

from resnet_repro.errors import ConfigError
from resnet_repro.names import parse_network
from resnet_repro.paper import BandRule, Claim, CloseRule, OrderRule, load_claims, load_facts


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
        if isinstance(claim.rule, BandRule) and claim.dataset == "imagenet"
    }
    printed = (*load_facts().table2, *load_facts().table3)
    assert bands == {r.network: r.top1 for r in printed if r.network and r.network != "vgg-16"}


def test_order_claims_on_cifar_hold_for_the_papers_own_test_errors() -> None:
    facts = load_facts()
    for claim in load_claims():
        if isinstance(claim.rule, OrderRule) and claim.rule.quantity == "final_test_error":
            for low, high in claim.rule.pairs:
                rows = facts.cifar_result(low), facts.cifar_result(high)
                if rows[0] and rows[1]:
                    assert rows[0].error.comparable < rows[1].error.comparable, claim.id


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
                assert better < worse, claim.id
                checked += 1
        if isinstance(claim.rule, CloseRule) and claim.rule.quantity == quantity:
            one, other = (errors[network] for network in claim.rule.pair)
            assert one is not None
            assert other is not None
            assert abs(one - other) <= claim.rule.band, claim.id
    assert checked >= fewest


def test_claims_are_about_the_networks_of_their_data_set() -> None:
    for claim in load_claims():
        family = "cifar" if claim.dataset == "cifar10" else "imagenet"
        assert {parse_network(network).family for network in claim.networks} == {family}, claim.id


def test_a_misspelt_network_is_refused() -> None:
    claim = load_claims()[0].model_dump()
    claim["rule"]["chains"] = [["plain-20", "plain-21"]]
    with pytest.raises(ConfigError, match="plain-21"):
        Claim.model_validate(claim)
