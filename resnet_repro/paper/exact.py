"""Rules about what networks cost: judged by counting layers, so that nothing need be trained.

What is counted comes from elsewhere (`report/claims/quantities.py`): `paper/` knows no networks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

from resnet_repro.base.records import member_of
from resnet_repro.paper.estimates import Condition
from resnet_repro.paper.reading import AboutNetworks, NamedNetwork
from resnet_repro.spec.network_names import network_title

__all__ = ["BelowRule", "EqualRule", "ExactRule", "MoreRule", "RatioRule"]

COUNTED = {
    "parameters": "parameters",
    "multiply_adds": "multiply-adds",  # of convolutions and classifier, for the paper's image
    # One number a layer; the first of a stage, from half as many channels, is not among them.
    "layer_multiply_adds": "multiply-adds of each 3x3 layer with as many inputs as outputs",
    # Of convolutions, those of a projection included; without BN's parameters.
    "block_weights": "weights of a block that keeps its dimensions",
    "projections": "projection shortcuts",
}
CountedName = Annotated[str, member_of(COUNTED, "nothing that is counted: {}")]
# (what, network) -> the number, or one for each layer.
Counts = Callable[[str, str], tuple[int, ...]]


class ExactRule(AboutNetworks):
    """A rule about numbers that are known exactly."""

    def words(self) -> str:
        """What must hold."""
        raise NotImplementedError

    def conditions(self, counts: Counts) -> list[Condition]:
        """What becomes of the claim; each is confirmed or contradicted."""
        raise NotImplementedError


class BelowRule(ExactRule):
    """A network has less of something than others, of which some are only known by their print."""

    kind: Literal["below"]
    counted: CountedName
    network: NamedNetwork
    below: tuple[NamedNetwork, ...] = ()
    printed: dict[str, float] = Field(default_factory=dict)  # name -> its number, as printed

    def words(self) -> str:
        others = [network_title(other) for other in self.below]
        others += [f"{name} ({number:g})" for name, number in self.printed.items()]
        return f"{COUNTED[self.counted]}: {network_title(self.network)} below {', '.join(others)}"

    def conditions(self, counts: Counts) -> list[Condition]:
        (own,) = counts(self.counted, self.network)
        others: dict[str, float] = {}
        for other in self.below:
            (others[network_title(other)],) = counts(self.counted, other)
        texts = [
            f"{'below' if own < other else 'not below'} {name}'s {other:,.0f}"
            for name, other in (others | self.printed).items()
        ]
        holds = all(own < other for other in (others | self.printed).values())
        return [_condition(holds, f"{network_title(self.network)} {own:,}: {', '.join(texts)}")]


class EqualRule(ExactRule):
    """All networks of a group have exactly as much of something, in each group by itself."""

    kind: Literal["equal"]
    counted: tuple[CountedName, ...] = Field(min_length=1)
    groups: tuple[tuple[NamedNetwork, ...], ...] = Field(min_length=1)

    def words(self) -> str:
        groups = "; ".join(" = ".join(map(network_title, group)) for group in self.groups)
        return f"{' and '.join(COUNTED[name] for name in self.counted)}: {groups}"

    def conditions(self, counts: Counts) -> list[Condition]:
        found = []
        for group in self.groups:
            texts, holds = [], True
            for name in self.counted:
                numbers = Counter(number for network in group for number in counts(name, network))
                holds &= len(numbers) == 1
                several = numbers.total() > len(group)  # layers of one network
                texts.append(
                    ", ".join(
                        f"{times} times {number:,}" if several else f"{number:,} {COUNTED[name]}"
                        for number, times in sorted(numbers.items())
                    )
                )
            text = f"{', '.join(map(network_title, group))}: {', '.join(texts)}"
            found.append(_condition(holds, text))
        return found


class RatioRule(ExactRule):
    """A network has so many percent of what another has.

    Without `within` as the paper prints it: rounded or cut off to whole percents.
    """

    kind: Literal["ratio"]
    counted: CountedName
    network: NamedNetwork
    of: NamedNetwork
    percent: float = Field(gt=0)
    within: float | None = Field(None, gt=0)  # percent

    def words(self) -> str:
        close = ", rounded or cut off" if self.within is None else f", within {self.within:g}"
        pair = f"{network_title(self.network)} has {self.percent:g}% of {network_title(self.of)}'s"
        return f"{COUNTED[self.counted]}: {pair}{close}"

    def conditions(self, counts: Counts) -> list[Condition]:
        ((own,), (whole,)) = (counts(self.counted, network) for network in self.networks)
        share = 100 * own / whole
        holds = self.percent in (round(share), int(share))
        if self.within is not None:
            holds = abs(share - self.percent) <= self.within
        one, other = map(network_title, self.networks)
        return [_condition(holds, f"{one} {own:,}, {other} {whole:,}: {share:.2f}%")]


class MoreRule(ExactRule):
    """Along a chain of networks there are so many more of something at each step."""

    kind: Literal["more"]
    counted: CountedName
    chain: tuple[NamedNetwork, ...] = Field(min_length=2)
    steps: tuple[int, ...] = Field(min_length=1)

    def words(self) -> str:
        steps = " and ".join(f"{step:,}" for step in self.steps)
        chain = ", ".join(map(network_title, self.chain))
        return f"{COUNTED[self.counted]}: {steps} more along {chain}"

    def conditions(self, counts: Counts) -> list[Condition]:
        numbers = [sum(counts(self.counted, network)) for network in self.chain]
        parameters = [sum(counts("parameters", network)) for network in self.chain]
        texts = [
            f"{network_title(network)} {number:,}"
            for network, number in zip(self.chain, numbers, strict=True)
        ]
        text = ", ".join(texts)
        if self.counted != "parameters":
            extra = [f"{after - before:,}" for before, after in pairwise(parameters)]
            text += f"; {' and '.join(extra)} more parameters"
        steps = tuple(after - before for before, after in pairwise(numbers))
        return [_condition(steps == self.steps, text)]


def _condition(holds: bool, text: str) -> Condition:
    return Condition("confirmed" if holds else "contradicted", text)
