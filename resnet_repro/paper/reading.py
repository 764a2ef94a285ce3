"""Reading the YAML files that lie beside these modules, and the networks that they speak of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, TypeAdapter, ValidationError

from resnet_repro.base.errors import ConfigError
from resnet_repro.base.records import Frozen, first_problem
from resnet_repro.spec.network_names import parse_network
from resnet_repro.spec.yaml_io import read_yaml

__all__ = ["AboutNetworks", "NamedNetwork", "read_package_file"]

T = TypeVar("T")


class _Name(str):
    """A network's name, told apart by its type from the other texts of a rule."""


def _canonical(network: str) -> _Name:
    return _Name(parse_network(network))


# The name of one of this project's networks.
NamedNetwork = Annotated[str, AfterValidator(_canonical)]


class AboutNetworks(Frozen):
    """A rule that speaks of networks, by name, in lists or in lists of lists."""

    @property
    def networks(self) -> tuple[str, ...]:
        """Every network that its fields name, once, in their order."""
        fields = [getattr(self, name) for name in type(self).model_fields]
        return tuple(dict.fromkeys(_names_in(fields)))


def _names_in(value: Any) -> list[str]:
    if isinstance(value, tuple | list):
        return [name for part in value for name in _names_in(part)]
    return [value] if isinstance(value, _Name) else []


def read_package_file(name: str, kind: type[T]) -> T:
    """A file of this package as a model, or as models by key.

    Raises:
        ConfigError: the installation is damaged: the file is missing or not what it should be.
    """
    try:
        return TypeAdapter(kind).validate_python(read_yaml(Path(__file__).with_name(name)).data)
    except ValidationError as error:
        location, message = first_problem(error)
        raise ConfigError(f"{name}: {'.'.join(map(str, location))}: {message}") from error
