"""The claims as data: complete, and in keeping with the paper's own numbers."""

import pytest

from resnet_repro.errors import ConfigError
from resnet_repro.paper import BandRule, Claim, OrderRule, load_claims, load_facts


def test_every_network_of_table_6_has_a_claim_with_the_papers_number() -> None:
    bands = {c.rule.network: c.rule.value for c in load_claims() if isinstance(c.rule, BandRule)}
    printed = {r.network: r.error.comparable for r in load_facts().table6 if r.network}
    assert bands == printed


def test_order_claims_on_cifar_hold_for_the_papers_own_test_errors() -> None:
    facts = load_facts()
    for claim in load_claims():
        if isinstance(claim.rule, OrderRule) and claim.rule.quantity == "final_test_error":
            for low, high in claim.rule.pairs:
                rows = facts.cifar_result(low), facts.cifar_result(high)
                if rows[0] and rows[1]:
                    assert rows[0].error.comparable < rows[1].error.comparable, claim.id


def test_order_claims_on_imagenet_hold_for_table_3() -> None:
    rows = (*load_facts().table3, *load_facts().table2)
    errors = {row.network: row.top1 for row in rows if row.network}
    checked = 0
    for claim in load_claims():
        if isinstance(claim.rule, OrderRule) and claim.rule.quantity == "ten_crop_error":
            for low, high in claim.rule.pairs:
                better, worse = errors[low], errors[high]
                assert better is not None
                assert worse is not None
                assert better < worse, claim.id
                checked += 1
    assert checked >= 9


def test_what_cannot_be_judged_yet_says_why() -> None:
    for claim in load_claims():
        measurable = claim.rule.quantity not in ("ten_crop_error", "early_error")
        assert (claim.unavailable is None) == measurable, claim.id


def test_a_misspelt_network_is_refused() -> None:
    claim = load_claims()[0].model_dump()
    claim["rule"]["chains"] = [["plain-20", "plain-21"]]
    with pytest.raises(ConfigError, match="plain-21"):
        Claim.model_validate(claim)
