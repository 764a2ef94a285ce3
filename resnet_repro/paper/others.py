"""What public reproductions of section 4.2 report: CIFAR-10 test errors in percent, with links."""

from __future__ import annotations

from functools import cache
from typing import Literal

from pydantic import Field

from resnet_repro.base.records import Frozen
from resnet_repro.paper.reading import Network, read_package_file

__all__ = ["Reproduction", "load_others", "reported_range"]


class ReportedError(Frozen):
    """A test error as its source reports it, in percent; one run unless it says otherwise."""

    mean: float = Field(gt=0, lt=100)
    std: float | None = None
    runs: int | None = None

    def __str__(self) -> str:
        return f"{self.mean:.2f}" if self.std is None else f"{self.mean:.2f} ± {self.std:.2f}"


class Reproduction(Frozen):
    """One public reproduction."""

    name: str
    link: str = Field(pattern=r"^https://[^\s|]+$")
    selection: Literal["final", "best", "unstated"]  # best: the lowest on the test set
    protocol: str  # in a phrase, where it is not the paper's
    errors: dict[Network, ReportedError] = Field(min_length=1)


class _File(Frozen):
    others: tuple[Reproduction, ...]


@cache
def load_others() -> tuple[Reproduction, ...]:
    """The reproductions of `others.yaml`, those closest to the paper's protocol first.

    Raises:
        ConfigError: the installation is damaged.
    """
    return read_package_file("others.yaml", _File).others


def reported_range(network: str) -> tuple[float, float, int] | None:
    """The lowest and the highest error (percent) that reproductions report, and how many do.

    Those that say that they chose the best iterate on the test set are left out.
    """
    found = [
        other.errors[network].mean
        for other in load_others()
        if network in other.errors and other.selection != "best"
    ]
    return (min(found), max(found), len(found)) if found else None
