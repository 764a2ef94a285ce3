"""Errors against iterations as in Fig. 1, 4 and 6: training error dashed or thin, test bold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from resnet_repro.networks.architecture import architecture
from resnet_repro.report.cells import Cell
from resnet_repro.report.figures.style import (
    SEVERAL_SEEDS,
    add_caption,
    colours,
    grid_lines,
    label,
)
from resnet_repro.report.groups import Group
from resnet_repro.report.results import Results
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.network_names import Family, network_title
from resnet_repro.spec.tables_figures import CurvePanel, CurvesPlot

__all__ = ["draw"]

CurvePart = Literal["train", "test"]
LineStyle = dict[str, Any]
TRAIN_LINES: dict[Literal["dashed", "thin"], LineStyle] = {
    "dashed": {"linestyle": (0, (4, 1.6)), "linewidth": 0.9},
    "thin": {"linestyle": "-", "linewidth": 0.7},
}
USUAL_AXIS = (0.0, 20.0)  # percent, where the paper's is not known
TEST_LINE: LineStyle = {"linestyle": "-", "linewidth": 1.8}
PART_TITLES: dict[Family, dict[CurvePart, str]] = {
    "cifar": {"train": "training error", "test": "test error"},
    "imagenet": {"train": "training error", "test": "validation error, centre crop"},
    "detection": {},  # whose curves have losses, no errors
}


class Curve(NamedTuple):
    """An error of one network while it trains."""

    network: str
    part: CurvePart
    seeds: int
    errors: pd.DataFrame  # percent by iteration: `mean`, `min` and `max` of the seeds


def draw(experiment: Experiment, results: Results, cells: Sequence[Cell], group: Group) -> Figure:
    """The panels of an experiment's plot for one group's cells, without those that have no run."""
    plot = experiment.plot
    assert isinstance(plot, CurvesPlot), "only for experiments that draw curves"
    done = {cell.network for cell in cells if cell.done}
    panels = [panel for panel in plot.panels if done & set(panel.networks)]
    whole, titles = results.frame("curve"), dict(PART_TITLES[group.family])
    held_out = {run.run.recipe.validation_images for c in cells for run in c.done}
    if any(held_out):
        whole = whole.assign(test_error=whole.validation_error)
        titles["test"] = "error over held-out images"
    curves = [
        _panel_curves(panel, cells, whole[whole.iteration <= panel.first * group.iterations])
        for panel in panels
    ]
    lines: dict[CurvePart, LineStyle] = {"train": TRAIN_LINES[plot.train_lines], "test": TEST_LINE}
    drawn_curves = [
        c for panel, drawn in zip(panels, curves, strict=True) if panel.first == 1 for c in drawn
    ]
    axis = _error_axis(plot.error_axis or USUAL_AXIS, drawn_curves, group.reduced)
    unit, unit_label = _iteration_unit(group.iterations)
    figure = Figure(figsize=(3.1 * len(panels) + 0.3, 3.1))
    all_axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel, drawn in zip(all_axes, panels, curves, strict=True):
        own_colours = colours([curve.network for curve in drawn])
        _draw_panel(axes, drawn, lines, unit, own_colours)
        own = axis if panel.first == 1 else _beginning_axis(drawn)
        end = panel.first * group.iterations / unit
        title = label(panel.title.replace("test error", titles["test"]))
        axes.set(title=title, xlim=(0, end), ylim=own)
        error = titles[panel.curves[0]] if len(panel.curves) == 1 else "error"
        axes.set(xlabel=f"iter.{unit_label}", ylabel=f"{error} (%)")
        axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
        _mark_rate_changes(axes, cells, unit, own_colours)
        _label_ends(axes, drawn, own_colours)
    if any(len(panel.curves) > 1 for panel in panels):  # a key, where the fewest curves are
        keys = [Line2D([], [], color="0.3", **lines[part], label=titles[part]) for part in lines]
        all_axes[0].legend(handles=keys, loc="best", handlelength=2.6, borderaxespad=0.2)
    notes = []
    if any(held_out):
        notes.append("errors over the training images held out, not over the test set")
    if plot.error_axis not in (None, axis) and experiment.reference:  # not one of the user's own
        notes.append(_axis_note(plot.error_axis))
    if any(curve.seeds > 1 for curve in drawn_curves):
        notes.append(SEVERAL_SEEDS)
    if any(run.run.recipe.milestones for cell in cells for run in cell.done):
        notes.append("dotted: the learning rate falls")
    add_caption(figure, experiment, group, cells, notes)
    return figure


def _panel_curves(panel: CurvePanel, cells: Sequence[Cell], rows: pd.DataFrame) -> list[Curve]:
    by_network = {cell.network: cell for cell in cells if cell.done}
    found = [by_network[network] for network in panel.networks if network in by_network]
    curves = [_average(cell, part, rows) for cell in found for part in panel.curves]
    return [curve for curve in curves if len(curve.errors)]


def _average(cell: Cell, part: CurvePart, rows: pd.DataFrame) -> Curve:
    """The seeds' curves at the iterations that all of them measured."""
    own = rows[rows.run.isin([run.id for run in cell.done])]
    seeds = own.run.nunique()
    errors = own.groupby("iteration")[f"{part}_error"].agg(["mean", "min", "max", "size"])
    return Curve(cell.network, part, seeds, errors[errors["size"] == seeds])


