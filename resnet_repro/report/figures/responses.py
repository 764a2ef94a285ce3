"""Standard deviations of layer responses, in the manner of Fig. 7."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from resnet_repro.networks.architecture import architecture
from resnet_repro.report.figures.captions import add_caption
from resnet_repro.report.figures.plotting import Axes, Figure
from resnet_repro.report.groups import Group
from resnet_repro.report.results import Cell, network_title, networks_of
from resnet_repro.spec.experiment import Experiment

__all__ = ["draw_layers", "responses_figure"]

Rows = list[list[float]]  # one list per seed


def responses_figure(experiment: Experiment, cells: Sequence[Cell], group: Group) -> Figure:
    """Top: layers in order. Bottom: sorted by size, the largest first."""
    figure = Figure(figsize=(6.4, 4.6))
    top, bottom = figure.subplots(2, 1)
    several = False
    for cell in cells:
        seeds = _stds(cell)
        if seeds:
            several = several or len(seeds) > 1
            draw_layers(top, cell.network, seeds)
            draw_layers(bottom, cell.network, [sorted(stds, reverse=True) for stds in seeds])
    top.set(xlabel="layer index (original)")
    bottom.set(xlabel="layer index (sorted by magnitude)")
    for axes in (top, bottom):
        axes.set(ylabel="std", xlim=(0, None), ylim=(0, None))
        axes.grid(axis="y", color="0.9", linewidth=0.5)
        axes.set_axisbelow(True)
    top.legend(loc="upper right", ncols=2, handlelength=3)
    notes = ["response of each 3x3 layer after BN, before the nonlinearity"]
    if several:
        notes.append("lines: mean, bands: lowest to highest of the seeds")
    add_caption(figure, group, cells, networks_of(experiment), notes)
    return figure


def _stds(cell: Cell) -> Rows:
    """The standard deviations by layer, one list per seed, of seeds that measured all layers."""
    measured = [[std for _, _, std in sorted(run.responses())] for run in cell.done]
    longest = max((len(stds) for stds in measured), default=0)
    return [stds for stds in measured if stds and len(stds) == longest]


def draw_layers(axes: Axes, network: str, seeds: Sequence[Sequence[float]]) -> None:
    """One network's values over its layers: the mean of its seeds, with a band if several."""
    if not seeds:
        return
    style = architecture(network).style
    columns = list(zip(*seeds, strict=False))
    layers = range(1, len(columns) + 1)
    axes.plot(
        layers,
        [fmean(column) for column in columns],
        color=style.colour,
        linestyle=(0, (3.5, 1.5)) if style.dashed else "-",
        linewidth=1.0 if style.dashed else 1.6,
        label=network_title(network),
    )
    if len(seeds) > 1:
        axes.fill_between(
            layers,
            [min(column) for column in columns],
            [max(column) for column in columns],
            color=style.colour,
            alpha=0.2,
            linewidth=0,
        )
