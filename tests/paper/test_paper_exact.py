"""Claims about costs: each rule against the paper's own arithmetic, and against wrong networks."""

from __future__ import annotations

from typing import Any

import pytest

from resnet_repro.paper.claims import load_claims
from resnet_repro.paper.estimates import Condition, weakest
from resnet_repro.paper.exact import ExactRule
from resnet_repro.report.claims.quantities import counts

CLAIMS = {c.id: c.rule for c in load_claims() if isinstance(c.rule, ExactRule)}


def judged(name: str, **wrong: int) -> list[Condition]:
    """A claim's conditions, with other numbers for the networks named (`resnet_34_a`)."""

    def count(what: str, network: str) -> tuple[int, ...]:
        other = wrong.get(network.replace("-", "_"))
        return counts(what, network) if other is None else (other,)

    return CLAIMS[name].conditions(count)


@pytest.mark.parametrize(
    ("name", "text", "rule", "wrong"),
    [
        (
            "costs-plain-as-residual-imagenet",
            "plain-34, ResNet-34 A: 21,623,848 parameters, 3,644,493,824 multiply-adds",
            "parameters and multiply-adds: plain-18 = ResNet-18 A; plain-34 = ResNet-34 A",
            {"plain_34": 21_623_849},
        ),
        (
            "costs-plain-as-residual-cifar",
            "plain-110, ResNet-110: 1,727,962 parameters, 252,887,680 multiply-adds",
            "plain-1202 = ResNet-1202",
            {"resnet_20": 269_723},
        ),
        (
            "costs-resnet-152-below-vgg",
            "ResNet-152 11,282,415,616: below VGG-16's 15,470,264,320, below VGG-19's",
            "multiply-adds: ResNet-152 below VGG-16, VGG-19",
            {"vgg_16": 11_282_415_616},
        ),
        (
            "costs-baseline-of-vgg",
            "plain-34 3,644,493,824, VGG-19 19,632,062,464: 18.56%",
            "plain-34 has 18% of VGG-19's, rounded or cut off",
            {"plain_34": 3_730_091_869},
        ),
        (
            "costs-layers-alike",
            "plain-34: 29 times 115,605,504",
            "multiply-adds of each 3x3 layer with as many inputs as outputs: plain-18; plain-34",
            {},
        ),
        (
            "costs-bottleneck-as-block",  # 256x64 + 9x64x64 + 64x256 against 2 x 9x64x64
            "ResNet-50 69,632, ResNet-34 A 73,728: 94.44%",
            "ResNet-50 has 100% of ResNet-34 A's, within 10",
            {"resnet_50": 66_000},
        ),
        (
            "costs-projection-doubles-bottleneck",
            "ResNet-50 C 135,168, ResNet-50 69,632: 194.12%",
            "ResNet-50 C has 200% of ResNet-50's, within 20",
            {"resnet_50_c": 69_632},
        ),
        (
            "costs-projections",
            "ResNet-34 A 0, ResNet-34 B 3, ResNet-34 C 16; 173,824 and 919,168 more parameters",
            "3 and 13 more along ResNet-34 A, ResNet-34 B, ResNet-34 C",
            {"resnet_34_c": 15},
        ),
    ],
)
def test_what_the_paper_says_of_costs_is_confirmed_and_could_fail(
    name: str, text: str, rule: str, wrong: dict[str, int]
) -> None:
    found = judged(name)
    assert weakest(found) == "confirmed"
    assert text in "; ".join(condition.text for condition in found)
    assert rule in CLAIMS[name].words()
    if wrong:
        assert weakest(judged(name, **wrong)) == "contradicted"


def test_layers_that_differ_are_counted_apart() -> None:
    numbers: Any = {"plain-18": (7, 7, 9), "plain-34": (7,)}
    bad, good = CLAIMS["costs-layers-alike"].conditions(lambda _, network: numbers[network])
    assert (bad.outcome, bad.text) == ("contradicted", "plain-18: 2 times 7, 1 times 9")
    assert good.outcome == "confirmed"


def test_fewer_parameters_than_printed_of_others() -> None:
    name = "resnet-110-fewer-parameters"
    assert CLAIMS[name].words().startswith("parameters: ResNet-110 below FitNet-19 (2.5e+06), ")
    assert weakest(judged(name)) == "contradicted", "Highway-32 has 1.25M"
    assert weakest(judged(name, resnet_110=1_000_000)) == "confirmed"


def test_every_claim_about_costs_is_tried_here() -> None:
    assert len(CLAIMS) == 9
