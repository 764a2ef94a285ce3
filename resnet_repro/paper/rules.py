"""The rules by which claims are judged: what each demands of the numbers, and how it reads.

A rule speaks of one quantity, of some networks, as a mean over seeds. It turns numbers into
conditions, all of which must hold, and itself into words. It knows neither files nor runs.
Rules about costs, which need no runs, are in `exact.py`.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

from resnet_repro.paper.estimates import Condition, Estimate, contrast, in_words, number
from resnet_repro.paper.exact import BelowRule, EqualRule, MoreRule, RatioRule
from resnet_repro.paper.quantities import QUANTITIES, QuantityName
from resnet_repro.paper.reading import AboutNetworks, NamedNetwork
from resnet_repro.paper.samples import NetworkRuns, Samples, difference, means, second, slope
from resnet_repro.spec.network_names import network_title, parse_network

__all__ = [
    "BandRule",
    "CloseRule",
    "EnsembleRule",
    "OrderRule",
    "Rule",
    "RunRule",
    "TrendRule",
]


class _Rule(AboutNetworks):
    quantity: QuantityName
    # What the noise of single seeds can explain, in the quantity's unit. Where no interval decides,
    # a difference supports the claim only when it is larger than this, and contradicts it only when
    # it is missed by more than this.
    margin: float = Field(gt=0)

    @property
    def reduced_margin(self) -> float:
        """The margin at other protocols than the paper's, where seeds differ more."""
        return self.margin * QUANTITIES[self.quantity].noisier

    def words(self) -> str:
        """`final test error: plain-20 < plain-56 (margin 0.3)`."""
        title = QUANTITIES[self.quantity].title
        return f"{title}: {self._prediction()} (margin {self.margin:g})"

    def _prediction(self) -> str:
        raise NotImplementedError


class RunRule(_Rule):
    """A rule about runs."""

    @property
    def subjects(self) -> tuple[NetworkRuns, ...]:
        """The runs that it needs."""
        return tuple(map(NetworkRuns, self.networks))

    def conditions(self, samples: Samples) -> list[Condition]:
        """What becomes of the prediction, given values for each of the `subjects`."""
        raise NotImplementedError


class OrderRule(RunRule):
    """The quantity rises along each chain of networks, at every step.

    Each step may have to be at least or at most so large: "considerably", "marginally".
    """

    kind: Literal["order"]
    chains: tuple[tuple[NamedNetwork, ...], ...] = Field(min_length=1)
    at_least: float | None = Field(None, gt=0)
    at_most: float | None = Field(None, gt=0)

    @property
    def reduced_margin(self) -> float:
        """The rule's own where steps have to be small: with a wider one they never are."""
        return super().reduced_margin if self.at_most is None else self.margin

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """(lower, higher) for each step of each chain."""
        return tuple(pair for chain in self.chains for pair in pairwise(chain))

    def conditions(self, samples: Samples) -> list[Condition]:
        found = []
        for pair in self.pairs:
            step = difference(samples, pair)
            text = f"{second(pair, 'minus')} {step}"
            found.append(Condition(step.positive(self.margin), text))
            if self.at_least is not None:
                more = difference(samples, pair, -self.at_least)
                found.append(Condition(more.positive(self.margin)))
            if self.at_most is not None:
                less = difference(samples, pair[::-1], self.at_most)
                found.append(Condition(less.positive(self.margin)))
        found[0] = replace(found[0], text=f"{means(samples, self.subjects)}: {found[0].text}")
        return found

    def _prediction(self) -> str:
        text = "; ".join(" < ".join(map(network_title, chain)) for chain in self.chains)
        if self.at_least is not None:
            text += f", by at least {self.at_least:g}"
        if self.at_most is not None:
            text += f", each step at most {self.at_most:g}"
        return text


class TrendRule(RunRule):
    """The quantity rises along a chain of networks, taken as a whole.

    Judged by the linear contrast of the means over the ranks in the chain: the slope of the line
    of least squares, in the quantity's unit per step. A claim that depth helps is about the whole
    range; to demand every neighbouring step would refuse it by chance where steps are small.
    """

    kind: Literal["trend"]
    chain: tuple[NamedNetwork, ...] = Field(min_length=3)

    @property
    def _read(self) -> tuple[NamedNetwork, ...]:
        """The chain as it is told: never from deep to shallow."""
        first, last = (parse_network(self.chain[n]).depth for n in (0, -1))
        return self.chain[::-1] if first > last else self.chain

    def conditions(self, samples: Samples) -> list[Condition]:
        told = slope(samples, self._read)
        steps = [number(difference(samples, pair).value, "+") for pair in pairwise(self._read)]
        averages = means(samples, map(NetworkRuns, self._read))
        text = f"{averages}: {told} a step; the steps {', '.join(steps)}"
        return [Condition(slope(samples, self.chain).positive(self.margin), text)]

    def _prediction(self) -> str:
        verb = "rises" if self._read == self.chain else "falls"
        return f"{verb} along {', '.join(map(network_title, self._read))}, as a linear trend"


