"""Measured loss surfaces as grids, and numbers that describe them.

Li et al. (arXiv 1712.09913) judge their pictures by eye. These numbers describe the same: how much
of a grid is not convex, how wide the valley is, how high the loss gets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnet_repro.spec.measurements import SurfaceRow
from resnet_repro.store.stored_run import StoredRun

__all__ = ["RISE", "Contour", "Surface", "eigenvalue_ratio", "surfaces_of"]

# A point violates convexity if its loss is more than this share above the mean of its two
# neighbours; rounding in bf16 and tiny ripples do not count.
TOLERANCE = 0.01
RISE = 0.1  # of the loss above that of the centre, at the contour that measures a valley's width
RAYS = 72  # from the centre, along which a contour's distance is measured
STEPS = 400  # along each ray
TINY, HUGE = 1e-6, 1e6  # losses are clipped to this range

Grid = NDArray[np.float64]


class Contour(NamedTuple):
    """Where the loss around the centre first reaches a level, over evenly spaced rays."""

    radius: float  # mean distance; of a ray that leaves the grid before, that to the grid's edge
    reached: float  # share of the rays that reach it; below 1 the radius is a lower bound


@dataclass(frozen=True)
class Surface:
    """One grid of one network. `loss` and `error` are indexed [beta, alpha]; errors in percent."""

    directions: int  # seed
    images: int
    alphas: Grid
    betas: Grid
    loss: Grid
    error: Grid

    @property
    def grid(self) -> str:
        """Where it was measured: `25 x 25 points from -1 to 1, over 2,000 training images`."""
        points = f"{len(self.alphas)} x {len(self.betas)} points"
        ends = f"from {self.alphas[0]:g} to {self.alphas[-1]:g}"
        return f"{points} {ends}, over {self.images:,} training images"

    @property
    def step(self) -> float:
        """The largest distance between two neighbouring points, without errors of rounding."""
        steps = [np.diff(axis).max(initial=0) for axis in (self.alphas, self.betas)]
        return round(float(max(steps)), 9)

    @property
    def centre(self) -> float:
        """The loss of the trained network itself."""
        return float(self.loss[len(self.betas) // 2, len(self.alphas) // 2])

    @property
    def line(self) -> Grid:
        """The losses along the first direction."""
        middle: Grid = self.loss[len(self.betas) // 2]
        return middle

    @property
    def highest(self) -> float:
        """The highest loss of the grid."""
        return float(np.max(self.loss))

    @property
    def violations(self) -> float:
        """Percent of the places on the grid's lines that lie above their neighbours' chord.

        Each point counts once along each axis. Infinity and NaN count as above.
        """
        found: list[NDArray[np.bool_]] = []
        for lines in (self.loss, self.loss.T):
            chord, middle = (lines[:, :-2] + lines[:, 2:]) / 2, lines[:, 1:-1]
            below = np.isfinite(middle) & (middle <= (1 + TOLERANCE) * chord)
            found.append(~below.ravel())
        together = np.concatenate(found)
        return 100.0 * float(together.mean()) if together.size else 0.0

    def contour(self, level: float) -> Contour:
        """Where the loss first reaches a level.

        Between points, the logarithm of the loss is interpolated by a cubic spline.
        """
        from scipy.interpolate import RegularGridInterpolator

        heights = np.log(np.clip(np.nan_to_num(self.loss, nan=np.inf), TINY, HUGE))
        width, height = self.alphas[-1], self.betas[-1]
        axes: tuple[Grid, ...] = (self.betas, self.alphas)
        angles = 2 * np.pi * np.arange(RAYS) / RAYS
        if len(self.betas) == 1:  # a line: two rays, and no second axis to go between
            angles, height, heights = np.array([0.0, np.pi]), math.inf, heights[0]
            axes = axes[1:]
        method = "cubic" if min(heights.shape) > 3 else "linear"
        between = RegularGridInterpolator(axes, heights, method, bounds_error=False)
        distances, reached = [], 0
        for angle in angles:
            x, y = math.cos(angle), math.sin(angle)
            edge = min(width / max(abs(x), 1e-12), height / max(abs(y), 1e-12))
            along = np.linspace(0, edge, STEPS, endpoint=False)
            points = np.stack((along * y, along * x)[-len(axes) :], axis=-1)
            rise = between(points) - math.log(level)
            first = int(np.argmax(rise >= 0))  # 0 where there is none, or the centre is above
            part = rise[first] / (rise[first] - rise[first - 1]) if first else 0.0
            there = bool(rise[first] >= 0)
            distances.append(float(along[first] - part * along[1]) if there else edge)
            reached += there
        return Contour(fmean(distances), reached / len(angles))


def surfaces_of(run: StoredRun) -> list[Surface]:
    """The surfaces measured around a run's weights, one for each seed of directions."""
    rows: list[SurfaceRow] = run.rows("surface")
    seeds = dict.fromkeys(row.directions for row in rows)
    return [s for seed in seeds if (s := _surface([r for r in rows if r.directions == seed]))]


def _surface(rows: Sequence[SurfaceRow]) -> Surface | None:
    """The grid of one seed's rows; without the centre measured on all training images.

    None if it is not complete, or there is no more than the centre.
    """
    images = rows[0].images
    rows = sorted((r for r in rows if r.images == images), key=lambda r: (r.beta, r.alpha))
    alphas, betas = np.unique([row.alpha for row in rows]), np.unique([row.beta for row in rows])
    if len(alphas) == 1 or len(rows) != len(alphas) * len(betas):
        return None
    values = np.array([(row.loss, row.error) for row in rows], dtype=np.float64)
    loss, error = values.T.reshape(2, len(betas), len(alphas))
    return Surface(rows[0].directions, images, alphas, betas, loss, error)


def eigenvalue_ratio(run: StoredRun) -> float | None:
    """|smallest / largest| eigenvalue of the Hessian at the trained weights, if measured."""
    for row in run.rows("curvature"):
        if row.alpha == row.beta == 0 and row.largest > 0:
            return abs(float(row.smallest) / float(row.largest))
    return None
