"""Reading the YAML files that lie beside these modules, and the networks that they speak of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ValidationError

from resnet_repro.base.errors import ConfigError
from resnet_repro.base.records import Frozen
from resnet_repro.spec.network_names import parse_network
from resnet_repro.spec.yaml_io import read_yaml

__all__ = ["AboutNetworks", "Network", "read_package_file"]

Model = TypeVar("Model", bound=BaseModel)


def _canonical(network: str) -> str:
    return str(parse_network(network))


Network = Annotated[str, AfterValidator(_canonical)]  # the name of one of this project's networks


class AboutNetworks(Frozen):
    """A rule that speaks of networks, by name, in lists or in lists of lists."""

    @property
    def networks(self) -> tuple[str, ...]:
        """Every network that its fields name, once, in their order."""
        fields = [getattr(self, name) for name in type(self).model_fields if name in _NAMES]
        return tuple(dict.fromkeys(_flat(fields)))


_NAMES = (
    *("network", "of", "below", "pair", "wider", "narrower"),
    *("each", "chain", "chains", "groups", "members"),
)


def _flat(names: Any) -> list[str]:
    return [names] if isinstance(names, str) else [name for part in names for name in _flat(part)]


def read_package_file(name: str, model: type[Model]) -> Model:
    """A file of this package as `model`.

    Raises:
        ConfigError: the installation is damaged: the file is missing or not what it should be.
    """
    try:
        return model.model_validate(read_yaml(Path(__file__).with_name(name)).data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{name}: {place}: {first['msg']}") from error
