"""Signals and gradients by layer (section 4.1), drawn in the manner of Fig. 7."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from resnet_repro.report.cells import Cell
from resnet_repro.report.figures.responses import bare_note, by_seed, draw_layers
from resnet_repro.report.figures.style import SEVERAL_SEEDS, add_caption, colours, grid_lines
from resnet_repro.report.groups import Group
from resnet_repro.report.results import Results
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.network_names import network_title

__all__ = ["draw"]

LABELS = {
    "forward_std": "std of the output",
    "signal_norm": "norm of the output's gradient",
    "gradient_norm": "norm of the weights' gradient",
}


def draw(experiment: Experiment, results: Results, cells: Sequence[Cell], group: Group) -> Figure:
    """Top: how much each layer's output varies. Below, on log scales: the gradients that come back.

    They are those in the layer's output, of runs in which that was measured throughout, and in its
    weights. Left to right: before training, the median of the points of the curve on the way, at
    the end.
    """
    rows = results.gradients
    rows = rows[rows.run.isin([run.id for cell in cells for run in cell.done])]
    with_signals = ~rows.run.isin(rows.run[~rows.has_signal])
    rows = rows.assign(signal_norm=rows.signal_norm.where(with_signals))
    moments = _moments(rows, rows.run.map(results.runs.iterations))
    fields = [name for name in LABELS if name != "signal_norm" or with_signals.any()]
    without = set(rows.run[~with_signals]) if with_signals.any() else ()
    figure = Figure(figsize=(3.0 * len(moments) + 0.3, 0.4 + 2.1 * len(fields)))
    drawn = [cell for cell in cells if cell.done]
    shades = colours([cell.network for cell in drawn], dashes=True)
    grid = figure.subplots(len(fields), len(moments), sharex=True, sharey="row", squeeze=False)
    for column, (title, measured) in enumerate(moments.items()):
        grid[0][column].set_title(title)
        layers = measured.groupby(["run", "layer"])[fields].median()
        for axes, field in zip(grid[:, column], fields, strict=True):
            for cell in drawn:
                seeds = by_seed(cell, layers[field])
                if field == "signal_norm":
                    seeds = seeds[~seeds.index.isin(without)]
                draw_layers(axes, cell.network, seeds, shades[cell.network])
            if layers[field].isna().all():
                axes.annotate(
                    "not measured", (0.5, 0.5), xycoords="axes fraction", ha="center", color="0.5"
                )
    _arrange([list(line) for line in grid], [LABELS[field] for field in fields])
    notes = ["std of each 3x3 layer's output after BN, before the nonlinearity; one batch"]
    notes += bare_note(cells)
    notes += [SEVERAL_SEEDS] if any(len(cell.done) > 1 for cell in cells) else []
    if late := _those_in(cells, rows.run[rows.measured == "afterwards"]):
        notes.append(f"measured at the start and the end only: {', '.join(late)}")
    ended = set(moments["in the end"].run) if "in the end" in moments else set()
    if early := _those_in(cells, set(rows.run) - ended):
        notes.append(f"not measured in the end: {', '.join(early)}")
    if bare := _those_in(cells, without):
        notes.append(f"the outputs' gradients were not measured throughout: {', '.join(bare)}")
    add_caption(figure, experiment, group, cells, notes)
    return figure


def _moments(rows: pd.DataFrame, last: pd.Series[int]) -> dict[str, pd.DataFrame]:
    """Title -> what was measured then, without those at which nothing was.

    `last` is each row's run's last iteration.
    """
    first = rows.groupby("run").iteration.transform("min")
    moments = {
        "at initialisation": rows[rows.iteration == first],
        "while training (median)": rows[(first < rows.iteration) & (rows.iteration < last)],
        "in the end": rows[rows.iteration == last],
    }
    return {title: measured for title, measured in moments.items() if len(measured)}


def _those_in(cells: Sequence[Cell], runs: Iterable[str]) -> list[str]:
    """The networks of these runs: `plain-56`, and `plain-20 (1 of 3 seeds)`."""
    wanted, found = set(runs), []
    for cell in cells:
        count = sum(run.id in wanted for run in cell.done)
        part = "" if count == len(cell.done) else f" ({count} of {len(cell.done)} seeds)"
        found += [network_title(cell.network) + part] if count else []
    return found


def _arrange(grid: Sequence[Sequence[Axes]], labels: Sequence[str]) -> None:
    """Axes, labels and one key; the axes of values leave room around the lines."""
    for line, label in zip(grid, labels, strict=True):
        for axes in line:
            grid_lines(axes)
            axes.set_xlim(0, None)
            if line is not grid[0]:
                axes.set_yscale("log")
        line[0].set_ylabel(label)
        low, high = line[0].get_ylim()
        if line is grid[0]:
            # At initialisation BN's outputs have 1: the key stands above.
            line[0].set_ylim(0, max(1.1 * high, 1.5))
        else:
            line[0].set_ylim(10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high)))
    for axes in grid[-1]:
        axes.set_xlabel("layer index")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    grid[0][0].legend(loc="upper right", ncols=2, handlelength=3)