class ThroughoutRule(RunRule):
    """The second network's curve lies above the first's at nearly every point.

    Judged by the share of the points, in percent, seed by seed; the first 5% of the iterations,
    where both networks are near chance, are left out.
    """

    kind: Literal["throughout"]
    quantity: Literal["train_error_along"]
    pair: tuple[NamedNetwork, NamedNetwork]
    share: float = Field(gt=50, le=100)

    def conditions(self, samples: Samples) -> list[Condition]:
        values = samples[NetworkRuns(self.pair[1])]
        share = contrast([(1, values)], offset=-self.share)
        points = in_words(values, unit=" percent of the points")
        text = f"{second(self.pair, 'above')} at {points}, predicted at least {self.share:g}"
        return [Condition(share.positive(self.margin), text)]

    def _prediction(self) -> str:
        return (
            f"{second(self.pair, 'above')} at {self.share:g} percent of the curve's points or "
            "more, the first 5 percent of the iterations left out"
        )


class FollowsRule(RunRule):
    """A better classification network is a better backbone of a detector, over some networks.

    Judged seed by seed by the rank correlation between the backbone's classification error and the
    detector's average precision, whose sign is changed: 1 if they agree in every pair of networks.
    Contradicted only by a negative one.
    """

    kind: Literal["follows"]
    quantity: Literal["ap_follows_error"]
    each: tuple[NamedNetwork, ...] = Field(min_length=3)
    correlation: float = Field(gt=0, lt=1)

    def conditions(self, samples: Samples) -> list[Condition]:
        values = samples[NetworkRuns(self.each[0])]
        strength = contrast([(1, values)], offset=-self.correlation).positive(self.margin)
        if strength == "contradicted" != contrast([(1, values)]).positive(self.margin):
            strength = "undecided"  # weaker than predicted, but not the opposite
        text = (
            f"rank correlation {in_words(values)} over {len(self.each)} networks, predicted at "
            f"least {self.correlation:g}"
        )
        return [Condition(strength, text)]

    def _prediction(self) -> str:
        networks = ", ".join(map(network_title, self.each))
        return f"rank correlation of at least {self.correlation:g} over {networks}"


class GapRule(RunRule):
    """The second of the first pair exceeds its first by more than in the second pair.

    And by the margin at least: two networks that learned nothing have no gap that could grow.
    """

    kind: Literal["gap"]
    wider: tuple[NamedNetwork, NamedNetwork]
    narrower: tuple[NamedNetwork, NamedNetwork]

    def conditions(self, samples: Samples) -> list[Condition]:
        wide = difference(samples, self.wider)
        narrow = difference(samples, self.narrower)
        values = [samples[NetworkRuns(network)] for network in self.wider + self.narrower]
        growth = contrast(zip((-1, 1, 1, -1), values, strict=True))
        wider = second(self.wider, "minus")
        text = (
            f"{wider} {number(wide.value, '+')}, "
            f"{second(self.narrower, 'minus')} {number(narrow.value, '+')}: growth {growth}"
        )
        least = f"{wider} predicted to be more than {self.margin:g}"
        return [
            Condition(growth.positive(self.margin), text),
            Condition(wide.positive(self.margin, sure=self.margin), least),
        ]

    def _prediction(self) -> str:
        wider, narrower = second(self.wider, "minus"), second(self.narrower, "minus")
        return f"({wider}) > ({narrower}), the first more than {self.margin:g}"


