"""A run: network, data set, recipe, precision and seed, with a unique id."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from resnet_repro.base.errors import ConfigError
from resnet_repro.base.records import Frozen
from resnet_repro.spec.dataset_names import (
    dataset_fits,
    dataset_slug,
    family_datasets,
    parse_dataset,
)
from resnet_repro.spec.network_names import Family, parse_network
from resnet_repro.spec.presets import PRESETS, preset_label
from resnet_repro.spec.recipe import Recipe, differences
from resnet_repro.spec.yaml_io import write_yaml

__all__ = [
    "FORMAT",
    "LARGEST_SEED",
    "CanonicalNetwork",
    "CanonicalNetworks",
    "DatasetName",
    "Precision",
    "Resolved",
    "Run",
    "Seed",
    "TrainedNetworks",
    "ids_of",
]

Precision = Literal["auto", "fp32", "bf16"]
Resolved = Literal["fp32", "bf16"]  # what `auto` resolves to
LARGEST_SEED = 2**31 - 1
FORMAT = 1  # of config.yaml
FAMILY_MEMBERS: dict[Family, str] = {
    "cifar": "a CIFAR network",
    "imagenet": "an ImageNet network",
    "detection": "a detector",
}

Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED, strict=True)]


def _stored_name(parse: Callable[[str], object]) -> Callable[[str], str]:
    """A validator that turns a name into the one that is stored."""

    def name(text: str) -> str:
        try:
            return str(parse(text))
        except ConfigError as error:
            raise ValueError(str(error)) from error

    return name


canonical_network = _stored_name(parse_network)


def trainable_network(text: str) -> str:
    """The stored name of a network that can be trained here, for validators."""
    network = canonical_network(text)
    if not parse_network(network).trainable:
        raise ValueError(
            f"{network} is not trained here, only evaluated: "
            f"resnet-repro evaluate FILE --network {network}"
        )
    return network


DatasetName = Annotated[str, AfterValidator(_stored_name(parse_dataset))]
CanonicalNetwork = Annotated[str, AfterValidator(canonical_network)]
# Errors in a list name the list, not the item.
CanonicalNetworks = Annotated[
    tuple[str, ...], AfterValidator(lambda names: tuple(map(canonical_network, names)))
]
TrainedNetworks = Annotated[
    tuple[str, ...], AfterValidator(lambda names: tuple(map(trainable_network, names)))
]


class Run(Frozen):
    """One training: everything that determines its result."""

    network: Annotated[str, AfterValidator(trainable_network)]
    dataset: DatasetName
    recipe: Recipe
    seed: Seed
    precision: Precision = "auto"

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        family = parse_network(self.network).family
        what = f"{self.network} is {FAMILY_MEMBERS[family]}"
        if not dataset_fits(self.dataset, family):
            raise ValueError(
                f"network: {what}, which does not go with {self.dataset} "
                f"but with {', '.join(family_datasets(family))}"
            )
        for name, of in (("photographs", "imagenet"), ("detection", "detection")):
            there = getattr(self.recipe, name) is not None
            if there is not (family == of):
                needs = "has no" if there else "needs"
                raise ValueError(f"recipe: {what}, so its recipe {needs} `{name}`")
        if self.recipe.detection and (misfit := self.recipe.detection.misfit):
            raise ValueError(misfit)
        return self

    @property
    def preset(self) -> str:
        """`paper`, `quarter`, `short`, `demo`, or `custom` when the recipe is none of these."""
        return preset_label(self.recipe, self.network, self.dataset)

    @property
    def hash(self) -> str:
        """Eight hex digits of the configuration's SHA-256."""
        return _hash(self)

    @property
    def id(self) -> str:
        """`plain-20-cifar10-paper-s0-3f9c2a71`."""
        data = dataset_slug(self.dataset)
        return f"{self.network}-{data}-{self.preset}-s{self.seed}-{self.hash}"

    def to_yaml(self) -> str:
        """The contents of `config.yaml`; `resnet-repro run` on it repeats the run."""
        return write_yaml({"format": FORMAT, "run": self.model_dump(mode="json")})


_LABELS = (*PRESETS, "custom")
_ID = re.compile(rf"(.+)-(?:{'|'.join(_LABELS)})(-s\d+-[0-9a-f]{{8}})")


def ids_of(id_: str) -> tuple[str, ...]:
    """Every id that the run with this one may be stored under, today's first.

    An id names the preset that has the run's recipe, and presets change; the rest of it stays.
    """
    kept = _ID.fullmatch(id_)
    others = [f"{kept[1]}-{label}{kept[2]}" for label in _LABELS] if kept else []
    return tuple(dict.fromkeys([id_, *others]))


@lru_cache(maxsize=4096)
def _hash(run: Run) -> str:
    content: dict[str, Any] = {
        "network": run.network,
        "dataset": run.dataset,
        "seed": run.seed,
        "recipe": differences(run.recipe, Recipe()),
    }
    if run.precision != "auto":
        content["precision"] = run.precision
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]
