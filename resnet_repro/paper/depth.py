"""Competitions' entries by depth ("Revolution of Depth"), as data with source and caveats."""

from __future__ import annotations

from functools import cache

from pydantic import Field

from resnet_repro.base.records import Frozen
from resnet_repro.paper.reading import read_package_file

__all__ = ["Competition", "load_competitions"]


class Entry(Frozen):
    """One entry: its weighted layers (None: no deep network) and its result in percent."""

    name: str
    depth: int | None
    value: float = Field(gt=0, lt=100)
    year: int | None = None


class Competition(Frozen):
    """Entries that are shown side by side, and what has to be known before comparing them."""

    title: str
    unit: str
    source: str
    entries: tuple[Entry, ...] = Field(min_length=1)
    caveats: tuple[str, ...]


class _File(Frozen):
    competitions: tuple[Competition, ...]


@cache
def load_competitions() -> tuple[Competition, ...]:
    """The competitions of `depth.yaml`.

    Raises:
        ConfigError: the installation is damaged.
    """
    return read_package_file("depth.yaml", _File).competitions
