"""Networks as pictures: columns of layers (Fig. 3) and single blocks (Fig. 2, Fig. 5).

Everything is read from `networks.outline`, so that a picture shows the network that is trained.
Lengths are inches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_repro.base.errors import ConfigError
from resnet_repro.networks.architecture import architecture
from resnet_repro.networks.layer import Layer
from resnet_repro.networks.outline import Outline, folded, outline
from resnet_repro.report.cells import Cell
from resnet_repro.report.figures.shapes import (
    HEIGHT,
    PLUS,
    WIDTH,
    arrow,
    box,
    bypass,
    plus,
    sheet,
    text_height,
)
from resnet_repro.report.figures.style import label
from resnet_repro.report.figures.units import units_figure
from resnet_repro.report.results import Results
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.tables_figures import DrawingPlot

__all__ = ["blocks_figure", "columns_figure", "details_figure", "draw"]

GAP = 0.085  # between two boxes
COLUMN = 2.35  # from one column's middle to the next
BESIDE = 1.05  # from a column's middle to what is written beside its shortcuts
LEFT = 0.75  # for the output sizes
COSTS = 2.6  # for the columns of costs


def draw(experiment: Experiment, results: Results, cells: Sequence[Cell], group: object) -> Figure:
    """The drawing that an experiment asks for; it shows no results."""
    plot = experiment.plot
    assert isinstance(plot, DrawingPlot)
    if plot.shows == "layers":
        return columns_figure(plot.networks)
    if plot.shows == "costs":
        return details_figure(plot.networks[0])
    return blocks_figure(plot.networks, named=plot.shows == "block")


def columns_figure(networks: Sequence[str]) -> Figure:
    """Networks side by side, a box a layer, output sizes at the left (Fig. 3).

    Layers with the same output size stand on the same height in all columns. Shortcuts are curves
    at a column's right, dotted where they change dimensions, and beside them what layers they have.

    Raises:
        ConfigError: no such network, or one whose layers are not in a row.
    """
    figure, _ = _draw_columns(networks, fold=False)
    return figure


def _draw_columns(networks: Sequence[str], *, fold: bool) -> tuple[Figure, list[list[float]]]:
    """`columns_figure`, and the heights of each network's boxes.

    With `fold`, a run of equal blocks is drawn once, with their number beside it.
    """
    wholes = [outline(name) for name in networks]
    for whole in wholes:
        if not whole.row:
            raise ConfigError(
                f"{whole.network}: its layers are not one row, and not drawn; "
                f"`resnet-repro table network:{whole.network}` lists them"
            )
    outlines = [folded(whole) for whole in wholes] if fold else wholes
    sides = sorted({layer.side for each in outlines for layer in each.layers}, reverse=True)
    rows = {
        side: max(sum(layer.side == side for layer in each.layers) for each in outlines)
        for side in sides
    }
    step = HEIGHT + GAP
    tops, y = {}, -0.7
    for side in sides:
        tops[side] = y
        y -= rows[side] * step + GAP
    width, height = LEFT + COLUMN * len(outlines), 0.35 - y
    if any(shortcut.layers for shortcut in outlines[-1].shortcuts):
        width += 0.2
    figure, axes = sheet(width, height, y - 0.1)
    for side in sides:
        axes.text(0.08, tops[side], f"output\nsize: {side}", fontsize=6.5, va="center")
    heights = []
    for number, each in enumerate(outlines):
        x = LEFT + COLUMN * (number + 0.42)
        axes.text(x, 0.0, label(each.title), ha="center", va="top", fontsize=8)
        cost = _in_words(wholes[number].multiply_adds)
        axes.text(x, -0.17, f"{cost} multiply-adds", ha="center", va="top", fontsize=6.5)
        heights.append(_draw_column(axes, each, x, tops))
    return figure, heights


def _draw_column(axes: Axes, drawn: Outline, x: float, tops: dict[int, float]) -> list[float]:
    """One network: the image, its boxes, whose heights are returned, and its shortcuts."""
    middles: list[float] = []
    used: Counter[int] = Counter()
    for layer in drawn.layers:
        middles.append(tops[layer.side] - used[layer.side] * (HEIGHT + GAP))
        used[layer.side] += 1
    image = middles[0] + HEIGHT + GAP + 0.02
    axes.text(x, image, "image", ha="center", va="center", fontsize=6.5)
    for before, after in pairwise([image, *middles]):
        arrow(axes, (x, before - HEIGHT / 2), (x, after + HEIGHT / 2))
    for layer, y in zip(drawn.layers, middles, strict=True):
        box(axes, (x, y), layer.outputs if layer.kind == "conv" else 0, layer.text)
    for shortcut in drawn.shortcuts:  # each leaves below where the one before it is added
        start = middles[shortcut.first - 1] - HEIGHT / 2 - GAP * 0.5
        end = middles[shortcut.last] - HEIGHT / 2 - GAP * 0.2
        bypass(axes, x, start, end, dotted=shortcut.resized)
        for layer, y in zip(shortcut.layers, middles[shortcut.first :], strict=False):
            words = (
                "gate" if layer.name.endswith(".gate") else f"{layer.kernel}x{layer.kernel} conv"
            )
            axes.text(x + BESIDE, text_height(y), words, va="center", fontsize=6)
    for first, last, count in drawn.repeats:
        top, bottom = middles[first] + HEIGHT / 2, middles[last] - HEIGHT / 2
        left = x - WIDTH / 2 - 0.06
        axes.plot([left, left - 0.05, left - 0.05, left], [top, top, bottom, bottom], "k-", lw=0.6)
        axes.text(left - 0.08, (top + bottom) / 2, f"{count}×", ha="right", va="center", fontsize=7)
    return middles


def _in_words(count: int) -> str:
    """`3.6e9`, as the paper prints it."""
    return f"{count / 1e9:,.1f}e9" if count >= 1e9 else f"{count / 1e6:,.1f}e6"


def details_figure(network: str) -> Figure:
    """One network, equal blocks folded, with each layer's shape and cost beside it.

    Layers of shortcuts have columns of their own.

    Raises:
        ConfigError: no such network, or one whose layers are not in a row.
    """
    figure, (middles,) = _draw_columns([network], fold=True)
    axes = figure.axes[0]
    whole = outline(network)
    drawn = folded(whole)
    on_shortcuts = [
        (layer, y)
        for shortcut in drawn.shortcuts
        for layer, y in zip(shortcut.layers, middles[shortcut.first :], strict=False)
    ]
    edge, height = figure.get_size_inches()
    _write_costs(axes, edge, list(zip(drawn.layers, middles, strict=True)))
    edge += COSTS
    if on_shortcuts:
        _write_costs(axes, edge + 0.3, on_shortcuts, "on shortcuts: ")
        edge += COSTS + 0.3
    figure.set_size_inches(edge, height)
    axes.set_xlim(0, edge)
    sums = f"whole network: {whole.parameters:,} parameters, {whole.multiply_adds:,} multiply-adds"
    if drawn.repeats:
        sums += "; a row is one of the repeated blocks"
    low = axes.get_ylim()[0]
    axes.text(edge - 0.2, low + 0.04, sums, ha="right", va="bottom", fontsize=6, color="#404040")
    return figure


def _write_costs(
    axes: Axes, left: float, layers: Sequence[tuple[Layer, float]], where: str = ""
) -> None:
    """Three columns, `COSTS` wide together, with the shape and cost of layers at their heights."""
    edges = [left + 0.75, left + 1.5, left + 2.4]
    for edge, words in zip(edges, (f"{where}output", "parameters", "multiply-adds"), strict=True):
        axes.text(edge, 0.0, words, ha="right", va="top", fontsize=6.5, color="#404040")
    for layer, y in layers:
        shape = f"{layer.outputs} x {layer.side}²" if layer.side > 1 else f"{layer.outputs}"
        counts = [f"{n:,}" if n else "" for n in (layer.parameters, layer.multiply_adds)]
        for edge, words in zip(edges, (shape, *counts), strict=True):
            axes.text(edge, text_height(y), words, ha="right", va="center", fontsize=6)


def blocks_figure(networks: Sequence[str], *, named: bool = True) -> Figure:
    """The residual block of each network, where its dimensions stay (Fig. 5).

    Args:
        networks: residual networks; of each its first block with an identity shortcut is drawn.
            Where one has another order, a projection or something else on every shortcut, every
            step of all blocks is.
        named: write the layers' kernels and widths; else "weight layer", as in Fig. 2.

    Raises:
        ConfigError: no such network, or one without shortcuts.
    """
    built = [architecture(name) for name in networks]
    if any(each.order != "original" or each.impeded or each.option == "C" for each in built):
        return units_figure(networks)
    outlines = [outline(name) for name in networks]
    deepest = max(len(_identity_block(each)) for each in outlines)
    height = 1.25 + 0.48 * deepest
    figure, axes = sheet(2.7 * len(outlines), height)
    for number, each in enumerate(outlines):
        _draw_block(axes, _identity_block(each), 2.7 * number + 1.15, height - 0.12, named=named)
    return figure


def _identity_block(whole: Outline) -> tuple[Layer, ...]:
    for shortcut in whole.shortcuts:
        if not shortcut.resized:
            return whole.layers[shortcut.first : shortcut.last + 1]
    raise ConfigError(f"{whole.network} has no block with an identity shortcut to draw")


def _draw_block(axes: Axes, layers: Sequence[Layer], x: float, top: float, *, named: bool) -> None:
    """Layers under each other, the shortcut at the right, the addition and a ReLU below."""
    entry = f"{layers[0].inputs}-d" if named else "x"
    axes.text(x, top, entry, ha="center", va="top", fontsize=9)
    above, split = top - 0.16, top - 0.3
    y = top - 0.48 - HEIGHT / 2
    for layer in layers:
        text = f"{layer.kernel}x{layer.kernel}, {layer.outputs}" if named else "weight layer"
        arrow(axes, (x, above), (x, y + HEIGHT / 2))
        box(axes, (x, y), layer.outputs, text)
        if above < split:
            axes.text(x + 0.06, (above + y) / 2 + 0.04, "relu", va="center", fontsize=7)
        above, y = y - HEIGHT / 2, y - 0.48
    y += 0.06
    arrow(axes, (x, above), (x, y + PLUS))
    plus(axes, x, y)
    bypass(axes, x, split, y, inner=PLUS)
    if not named:
        side = x + WIDTH / 2 + 0.4
        axes.text(side, (split + y) / 2, "x\nidentity", va="center", fontsize=8)
        axes.text(x - WIDTH / 2 - 0.1, (split + y) / 2, "F(x)", ha="right", va="center", fontsize=8)
        axes.text(x - 0.14, y, "F(x) + x", ha="right", va="center", fontsize=8)
    arrow(axes, (x, y - PLUS), (x, y - 0.42))
    axes.text(x + 0.06, y - 0.25, "relu", va="center", fontsize=7)
