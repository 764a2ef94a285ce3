"""The parts of an experiment: groups of runs, what a preset changes, ensembles, pretraining."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from resnet_repro.base.records import Frozen
from resnet_repro.spec.presets import Preset
from resnet_repro.spec.run import CanonicalNetworks, DatasetName, Seed, TrainedNetworks
from resnet_repro.spec.surface import CurvatureSettings, PathSettings, SurfaceSettings
from resnet_repro.spec.tables_figures import Views

__all__ = ["MOST_SEEDS", "Ensemble", "Pretraining", "RunsEntry", "Selection"]

MOST_SEEDS = 1_000


class RunsEntry(Frozen):
    """One entry of `runs`: networks that share seeds and changes to the recipe."""

    networks: TrainedNetworks = Field(min_length=1, max_length=200)
    seeds: tuple[Seed, ...] = (0,)
    recipe: dict[str, Any] = Field({})
    dataset: DatasetName | None = None  # where it is not the experiment's

    @field_validator("seeds", mode="before")
    @classmethod
    def _count_or_list(cls, seeds: Any) -> Any:
        if isinstance(seeds, int) and not isinstance(seeds, bool):
            if not 1 <= seeds <= MOST_SEEDS:
                raise ValueError(f"should be a number from 1 to {MOST_SEEDS}, or a list")
            return tuple(range(seeds))
        return seeds

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds or len(seeds) > MOST_SEEDS or len(set(seeds)) != len(seeds):
            raise ValueError(f"should be 1 to {MOST_SEEDS} different numbers")
        return seeds


class Pretraining(Frozen):
    """How the classification networks are trained that detectors start from: runs of their own."""

    dataset: DatasetName = "imagenet"
    preset: Preset = "paper"
    recipe: dict[str, Any] = Field({})


class Selection(Frozen):
    """What a preset changes of an experiment: fewer networks or seeds, other settings."""

    networks: CanonicalNetworks | None = None
    seeds: Annotated[int, Field(ge=1, le=MOST_SEEDS, strict=True)] | None = None
    recipe: dict[str, Any] = Field({})
    surface: SurfaceSettings | None = None
    path: PathSettings | None = None
    curvature: CurvatureSettings | None = None
    pretraining: Pretraining | None = None


class Ensemble(Frozen):
    """An ensemble of every run of these networks: their scores are averaged (Table 5)."""

    networks: CanonicalNetworks = Field(min_length=1, max_length=200)
    views: Views = "multi-scale"
