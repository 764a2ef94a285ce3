"""Boxes and arrows of drawings. Lengths are inches."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, PathPatch
from matplotlib.path import Path

__all__ = ["HEIGHT", "PLUS", "WIDTH", "arrow", "box", "bypass", "plus", "sheet", "text_height"]

WIDTH, HEIGHT = 1.35, 0.15  # of a box
PLUS = 0.09  # radius of an addition's circle
# One pale fill for each number of filters, dark enough to tell apart in print.
_FILLS = {
    16: "#F7E3C8",
    32: "#CFE8E4",
    64: "#E3D9F0",
    96: "#EFE0EC",
    128: "#DDEBD3",
    192: "#E8EFC8",
    256: "#F8DDD3",
    384: "#E9DCCB",
    512: "#D6E4F2",
    1024: "#F5EFC9",
    2048: "#DCDCDC",
}


def sheet(width: float, height: float, bottom: float = 0.0) -> tuple[Figure, Axes]:
    """An empty figure, and axes that fill it, whose lower left corner is (0, bottom)."""
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(bottom, bottom + height)
    return figure, axes


def box(axes: Axes, middle: tuple[float, float], filters: int, text: str) -> None:
    """A box around its middle, filled for a number of filters; white for 0."""
    x, y = middle
    axes.add_patch(
        FancyBboxPatch(
            (x - WIDTH / 2, y - HEIGHT / 2),
            WIDTH,
            HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.03",
            facecolor=_FILLS.get(filters, "#FFFFFF"),
            edgecolor="#404040",
            linewidth=0.6,
        )
    )
    axes.text(x, text_height(y), text, ha="center", va="center", fontsize=6)


def text_height(y: float) -> float:
    """Where text is centred that stands in or beside a box around `y`."""
    return y - 0.005


def plus(axes: Axes, x: float, y: float) -> None:
    """An addition: a circle with a cross in it."""
    axes.add_patch(Circle((x, y), PLUS, fill=False, linewidth=0.8))
    axes.plot([x - PLUS, x + PLUS], [y, y], "k-", lw=0.8)
    axes.plot([x, x], [y - PLUS, y + PLUS], "k-", lw=0.8)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    """An arrow from one point to another."""
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=4,
            linewidth=0.6,
            color="black",
            shrinkA=0,
            shrinkB=0,
        )
    )


def bypass(
    axes: Axes, x: float, start: float, end: float, *, inner: float = 0.0, dotted: bool = False
) -> None:
    """A shortcut: from a column's middle out to the right of its boxes, and back lower down.

    It ends `inner` inches beside the middle.
    """
    right, far = x + WIDTH / 2, x + WIDTH / 2 + 0.42
    back = x + inner
    corners = [(x, start), (right, start), (far, start), (far, end), (right, end), (back, end)]
    codes = [Path.MOVETO, Path.LINETO, Path.CURVE4, Path.CURVE4, Path.CURVE4, Path.LINETO]
    style = (0, (1, 1.2)) if dotted else "solid"
    axes.add_patch(
        PathPatch(Path(corners, codes), fill=False, linewidth=0.8, linestyle=style, zorder=0)
    )
    arrow(axes, (back + 0.07, end), (back, end))
