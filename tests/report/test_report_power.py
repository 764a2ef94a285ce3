"""The power of the claims' rules: the stored numbers are those of the rules as they are."""

import importlib.util
from itertools import product
from pathlib import Path
from statistics import NormalDist
from types import ModuleType

import pytest

from resnet_repro.paper.claims import POWER_SEEDS, POWER_STDS, load_claims, load_power
from resnet_repro.paper.rules import BandRule
from resnet_repro.report.document.rules import power_section

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "claims_power.py"


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("claims_power", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_claim_that_can_be_simulated_is_there_with_its_rule(simulation: ModuleType) -> None:
    """A rule that was changed needs new numbers."""
    simulated = {claim.id: claim.rule.words() for claim in simulation.simulated()}
    assert len(simulated) > 10
    stored = {claim: row["rule"] for (claim, *_), row in load_power().items()}
    assert stored == simulated
    assert set(load_power()) == set(product(simulated, POWER_STDS, POWER_SEEDS))


def test_one_simulation_holds_for_all_printed_errors() -> None:
    rules = [claim.rule for claim in load_claims() if isinstance(claim.rule, BandRule)]
    assert {(rule.margin, rule.band) for rule in rules} == {(0.3, 0.5)}
    assert any(f"({len(rules)} claims)" in line for line in power_section())


@pytest.mark.parametrize("std", POWER_STDS)
@pytest.mark.parametrize(
    "name", ["residual-depth-test", "table6-resnet-20", "imagenet-18-accuracy"]
)
def test_the_numbers_come_out_again(simulation: ModuleType, name: str, std: float) -> None:
    claim = next(claim for claim in load_claims() if claim.id == name)
    draws = 150
    counts = simulation.outcomes(claim, simulation.truth(claim), std, 3, draws)
    stored = float(load_power()[name, std, 3]["confirmed"])
    assert 100 * counts["confirmed"] / draws == pytest.approx(stored, abs=15)


def test_a_true_gain_from_depth_is_found_with_five_seeds() -> None:
    """As a demand on every step it was confirmed in 22% of cases."""
    assert float(load_power()["residual-depth-test", POWER_STDS[0], 5]["confirmed"]) > 99
    assert any("Residual networks gain from depth" in line for line in power_section())


def test_what_is_said_of_printed_errors_that_vary_themselves_is_so() -> None:
    said = [("97", "0.04"), ("81", "3.6")]
    for std, (consistent, contradicted) in zip(POWER_STDS, said, strict=True):
        difference = NormalDist(0, std * 2**0.5)
        assert f"{100 * (1 - 2 * difference.cdf(-0.5)):.0f}" == consistent
        assert 200 * difference.cdf(-0.8) == pytest.approx(float(contradicted), rel=0.02)
        assert consistent in power_section()[2]
        assert contradicted in power_section()[2]
