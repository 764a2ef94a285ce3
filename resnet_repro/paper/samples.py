"""The numbers that a rule is given, and what is computed and said of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from resnet_repro.paper.estimates import Estimate, contrast, in_words
from resnet_repro.spec.network_names import network_title

__all__ = ["NetworkRuns", "Samples", "difference", "means", "second", "slope"]


class NetworkRuns(NamedTuple):
    """Runs that a rule speaks of: of a network, perhaps with changes to the recipe."""

    network: str
    changes: tuple[str, ...] = ()  # "warmup=null"

    @property
    def title(self) -> str:
        return network_title(self.network)


# The rule's quantity for each seed; one that is of several networks together stands at each.
Samples = Mapping[NetworkRuns, Sequence[float]]


def difference(samples: Samples, pair: Sequence[str], offset: float = 0.0) -> Estimate:
    """The second network's mean minus the first's, plus `offset`."""
    low, high = pair
    return contrast([(1, samples[NetworkRuns(high)]), (-1, samples[NetworkRuns(low)])], offset)


def slope(samples: Samples, chain: Sequence[str]) -> Estimate:
    """The linear contrast of the means over the ranks in a chain."""
    ranks = [rank - (len(chain) - 1) / 2 for rank in range(len(chain))]
    squares = sum(rank**2 for rank in ranks)
    weights = [rank / squares for rank in ranks]
    values = [samples[NetworkRuns(network)] for network in chain]
    return contrast(zip(weights, values, strict=True))


def means(samples: Samples, subjects: Iterable[NetworkRuns], infinite: str = "") -> str:
    """`plain-20 9.10 ± 0.14 (2 seeds), plain-56 12.00 (1 seed)`."""
    texts = (f"{subject.title} {in_words(samples[subject], infinite)}" for subject in subjects)
    return ", ".join(texts)


def second(pair: Sequence[str], word: str) -> str:
    """What is said of the second network with respect to the first: `plain-56 minus plain-20`."""
    return f"{network_title(pair[1])} {word} {network_title(pair[0])}"