def _error_axis(
    paper: tuple[float, float], curves: Sequence[Curve], reduced: bool
) -> tuple[float, float]:
    """The paper's range if the later half of each curve mostly lies within it, else a wider one.

    Reduced runs may lie anywhere, so a range that does not start at 0 is moved to where they are,
    from the end of their first quarter on.
    """
    means = [curve.errors["mean"] for curve in curves]
    if paper[0] and reduced and means:
        low = min(mean.min() for mean in means)
        high = max(mean.iloc[len(mean) // 4 :].max() for mean in means)
        return (float(10 * math.floor(0.95 * low / 10)), _rounded_up(high))
    highest = max((mean.iloc[len(mean) // 2 :].median() for mean in means), default=0.0)
    return paper if highest <= paper[1] else (paper[0], _rounded_up(1.15 * highest))


def _beginning_axis(curves: Sequence[Curve]) -> tuple[float, float]:
    """From the lowest to the highest error of the first iterations, to the next tens."""
    means = [curve.errors["mean"] for curve in curves]
    low = min((mean.min() for mean in means), default=0.0)
    high = max((mean.max() for mean in means), default=100.0)
    return (float(10 * math.floor(low / 10)), max(_rounded_up(high), 10.0))


def _rounded_up(error: float) -> float:
    return float(min(100, 10 * math.ceil(error / 10)))


def _axis_note(paper: tuple[float, float]) -> str:
    if not paper[0]:
        return f"error axis extended, the paper's ends at {paper[1]:g}"
    return f"error axis fitted, the paper's is {paper[0]:g} to {paper[1]:g}"


def _iteration_unit(iterations: int) -> tuple[int, str]:
    """The paper's unit is 1e4; short runs' few iterations are just counted."""
    return (10_000, " (1e4)") if iterations >= 5_000 else (1, "")


def _draw_panel(
    axes: Axes,
    curves: Sequence[Curve],
    lines: Mapping[CurvePart, LineStyle],
    unit: int,
    own_colours: Mapping[str, str],
) -> None:
    for index, curve in enumerate(curves):
        colour = own_colours[curve.network]
        x = curve.errors.index / unit
        marker = architecture(curve.network).style.marker
        every = max(1, len(x) // 8)
        first = index % 8 if every > 1 else 0  # not all markers one above another
        axes.plot(
            x,
            curve.errors["mean"],
            color=colour,
            marker=marker if curve.part == "test" or len(x) == 1 else None,  # no line of one point
            markevery=(first, every),
            markersize=3,
            clip_on=len(x) > 1,
            label=f"{network_title(curve.network)} {curve.part}",
            **lines[curve.part],
        )
        if curve.seeds > 1:
            low, high = curve.errors["min"], curve.errors["max"]
            axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    grid_lines(axes)


def _mark_rate_changes(
    axes: Axes, cells: Sequence[Cell], unit: int, own_colours: Mapping[str, str]
) -> None:
    """Faint lines where the learning rate is divided.

    In a network's colour where its plateau rule divided it.
    """
    style: LineStyle = {"linewidth": 0.6, "linestyle": ":", "zorder": 0}
    done = [run for cell in cells for run in cell.done]
    for milestone in sorted({m for run in done for m in run.run.recipe.milestones}):
        axes.axvline(milestone / unit, color="0.8", **style)
    for cell in cells:
        divisions = [d for run in cell.done for d in run.summary.lr_divisions or ()]
        for division in divisions if cell.network in own_colours else ():
            axes.axvline(division / unit, color=own_colours[cell.network], alpha=0.6, **style)


def _label_ends(axes: Axes, curves: Sequence[Curve], own_colours: Mapping[str, str]) -> None:
    """The networks' names at the right, each level with its curve's end unless they would touch."""
    bottom, top = axes.get_ylim()
    spacing = 0.062 * (top - bottom)
    ends: dict[str, float] = {}
    for curve in curves:  # test after train: the label belongs to the bold line where there is one
        ends[curve.network] = curve.errors["mean"].iloc[-1]
    names = sorted(ends, key=lambda network: ends[network])
    heights = _spread([min(max(ends[n], bottom), top) for n in names], spacing, bottom, top)
    right = axes.get_xlim()[1]
    for network, height in zip(names, heights, strict=True):
        axes.annotate(
            network_title(network),
            xy=(right, min(ends[network], top)),
            xytext=(right * 1.045, height),
            va="center",
            fontsize=7.5,
            color=own_colours[network],
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": own_colours[network],
                "linewidth": 0.5,
                "relpos": (0, 0.5),  # from the name's left edge, not across it
                "shrinkA": 0,
                "shrinkB": 1,
            },
        )


def _spread(heights: Sequence[float], spacing: float, bottom: float, top: float) -> list[float]:
    """Ascending heights, those that are nearer to each other than `spacing` moved apart."""
    placed = list(heights)
    for _ in range(200):
        moved = False
        for i in range(len(placed) - 1):
            overlap = spacing - (placed[i + 1] - placed[i])
            if overlap > 1e-9:
                placed[i] -= overlap / 2
                placed[i + 1] += overlap / 2
                moved = True
        lift = max(0.0, bottom - placed[0]) if placed else 0.0
        placed = [height + lift for height in placed]
        if not moved:
            break
    return [min(height, top) for height in placed]
