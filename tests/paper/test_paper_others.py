"""What public reproductions report, as data."""

from __future__ import annotations

import pytest

from resnet_repro.base.errors import ConfigError
from resnet_repro.paper.facts import Reproduction, load_facts, load_others, reported_range


def test_errors_are_near_the_papers_and_linked() -> None:
    """A slip in copying (an accuracy for an error, two rows exchanged) would be far off."""
    facts = load_facts()
    for other in load_others():
        assert other.link.startswith("https://")
        for network, error in other.errors.items():
            printed = facts.cifar_result(network)
            if printed:
                assert abs(error.mean - printed.error.comparable) < 1.5, (other.name, network)
            else:
                assert network.startswith("plain-"), network
                assert 9 < error.mean < 16


def test_the_range_leaves_out_what_was_chosen_on_the_test_set() -> None:
    best = [o.errors["resnet-20"].mean for o in load_others() if o.selection == "best"]
    found = reported_range("resnet-20")
    assert found is not None
    low, high, count = found
    assert min(best) < low < 8.75
    assert high < 9
    assert count == sum("resnet-20" in o.errors for o in load_others()) - len(best)
    assert reported_range("resnet-1202") is None


def test_networks_and_links_are_checked() -> None:
    good = load_others()[0].model_dump()
    with pytest.raises(ConfigError, match="plain-21"):
        Reproduction.model_validate(good | {"errors": {"plain-21": {"mean": 9.0}}})
    with pytest.raises(ValueError, match="link"):
        Reproduction.model_validate(good | {"link": "nowhere"})
