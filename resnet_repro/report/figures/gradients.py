"""Signals and gradients by layer (section 4.1), drawn in the manner of Fig. 7."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median

from resnet_repro.report.claims.quantities import by_iteration
from resnet_repro.report.figures.captions import add_caption
from resnet_repro.report.figures.plotting import Axes, Figure
from resnet_repro.report.figures.responses import draw_layers
from resnet_repro.report.groups import Group
from resnet_repro.report.results import Cell, network_title, networks_of
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.measurements import GradientRow

__all__ = ["gradients_figure", "measured_afterwards"]

Layers = list[float]  # one number per 3x3 layer, in order
Field = Callable[[GradientRow], float]


def gradients_figure(experiment: Experiment, cells: Sequence[Cell], group: Group) -> Figure:
    """Top: how much each layer's output varies. Below, on log scales: the gradients that come back.

    In the layer's output, where that was measured, and in its weights. Left to right: before
    training, the median of the points of the curve on the way, at the end.
    """
    moments = [("at initialisation", _first), ("in the end", _last)]
    if any(_between(run.gradients(), _gradient_norm) for cell in cells for run in cell.done):
        moments.insert(1, ("while training (median)", _between))
    fields = [_forward_std, _gradient_norm]
    if any(row.signal_norm for cell in cells for run in cell.done for row in run.gradients()):
        fields.insert(1, _signal_norm)
    figure = Figure(figsize=(3.0 * len(moments) + 0.3, 0.4 + 2.1 * len(fields)))
    grid = figure.subplots(len(fields), len(moments), sharex=True, sharey="row", squeeze=False)
    several = False
    for column, (title, at) in enumerate(moments):
        grid[0][column].set_title(title)
        for cell in cells:
            rows = [run.gradients() for run in cell.done]
            several = several or len(rows) > 1
            for line, field in zip(grid, fields, strict=True):
                seeds = [layers for layers in (at(r, field) for r in rows) if layers]
                draw_layers(line[column], cell.network, seeds)
    _arrange([list(line) for line in grid], [LABELS[field] for field in fields])
    notes = ["std of each 3x3 layer's output after BN, before the nonlinearity; one batch"]
    if several:
        notes.append("lines: mean, bands: lowest to highest of the seeds")
    if late := measured_afterwards(cells):
        notes.append(f"measured at the start and the end only: {', '.join(late)}")
    add_caption(figure, group, cells, networks_of(experiment), notes)
    return figure


def measured_afterwards(cells: Sequence[Cell]) -> list[str]:
    """`plain-56`, and `plain-20 (1 of 3 seeds)`: what was not observed while it trained."""
    found = []
    for cell in cells:
        measured = [rows for run in cell.done if (rows := run.gradients())]
        late = sum(any(row.measured == "afterwards" for row in rows) for rows in measured)
        if late:
            part = "" if late == len(measured) else f" ({late} of {len(measured)} seeds)"
            found.append(network_title(cell.network) + part)
    return found


def _forward_std(row: GradientRow) -> float:
    return row.forward_std


def _gradient_norm(row: GradientRow) -> float:
    return row.gradient_norm


def _signal_norm(row: GradientRow) -> float:
    return math.nan if row.signal_norm is None else row.signal_norm


LABELS: dict[Field, str] = {
    _forward_std: "std of the output",
    _signal_norm: "norm of the output's gradient",
    _gradient_norm: "norm of the weights' gradient",
}


def _first(rows: Sequence[GradientRow], field: Field) -> Layers:
    moments = list(by_iteration(rows).values())
    return [field(row) for row in moments[0]] if moments else []


def _last(rows: Sequence[GradientRow], field: Field) -> Layers:
    moments = list(by_iteration(rows).values())
    return [field(row) for row in moments[-1]] if moments else []


def _between(rows: Sequence[GradientRow], field: Field) -> Layers:
    """The median over what was measured between the start and the end."""
    moments = list(by_iteration(rows).values())[1:-1]
    return [median(field(row) for row in layer) for layer in zip(*moments, strict=False)]


def _arrange(grid: Sequence[Sequence[Axes]], labels: Sequence[str]) -> None:
    """Axes, labels and one key; the axes of values leave room around the lines."""
    for line, label in zip(grid, labels, strict=True):
        for axes in line:
            axes.grid(axis="y", color="0.9", linewidth=0.5)
            axes.set_axisbelow(True)
            axes.set_xlim(0, None)
            if line is not grid[0]:
                axes.set_yscale("log")
        line[0].set_ylabel(label)
        low, high = line[0].get_ylim()
        if line is grid[0]:
            line[0].set_ylim(0, 1.1 * high)
        else:
            line[0].set_ylim(10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high)))
    for axes in grid[-1]:
        axes.set_xlabel("layer index")
    grid[0][0].legend(loc="upper right", ncols=2, handlelength=3)