class LimitRule(RunRule):
    """The quantity of each network lies below or above a limit."""

    kind: Literal["limit"]
    each: tuple[NamedNetwork, ...] = Field(min_length=1)
    side: Literal["below", "above"]
    limit: float
    changes: tuple[str, ...] = ()  # of runs with these changes to their recipe: "warmup=null"

    @property
    def subjects(self) -> tuple[NetworkRuns, ...]:
        return tuple(NetworkRuns(network, self.changes) for network in self.each)

    def conditions(self, samples: Samples) -> list[Condition]:
        sign = 1 if self.side == "above" else -1
        side = "at least" if self.side == "above" else "at most"
        found = []
        for subject in self.subjects:
            distance = contrast([(sign, samples[subject])], offset=-sign * self.limit)
            values = means(samples, [subject], QUANTITIES[self.quantity].infinite)
            text = f"{values}, predicted {side} {self._limit}"
            found.append(Condition(distance.positive(self.margin), text))
        return found

    def _prediction(self) -> str:
        text = f"{' and '.join(map(network_title, self.each))} {self.side} {self._limit}"
        return f"{text} with {', '.join(self.changes)}" if self.changes else text

    @property
    def _limit(self) -> str:
        return f"{self.limit:g}{QUANTITIES[self.quantity].unit}"


def _within(found: Estimate, band: float, margin: float, text: str) -> Condition:
    """Judge whether a number is at most `band` away from zero, and say by which limits."""
    limits = f"band ±{band:g}, clearly missed beyond ±{band + margin:g}"
    return Condition(found.within(band, margin), f"{text}, {limits}")


class BandRule(RunRule):
    """The quantity of one network lies within `band` of the paper's number."""

    kind: Literal["band"]
    network: NamedNetwork
    value: float
    band: float = Field(gt=0)

    def conditions(self, samples: Samples) -> list[Condition]:
        difference = contrast([(1, samples[NetworkRuns(self.network)])], offset=-self.value)
        text = f"{means(samples, self.subjects)}, paper {self.value:.2f}: difference {difference}"
        return [_within(difference, self.band, self.margin, text)]

    def _prediction(self) -> str:
        return f"{network_title(self.network)} within {self.band:g} of {self.value:g}"


class CloseRule(RunRule):
    """The second of two networks minus the first is within `band` of the paper's difference."""

    kind: Literal["close"]
    pair: tuple[NamedNetwork, NamedNetwork]
    value: float = 0.0
    band: float = Field(gt=0)

    def conditions(self, samples: Samples) -> list[Condition]:
        found = difference(samples, self.pair)
        missed = difference(samples, self.pair, -self.value)
        paper = f", paper {self.value:+.2f}" if self.value else ""
        text = f"{means(samples, self.subjects)}: difference {found}{paper}"
        return [_within(missed, self.band, self.margin, text)]

    def _prediction(self) -> str:
        if self.value:
            return f"({second(self.pair, 'minus')}) within {self.band:g} of {self.value:g}"
        return f"{' and '.join(map(network_title, self.pair))} within {self.band:g}"


class SameRule(RunRule):
    """With the given changes to its recipe, the network ends within `band` of itself without."""

    kind: Literal["same"]
    network: NamedNetwork
    changes: tuple[str, ...] = Field(min_length=1)  # "warmup=null"
    band: float = Field(gt=0)

    @property
    def subjects(self) -> tuple[NetworkRuns, ...]:
        return (NetworkRuns(self.network), NetworkRuns(self.network, self.changes))

    def conditions(self, samples: Samples) -> list[Condition]:
        plain, changed = self.subjects
        difference = contrast([(1, samples[changed]), (-1, samples[plain])])
        text = (
            f"{means(samples, [plain])}, with {', '.join(self.changes)} "
            f"{in_words(samples[changed])}: difference {difference}"
        )
        return [_within(difference, self.band, self.margin, text)]

    def _prediction(self) -> str:
        title, changes = network_title(self.network), ", ".join(self.changes)
        return f"{title} with {changes} within {self.band:g} of {title} without"


class EnsembleRule(_Rule):
    """An experiment's ensemble is within `band` of the paper's number."""

    kind: Literal["ensemble"]
    quantity: Literal["ensemble_top5_error"]
    experiment: str
    members: tuple[NamedNetwork, ...] = Field(min_length=2)
    value: float
    band: float = Field(gt=0)

    def condition(self, members: int, error: float) -> Condition:
        """What the error of an ensemble of so many networks makes of it."""
        difference = contrast([(1, [error])], offset=-self.value)
        text = f"{members} networks {error:.2f}, paper {self.value:.2f}: difference {difference}"
        return _within(difference, self.band, self.margin, text)

    def _prediction(self) -> str:
        return f"within {self.band:g} of {self.value:g}"


Rule = Annotated[
    OrderRule
    | TrendRule
    | ThroughoutRule
    | FollowsRule
    | GapRule
    | LimitRule
    | BandRule
    | CloseRule
    | SameRule
    | EnsembleRule
    | BelowRule
    | EqualRule
    | RatioRule
    | MoreRule,
    Field(discriminator="kind"),
]
