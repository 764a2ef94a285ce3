"""The paper's claims, each with a rule written down before there were results.

A rule speaks of one quantity, measured on every run and averaged over seeds:

`final_test_error`, `final_train_error`   percent, of the last iterate
`mean_response`                           mean over the 3x3 layers of the standard deviation of the
                                          layer's response (Fig. 7)
`weakest_signal`                          the smallest standard deviation of any 3x3 layer's output,
                                          at any moment measured, from initialisation to the end
`gradient_vanishing`                      how far the smallest gradient norm of any 3x3 layer lies
                                          below that of the last one, in powers of ten, at the
                                          moment when it is farthest
`gradient_spread`                         how far apart the largest and the smallest of these norms
                                          lie, in powers of ten: the median of all moments measured
                                          after the first iteration. These three only of runs that
                                          were measured at every point of their curve
`initial_gradient_spread`                 the same at initialisation
`ten_crop_error`, `multi_scale_error`     percent, top-1, over the data set's val part, from ten
                                          crops or fully convolutional at several scales
`early_error`                             percent, mean of the running training errors at the points
                                          of the curve in the first quarter of the iterations
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator

from resnet_repro.names import parse_network
from resnet_repro.paper.reading import Frozen, read_package_file

__all__ = [
    "MEASURED_BY",
    "BandRule",
    "Claim",
    "CloseRule",
    "GapRule",
    "LimitRule",
    "OrderRule",
    "Quantity",
    "Rule",
    "SameRule",
    "load_claims",
]

Quantity = Literal[
    "final_test_error",
    "final_train_error",
    "mean_response",
    "ten_crop_error",
    "multi_scale_error",
    "early_error",
    "weakest_signal",
    "gradient_vanishing",
    "gradient_spread",
    "initial_gradient_spread",
]
# What an experiment has to `measure` beyond training its runs.
MEASURED_BY: dict[Quantity, Literal["responses", "gradients", "10-crop", "multi-scale"]] = {
    "mean_response": "responses",
    "ten_crop_error": "10-crop",
    "multi_scale_error": "multi-scale",
    "weakest_signal": "gradients",
    "gradient_vanishing": "gradients",
    "gradient_spread": "gradients",
    "initial_gradient_spread": "gradients",
}


class _Rule(Frozen):
    quantity: Quantity
    # What the noise of single seeds can explain, in the quantity's unit: a difference in the
    # wrong direction contradicts the claim only when it is larger than this.
    margin: float = Field(gt=0)

    @property
    def networks(self) -> tuple[str, ...]:
        """Every network that the rule needs, once."""
        raise NotImplementedError


class OrderRule(_Rule):
    """The quantity rises along each chain of networks."""

    kind: Literal["order"]
    chains: tuple[tuple[str, ...], ...] = Field(min_length=1)

    @property
    def networks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(network for chain in self.chains for network in chain))

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """(lower, higher) for each step of each chain."""
        return tuple(pair for chain in self.chains for pair in pairwise(chain))


class GapRule(_Rule):
    """The second of the first pair exceeds its first by more than in the second pair.

    And by the margin at least: two networks that learned nothing have no gap that could grow.
    """

    kind: Literal["gap"]
    wider: tuple[str, str]
    narrower: tuple[str, str]

    @property
    def networks(self) -> tuple[str, ...]:
        return self.wider + self.narrower


class LimitRule(_Rule):
    """The quantity of each network lies below or above a limit."""

    kind: Literal["limit"]
    each: tuple[str, ...] = Field(min_length=1)
    side: Literal["below", "above"]
    limit: float

    @property
    def networks(self) -> tuple[str, ...]:
        return self.each


class BandRule(_Rule):
    """The quantity of one network lies within `band` of the paper's number."""

    kind: Literal["band"]
    network: str
    value: float
    band: float = Field(gt=0)

    @property
    def networks(self) -> tuple[str, ...]:
        return (self.network,)


class CloseRule(_Rule):
    """The quantity of two networks differs by at most `band`."""

    kind: Literal["close"]
    pair: tuple[str, str]
    band: float = Field(gt=0)

    @property
    def networks(self) -> tuple[str, ...]:
        return self.pair


class SameRule(_Rule):
    """With the given changes to its recipe, the network ends within `band` of itself without."""

    kind: Literal["same"]
    network: str
    changes: tuple[str, ...] = Field(min_length=1)  # "warmup=null"
    band: float = Field(gt=0)

    @property
    def networks(self) -> tuple[str, ...]:
        return (self.network,)


Rule = Annotated[
    OrderRule | GapRule | LimitRule | BandRule | CloseRule | SameRule, Field(discriminator="kind")
]


class Claim(Frozen):
    """A sentence of the paper, in our words, that results can support or contradict."""

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    sentence: str
    source: str  # place in the paper
    dataset: Literal["cifar10", "imagenet"] = "cifar10"
    rule: Rule
    # Whether reduced runs may at least show the trend; a claim about a number they cannot judge.
    reduced: Literal["trend", "not judged"] = "trend"
    command: str | None = None  # what trains its runs, where no shipped experiment does

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks whose runs the claim needs."""
        return self.rule.networks

    @field_validator("rule")
    @classmethod
    def _networks_exist(cls, rule: Rule) -> Rule:
        for network in rule.networks:
            if str(parse_network(network)) != network:
                raise ValueError(f"{network} should be written {parse_network(network)}")
        return rule


class _File(Frozen):
    claims: tuple[Claim, ...]

    @field_validator("claims")
    @classmethod
    def _distinct(cls, claims: tuple[Claim, ...]) -> tuple[Claim, ...]:
        if len({claim.id for claim in claims}) != len(claims):
            raise ValueError("two claims have the same id")
        return claims


@cache
def load_claims() -> tuple[Claim, ...]:
    """Every claim, those about CIFAR-10 first, and of each data set the most important first.

    Raises:
        ConfigError: the installation is damaged.
    """
    files = [read_package_file(f"claims_{name}.yaml", _File) for name in ("cifar10", "imagenet")]
    return _File(claims=tuple(claim for file in files for claim in file.claims)).claims
