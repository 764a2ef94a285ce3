"""Blocks step by step: orders of BN, ReLU and addition, and what impedes a shortcut.

In the manner of Fig. 2 and Fig. 4 of He et al. 2016. A block's steps follow from its architecture;
a test compares them with what the built block computes. Lengths are inches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, assert_never

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from resnet_repro.base.errors import ConfigError
from resnet_repro.networks.architecture import Architecture, architecture
from resnet_repro.report.figures.shapes import HEIGHT, PLUS, WIDTH, arrow, box, plus, sheet
from resnet_repro.report.figures.style import label
from resnet_repro.spec.network_names import network_title

__all__ = ["steps", "units_figure"]

UNIT = 2.0  # of a picture, wide
STEP = 0.3  # from the end of one step to the middle of the next


class Step(NamedTuple):
    """A step of a block: `weight`, `BN`, `ReLU`, or `+`, which adds the shortcut."""

    kind: str
    kernel: int = 0
    outputs: int = 0


def steps(built: Architecture) -> tuple[Step, ...]:
    """The steps of a block whose dimensions stay, in order, the shortcut's left out."""
    sizes = built.convolutions(built.widths[0], 1)
    weights = [Step("weight", kernel, outputs) for kernel, outputs, _ in sizes]
    bn, relu, plus = Step("BN"), Step("ReLU"), Step("+")
    *others, last = weights
    start = [step for weight in others for step in (weight, bn, relu)]
    match built.order:
        case "original":
            return (*start, last, bn, plus, relu)
        case "bn-after-add":
            return (*start, last, plus, bn, relu)
        case "relu-before-add":
            return (*start, last, bn, relu, plus)
        case "relu-only":
            return (*(step for weight in weights for step in (relu, weight, bn)), plus)
        case "preact":
            return (*(step for weight in weights for step in (bn, relu, weight)), plus)
    assert_never(built.order)


# What is done to the shortcut, and to F before the addition.
_WORDS = {
    "half-shortcut": ("× 0.5", ""),
    "half-both": ("× 0.5", "× 0.5"),
    "exclusive-gate": ("× (1 − g(x))", "× g(x)"),
    "shortcut-gate": ("× (1 − g(x))", ""),
    "dropout-shortcut": ("dropout 0.5", ""),
}


def units_figure(networks: Sequence[str]) -> Figure:
    """The block of each network where its dimensions stay, every step of it, side by side.

    Raises:
        ConfigError: no such network, or one without shortcuts.
    """
    found = {name: architecture(name) for name in networks}
    for name, built in found.items():
        if built.option is None:
            raise ConfigError(f"{name} has no block with a shortcut to draw")
    height = 0.825 + (STEP + HEIGHT / 2) * max(len(steps(built)) for built in found.values())
    figure, axes = sheet(UNIT * len(found), height)
    for number, (name, built) in enumerate(found.items()):
        middle = UNIT * number + 0.8
        title = label(network_title(name))
        axes.text(middle, height - 0.05, title, ha="center", va="top", fontsize=8)
        _draw_unit(axes, built, middle, height - 0.3)
    return figure


def _draw_unit(axes: Axes, built: Architecture, x: float, top: float) -> None:
    """One block, its input at the height `top`."""
    on_shortcut, on_f = _WORDS.get(built.impeded, ("", ""))
    if built.option == "C":
        on_shortcut = ", ".join(filter(None, ("1x1 conv", on_shortcut)))
    # A projection's input is activated where the block begins with an activation.
    after = "ReLU" if built.option == "C" and built.order in ("preact", "relu-only") else ""
    axes.text(x, top, "x", ha="center", va="top", fontsize=9)
    split, y = top - 0.22, top - 0.16
    for step in steps(built):
        below = y - STEP
        if step.kind == "+":
            arrow(axes, (x, y), (x, below + PLUS))
            axes.text(x - 0.08, (y + below + PLUS) / 2, on_f, ha="right", va="center", fontsize=7)
            plus(axes, x, below)
            _shortcut(axes, x, split, below, on_shortcut)
            y = below - PLUS
            continue
        text = f"{step.kernel}x{step.kernel}, {step.outputs}" if step.kernel else step.kind
        arrow(axes, (x, y), (x, below + HEIGHT / 2))
        box(axes, (x, below), step.outputs, text)
        y = below - HEIGHT / 2
        if step.kind == after:
            split, after = y - 0.06, ""
    arrow(axes, (x, y), (x, y - 0.25))


def _shortcut(axes: Axes, x: float, split: float, y: float, words: str) -> None:
    """From the split to the addition, with what is done on the way in a box."""
    side = x + WIDTH / 2 + 0.25
    corners = [(x, split), (side, split), (side, y), (x + PLUS, y)]
    axes.add_patch(PathPatch(Path(corners), fill=False, linewidth=0.8, zorder=0))
    middle = (split + y) / 2
    if words:
        axes.text(
            side,
            middle,
            words,
            ha="center",
            va="center",
            rotation=90,
            fontsize=7,
            bbox={"boxstyle": "round,pad=0.3", "facecolor": "white", "linewidth": 0.6},
        )
