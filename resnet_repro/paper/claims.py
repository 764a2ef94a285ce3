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
`signal_vanishing`, `signal_spread`,      the same three of the back-propagated signals: the
`initial_signal_spread`                   gradient in each layer's output instead of its weights
`ten_crop_error`, `multi_scale_error`     percent, top-1, over the data set's val part, from ten
                                          crops or fully convolutional at several scales
`early_error`                             percent, mean of the running training errors at the points
                                          of the curve in the first quarter of the iterations
`epochs_to_start`                         epochs until the first point of the curve whose running
                                          training error is below 90% (infinite if none is)
`train_error_along`                       the running training error at every point of the curve;
                                          only a `ThroughoutRule` speaks of it
`parameters`, `multiply_adds`             of the network as built; only a `CostRule` speaks of them
`ensemble_top5_error`                     percent, of an ensemble; only an `EnsembleRule` does
"""

from __future__ import annotations

from datetime import date
from functools import cache
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator

from resnet_repro.paper.reading import Frozen, read_package_file
from resnet_repro.spec.network_names import parse_network
from resnet_repro.spec.presets import Preset

__all__ = [
    "MEASURED_BY",
    "BandRule",
    "Change",
    "Claim",
    "CloseRule",
    "CostRule",
    "EnsembleRule",
    "GapRule",
    "LimitRule",
    "OrderRule",
    "Quantity",
    "Rule",
    "SameRule",
    "ThroughoutRule",
    "TrendRule",
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
    "signal_vanishing",
    "signal_spread",
    "initial_signal_spread",
    "epochs_to_start",
    "train_error_along",
    "parameters",
    "multiply_adds",
    "ensemble_top5_error",
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
    "signal_vanishing": "gradients",
    "signal_spread": "gradients",
    "initial_signal_spread": "gradients",
}


class _Rule(Frozen):
    quantity: Quantity
    # What the noise of single seeds can explain, in the quantity's unit. Where no interval decides,
    # a difference supports the claim only when it is larger than this, and a single seed
    # contradicts it only when it is missed by more than this.
    margin: float = Field(gt=0)

    @property
    def networks(self) -> tuple[str, ...]:
        """Every network that the rule needs, once."""
        raise NotImplementedError


class OrderRule(_Rule):
    """The quantity rises along each chain of networks, at every step.

    Each step may have to be at least or at most so large: "considerably", "marginally".
    """

    kind: Literal["order"]
    chains: tuple[tuple[str, ...], ...] = Field(min_length=1)
    at_least: float | None = Field(None, gt=0)
    at_most: float | None = Field(None, gt=0)

    @property
    def networks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(network for chain in self.chains for network in chain))

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """(lower, higher) for each step of each chain."""
        return tuple(pair for chain in self.chains for pair in pairwise(chain))


class TrendRule(_Rule):
    """The quantity rises along a chain of networks, taken as a whole.

    Judged by the linear contrast of the means over the ranks in the chain: the slope of the line
    of least squares, in the quantity's unit per step. A claim that depth helps is about the whole
    range; to demand every neighbouring step would refuse it by chance where steps are small.
    """

    kind: Literal["trend"]
    chain: tuple[str, ...] = Field(min_length=3)

    @property
    def networks(self) -> tuple[str, ...]:
        return self.chain

    @property
    def weights(self) -> tuple[float, ...]:
        """What each network's mean counts for in the slope, in the order of the chain."""
        ranks = [rank - (len(self.chain) - 1) / 2 for rank in range(len(self.chain))]
        squares = sum(rank**2 for rank in ranks)
        return tuple(rank / squares for rank in ranks)


class ThroughoutRule(_Rule):
    """The second network's curve lies above the first's at nearly every point.

    Judged by the share of the points, in percent, seed by seed; the first 5% of the iterations,
    where both networks are near chance, are left out.
    """

    kind: Literal["throughout"]
    quantity: Literal["train_error_along"]
    pair: tuple[str, str]
    share: float = Field(gt=50, le=100)

    @property
    def networks(self) -> tuple[str, ...]:
        return self.pair


class CostRule(_Rule):
    """A network as built is smaller than each of these; exact, so that no run is needed."""

    kind: Literal["cost"]
    quantity: Literal["parameters", "multiply_adds"]
    network: str
    below: dict[str, float] = Field(min_length=1)  # name -> its count, as printed
    margin: float = Field(0.0, ge=0)

    @property
    def networks(self) -> tuple[str, ...]:
        return (self.network,)


class EnsembleRule(_Rule):
    """An experiment's ensemble is within `band` of the paper's number."""

    kind: Literal["ensemble"]
    quantity: Literal["ensemble_top5_error"]
    experiment: str
    members: tuple[str, ...] = Field(min_length=2)
    value: float
    band: float = Field(gt=0)

    @property
    def networks(self) -> tuple[str, ...]:
        return self.members


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
    changes: tuple[str, ...] = ()  # of runs with these changes to their recipe: "warmup=null"

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
    """The second of two networks minus the first is within `band` of the paper's difference."""

    kind: Literal["close"]
    pair: tuple[str, str]
    value: float = 0.0
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
    OrderRule
    | TrendRule
    | ThroughoutRule
    | GapRule
    | LimitRule
    | BandRule
    | CloseRule
    | SameRule
    | CostRule
    | EnsembleRule,
    Field(discriminator="kind"),
]


class Change(Frozen):
    """What became of a claim or its rule after results of it could be known."""

    date: date
    what: str
    known: str = "nothing"  # what was known of it then, in words


class Claim(Frozen):
    """A sentence of the paper, in our words, that results can support or contradict."""

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    sentence: str
    source: str  # place in the paper
    dataset: Literal["cifar10", "imagenet"] = "cifar10"
    rule: Rule
    # Whether reduced runs may at least show the trend; a claim about a number they cannot judge.
    reduced: Literal["trend", "not judged"] = "trend"
    # Presets at which it stays undecided whatever the numbers, and why.
    unfit: dict[Preset, str] = Field(default_factory=dict)
    changed: tuple[Change, ...] = ()
    command: str | None = None  # what trains its runs, where no shipped experiment does

    def __hash__(self) -> int:
        return hash(self.id)

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
