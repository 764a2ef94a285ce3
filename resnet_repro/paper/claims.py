"""The paper's claims, each with its rule; `changed` has what changed once results could be known.

`claims_cifar10.yaml`, `claims_imagenet.yaml` and `claims_detection.yaml` hold them,
`claims_costs.yaml` those that counting layers decides, `claims_preact.yaml` and
`claims_surface.yaml` those of later papers; `rules.py` and `exact.py` say how each is judged.
`power.csv` holds how often each rule finds what is true, as `benchmarks/claims_power.py` simulates.
"""

from __future__ import annotations

import csv
from datetime import date
from functools import cache
from importlib import resources
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from resnet_repro.base.records import Frozen, member_of
from resnet_repro.paper.papers import PAPERS, THE_PAPER
from resnet_repro.paper.reading import read_package_file
from resnet_repro.paper.rules import Rule
from resnet_repro.spec.presets import PRESETS, Preset

__all__ = [
    "POWER_SEEDS",
    "POWER_STDS",
    "Claim",
    "load_changes",
    "load_claims",
    "load_power",
]


POWER_SEEDS = (1, 3, 5)
# By how much seeds vary, in percent: Table 6 (ResNet-110); another reproduction's ResNet-56.
POWER_STDS = (0.16, 0.27)
_UNFIT = rf"^({'|'.join(PRESETS)})( on .+)?$"


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
    paper: str = THE_PAPER  # whose claim it is; each file is about one
    dataset: Literal["cifar10", "cifar100", "imagenet", "voc07+12"] = "cifar10"
    rule: Rule
    # Whether reduced runs may at least show the trend; a claim about a number they cannot judge.
    reduced: Literal["trend", "not judged"] = "trend"
    # Presets at which it stays undecided whatever the numbers, and why; `short on imagenette` is of
    # one data set alone.
    unfit: dict[Annotated[str, Field(pattern=_UNFIT)], str] = Field(default_factory=dict)
    changed: tuple[Change, ...] = ()
    command: str | None = None  # what trains its runs, where no shipped experiment does

    def unfit_at(self, preset: Preset, dataset: str) -> str:
        """Why a preset on a data set cannot judge it; an empty text where it can."""
        return self.unfit.get(preset) or self.unfit.get(f"{preset} on {dataset}", "")

    @property
    def own(self) -> bool:
        """Whether it is a question of ours that the paper does not answer."""
        return self.sentence.startswith("Our own question:")

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks whose runs the claim needs."""
        return self.rule.networks


class _File(Frozen):
    paper: Annotated[str, member_of(PAPERS, "no such paper: {}")] = THE_PAPER
    claims: tuple[Claim, ...]

    @field_validator("claims", mode="before")
    @classmethod
    def _one_by_one(cls, claims: Any) -> list[Any]:
        """A table's claim with `numbers` (network: [value, sentence]) as one claim a network."""
        found: list[Any] = []
        for claim in claims:
            if not isinstance(claim, dict) or "numbers" not in claim:
                found.append(claim)
                continue
            shared = {name: value for name, value in claim.items() if name != "numbers"}
            for network, (value, sentence) in claim["numbers"].items():
                rule = {**claim["rule"], "network": network, "value": value}
                own = {"id": f"{claim['id']}-{network}", "sentence": sentence, "rule": rule}
                found.append(shared | own)
        return found

    @field_validator("claims")
    @classmethod
    def _distinct(cls, claims: tuple[Claim, ...]) -> tuple[Claim, ...]:
        if len({claim.id for claim in claims}) != len(claims):
            raise ValueError("two claims have the same id")
        return claims


@cache
def load_claims() -> tuple[Claim, ...]:
    """Every claim, those about CIFAR-10 first, and of each file the most important first.

    Raises:
        ConfigError: the installation is damaged.
    """
    names = ("cifar10", "imagenet", "costs", "detection", "preact", "surface")
    files = [read_package_file(f"claims_{name}.yaml", _File) for name in names]
    claims = (c.model_copy(update={"paper": f.paper}) for f in files for c in f.claims)
    return _File(claims=tuple(claims)).claims


@cache
def load_changes() -> tuple[Change, ...]:
    """What became of claims and rules, the earliest first; each once, whatever it changed."""
    every = (change for claim in load_claims() for change in claim.changed)
    return tuple(sorted(dict.fromkeys(every), key=lambda change: change.date))


@cache
def load_power() -> dict[tuple[str, float, int], dict[str, str]]:
    """(claim's id, deviation of seeds, seeds of each network) -> the row of `power.csv`."""
    text = resources.files("resnet_repro.paper").joinpath("power.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {(row["claim"], float(row["std"]), int(row["seeds"])): row for row in rows}
