"""Settings of the measurements of loss surfaces: grid, images, directions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypeVar

from pydantic import Field, field_validator, model_validator

from resnet_repro.base.records import Frozen
from resnet_repro.spec.measurements import CurvatureRow, ImageCount, PathRow, SurfaceRow
from resnet_repro.spec.run import Seed

__all__ = ["SAMPLE_SEED", "CurvatureSettings", "PathSettings", "SurfaceSettings", "axis"]

MOST_POINTS = 1_010_000  # of all grids of a network, in a file of some 135 MB
SAMPLE_SEED = 0  # for choosing training images, the same for all networks

Points = Annotated[int, Field(ge=1, le=1_001)]
T = TypeVar("T")
Coordinate = Annotated[float, Field(ge=-100, le=100, allow_inf_nan=False)]


def axis(limit: float, points: int) -> tuple[float, ...]:
    """Evenly spaced values from -limit to limit, exactly 0 in the middle; just 0 for one point."""
    return tuple(limit * (2 * i - points + 1) / max(1, points - 1) for i in range(points))


def all_different(values: tuple[T, ...]) -> tuple[T, ...]:
    """The values; ValueError if one stands among them twice."""
    if len(set(values)) < len(values):
        raise ValueError("should be different ones")
    return values


class SurfaceSettings(Frozen):
    """A grid over two random directions around the trained weights; the defaults are Li et al.'s.

    The unit of both axes is the norm of the network's own filters. One point along the second
    direction makes the grid a line.
    """

    points: tuple[Points, Points] = (51, 51)
    limit: float = Field(1.0, gt=0, le=100, allow_inf_nan=False)
    images: ImageCount | None = None  # of the training set, equally many per class; None for all
    directions: tuple[Seed, ...] = Field((0, 1), min_length=1, max_length=20)  # seeds

    @field_validator("points")
    @classmethod
    def _odd(cls, points: tuple[int, int]) -> tuple[int, int]:
        if points[0] % 2 == 0 or points[1] % 2 == 0:
            raise ValueError("should be odd, so that the trained network is one of the points")
        if points[0] == 1:
            raise ValueError("should be more than 1 along the first direction")
        return points

    _different = field_validator("directions")(all_different)

    @model_validator(mode="after")
    def _not_too_many(self) -> SurfaceSettings:
        total = self.points[0] * self.points[1] * len(self.directions)
        if total > MOST_POINTS:
            raise ValueError(f"points: {total:,} over all directions, more than {MOST_POINTS:,}")
        return self

    @property
    def alphas(self) -> tuple[float, ...]:
        """The steps along the first direction."""
        return axis(self.limit, self.points[0])

    @property
    def betas(self) -> tuple[float, ...]:
        """The steps along the second direction."""
        return axis(self.limit, self.points[1])

    def measured_in(self, rows: Iterable[SurfaceRow], seed: int, whole: int | None) -> bool:
        """Whether the rows are those of these settings, no more and no fewer.

        Args:
            rows: of a run.
            seed: of the run.
            whole: the number of its training images, where it is known.
        """
        rows = list(rows)
        whole = whole or max((row.images for row in rows), default=0)
        images = min(self.images or whole, whole)
        grid = {(d, a, b) for d in self.directions for b in self.betas for a in self.alphas}
        return {row[:3] for row in rows if row.images == images} == grid


class PathSettings(Frozen):
    """A straight line from a run's weights to those of another run, and half as far beyond each.

    The other one is the same run with the first of two seeds that is not its own, or any run of the
    same network on the same data. The defaults are Li et al.'s.
    """

    seeds: tuple[Seed, Seed] = (0, 1)
    to: str = Field("", max_length=500)  # a run's id or the beginning of it, instead of seeds
    points: int = Field(401, ge=5, le=10_001)  # from -0.5 to 1.5
    images: ImageCount | None = None  # of the training set, equally many per class; None for all

    @model_validator(mode="after")
    def _possible(self) -> PathSettings:
        if self.points % 4 != 1:
            raise ValueError("points: should be one more than a multiple of 4, to hold both ends")
        if self.seeds[0] == self.seeds[1]:
            raise ValueError("seeds: should be two different ones")
        return self

    def other_seed(self, seed: int) -> int:
        """Where the line of a run with this seed ends."""
        return next(other for other in self.seeds if other != seed)

    @property
    def positions(self) -> tuple[float, ...]:
        """Along the line; exactly 0 and 1 are among them."""
        steps = self.points - 1
        return tuple((3 * i - (steps - i)) / (2 * steps) for i in range(self.points))

    def measured_in(self, rows: Iterable[PathRow], seed: int, whole: int | None) -> bool:
        """As `SurfaceSettings.measured_in`."""
        rows = list(rows)
        return tuple(row.position for row in rows) == self.positions and all(
            _as_many(row.images, self.images, whole)
            and row.to.startswith(self.to)
            and (bool(self.to) or f"-s{self.other_seed(seed)}-" in row.to)
            for row in rows
        )


class CurvatureSettings(Frozen):
    """The points at which the Hessian's extreme eigenvalues are computed, and on which images."""

    at: tuple[tuple[Coordinate, Coordinate], ...] = Field(((0.0, 0.0),), min_length=1)
    images: ImageCount | None = 10_000
    directions: Seed = 0  # seed of the two directions in which points other than (0, 0) lie

    _different = field_validator("at")(all_different)

    def measured_in(self, rows: Iterable[CurvatureRow], seed: int, whole: int | None) -> bool:
        """As `SurfaceSettings.measured_in`."""
        there = {(row.alpha, row.beta): row for row in rows}
        alike = all(
            row.directions == self.directions and _as_many(row.images, self.images, whole)
            for row in there.values()
        )
        return alike and set(there) == set(self.at)


def _as_many(images: int, asked: int | None, whole: int | None) -> bool:
    """Whether a measurement was made on as many of all images as asked for; None means all.

    Where it is not known how many there are, fewer than asked for are taken to be all.
    """
    if whole is None:
        return images <= (asked or images)
    return images == min(asked or whole, whole)
