"""Standard deviations of layer responses, in the manner of Fig. 7."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from resnet_repro.networks.architecture import architecture
from resnet_repro.report.cells import Cell
from resnet_repro.report.figures.style import SEVERAL_SEEDS, add_caption, colours, grid_lines
from resnet_repro.report.groups import Group
from resnet_repro.report.results import Results
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.network_names import network_title

__all__ = ["bare_note", "by_seed", "draw", "draw_layers"]

# The paper's axis ends at 3. Some networks go far beyond: all others would be one line at 0.
HIGHEST_LINEAR = 5.0


def draw(experiment: Experiment, results: Results, cells: Sequence[Cell], group: Group) -> Figure:
    """Top: layers in order. Bottom: sorted by size, the largest first."""
    figure = Figure(figsize=(6.4, 4.6))
    top, bottom = figure.subplots(2, 1)
    stds = results.frame("responses").set_index(["run", "layer"])["std"]
    measured = [cell for cell in cells if cell.done]
    several, shades = False, colours([cell.network for cell in measured], dashes=True)
    for cell in measured:
        seeds = by_seed(cell, stds).dropna()  # only runs on which all layers were measured
        several = several or len(seeds) > 1
        draw_layers(top, cell.network, seeds, shades[cell.network])
        ordered = pd.DataFrame(-np.sort(-seeds.to_numpy()))
        draw_layers(bottom, cell.network, ordered, shades[cell.network])
    for axes in (top, bottom):
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    top.set(xlabel="layer index (original)")
    bottom.set(xlabel="layer index (sorted by magnitude)")
    far = max(axes.dataLim.ymax for axes in (top, bottom)) > HIGHEST_LINEAR
    for axes in (top, bottom):
        axes.set(ylabel="std", xlim=(0, None))
        if far:
            axes.set_yscale("log")
        else:
            axes.set_ylim(0, None)
        grid_lines(axes)
    top.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3, handlelength=3)
    notes = ["response of each 3x3 layer after BN, before the nonlinearity", *bare_note(cells)]
    notes += [SEVERAL_SEEDS] if several else []
    add_caption(figure, experiment, group, cells, notes)
    return figure


def bare_note(cells: Sequence[Cell]) -> list[str]:
    """What stands for a response where a convolution has no BN of its own behind it."""
    shown = [architecture(cell.network) for cell in cells if cell.done]
    orders = {one.order for one in shown if any("conv" in layer for layer in one.observed)}
    if "preact" in orders:
        return ["pre-activation networks, whose BN comes first: the 3x3 convolution's own output"]
    if "bn-after-add" in orders:
        return ["where BN comes after the addition: the 3x3 convolution's own output"]
    return []


def by_seed(cell: Cell, values: pd.Series[float]) -> pd.DataFrame:
    """Values by run and layer as a line per run of the cell and a column per layer."""
    return values[values.index.isin([run.id for run in cell.done], level="run")].unstack()


def draw_layers(axes: Axes, network: str, seeds: pd.DataFrame, colour: str) -> None:
    """One network's values over its layers: the mean of its seeds, with a band if several.

    `seeds` has a line per seed and a column per layer; nothing is drawn without seeds.
    """
    if seeds.empty:
        return
    style = architecture(network).style
    layers = range(1, len(seeds.columns) + 1)
    axes.plot(
        layers,
        seeds.mean(skipna=False),
        color=colour,
        linestyle=(0, (3.5, 1.5)) if style.dashed else "-",
        linewidth=1.0 if style.dashed else 1.6,
        label=network_title(network),
    )
    if len(seeds) > 1:
        low, high = seeds.min(skipna=False), seeds.max(skipna=False)
        axes.fill_between(layers, low, high, color=colour, alpha=0.2, linewidth=0)
