"""Boxes and arrows of drawings. Lengths are inches."""

from __future__ import annotations

from resnet_repro.report.figures.plotting import Axes, FancyArrowPatch, FancyBboxPatch

__all__ = ["BOX_TEXT", "HEIGHT", "WIDTH", "arrow", "box"]

WIDTH, HEIGHT = 1.35, 0.15  # of a box
BOX_TEXT = 6.0  # points
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
    axes.text(x, y - 0.005, text, ha="center", va="center", fontsize=BOX_TEXT)


def arrow(axes: Axes, x: float, start: float, end: float) -> None:
    """An arrow downwards."""
    axes.add_patch(
        FancyArrowPatch(
            (x, start),
            (x, end),
            arrowstyle="-|>",
            mutation_scale=4,
            linewidth=0.6,
            color="black",
            shrinkA=0,
            shrinkB=0,
        )
    )
