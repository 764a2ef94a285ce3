"""The "revolution of depth": competitions' results as bars with the depth of each network.

What was trained here stands below them, each protocol in a panel and on an axis of its own: single
networks on a validation set are no competition's entries.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_repro.base.colours import BLUE, ORANGE
from resnet_repro.paper.facts import Competition, load_competitions
from resnet_repro.report.cells import Cell, groups_in
from resnet_repro.report.figures.style import NOT_THE_PAPERS, label
from resnet_repro.report.groups import Group
from resnet_repro.report.results import Results
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.network_names import THE_PAPERS, network_title, parse_network
from resnet_repro.spec.tables_figures import Views

__all__ = ["draw"]

WIDTH = 7.2  # inches
VIEWS: Views = "10-crop"  # of single networks, as in Table 3
LINE = 95  # characters of a caveat's line
STRONG, PALE, OURS = BLUE, "#9ECAE1", ORANGE


class _Bar(NamedTuple):
    """One bar: what stands under it, its height, and what stands above it."""

    name: str
    value: float
    text: str
    colour: str


class _Panel(NamedTuple):
    title: str
    unit: str
    bars: list[_Bar]
    notes: list[str]
    reduced: bool = False


def draw(experiment: Experiment, results: Results, cells: Sequence[Cell], group: object) -> Figure:
    """One panel a competition, then one for each protocol that was trained here; notes below."""
    panels = [*map(_of_competition, load_competitions()), *_trained_here(results)]
    heights = [2.4 + 0.13 * len(panel.notes) for panel in panels]
    figure = Figure(figsize=(WIDTH, sum(heights)))
    top = sum(heights)
    for panel, height in zip(panels, heights, strict=True):
        low = (top - 1.85) / sum(heights)
        axes = figure.add_axes((0.08, low, 0.9, 1.45 / sum(heights)))
        _draw_bars(axes, panel)
        text = _lines("\n".join(panel.notes))
        colour = NOT_THE_PAPERS if panel.reduced else "black"
        figure.text(0.08, low - 0.38 / sum(heights), text, fontsize=6.5, va="top", color=colour)
        top -= height
    return figure


def _draw_bars(axes: Axes, panel: _Panel) -> None:
    places = range(len(panel.bars))
    heights, colours = [bar.value for bar in panel.bars], [bar.colour for bar in panel.bars]
    axes.bar(places, heights, width=0.6, color=colours)
    for place, bar in zip(places, panel.bars, strict=True):
        axes.text(place, bar.value, _lines(bar.text), ha="center", va="bottom", fontsize=7)
    axes.set_xticks(list(places), [_lines(bar.name) for bar in panel.bars])
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, max(len(panel.bars), 4) - 0.4)
    axes.set_ylim(0, 1.3 * max(heights))
    axes.set_ylabel(label(panel.unit))
    axes.set_title(
        label(panel.title), loc="left", color=NOT_THE_PAPERS if panel.reduced else "black"
    )


def _of_competition(competition: Competition) -> _Panel:
    deepest = max(entry.depth or 0 for entry in competition.entries)
    bars = [
        _Bar(
            f"{e.name}\n{e.year}" if e.year else e.name.replace(", ", "\n"),
            e.value,
            f"{e.value:g}\n{f'{e.depth} layers' if e.depth else 'shallow'}",
            STRONG if e.depth == deepest else PALE,
        )
        for e in competition.entries
    ]
    notes = [f"Source: {competition.source}."]
    for caveat in competition.caveats:
        notes += _wrapped(caveat)
    return _Panel(competition.title, competition.unit, bars, notes)


def _trained_here(results: Results) -> list[_Panel]:
    """A panel for each protocol of the ImageNet family that was tested with ten crops."""
    cells = [cell for cell in results.cells(THE_PAPERS) if cell.group.family == "imagenet"]
    panels = [_of_group(results, group, cells) for group in groups_in(cells)]
    return [panel for panel in panels if panel.bars]


def _of_group(results: Results, group: Group, cells: Sequence[Cell]) -> _Panel:
    """Its networks by depth: top-5 errors on ImageNet, top-1 where the classes are few."""
    error = "top-5" if group.on_paper_data else "top-1"
    column = error.replace("-", "") + "_error"
    errors = results.evaluated(VIEWS)[column]
    bars = []
    for cell in sorted(cells, key=lambda cell: parse_network(cell.network).depth):
        found = cell.over_seeds(errors)
        if cell.group == group and found.mean is not None:
            text = f"{found}\n{parse_network(cell.network).depth} layers"
            bars.append(_Bar(network_title(cell.network), found.mean, text, OURS))
    runs = {run.id for cell in cells if cell.group == group for run in cell.done}
    for ensemble in results.ensembles:
        if runs.issuperset(ensemble.members):
            value = getattr(ensemble, column)
            text = f"{value:.2f}\n{len(ensemble.members)} networks"
            bars.append(_Bar(f"ensemble,\n{ensemble.views}", value, text, OURS))
    notes = _wrapped(group.caption)
    notes += _wrapped(f"On the validation set, {VIEWS}; mean over seeds, ± standard deviation.")
    if not group.faithful:
        notes += _wrapped("Not to be compared with the numbers above: another protocol or data.")
    mark = "" if group.faithful else ", REDUCED" if group.reduced else ", ANOTHER PROTOCOL"
    title = f"Trained here{mark}: {error} error on {group.data}"
    return _Panel(title, f"{error} error %", bars, notes, reduced=not group.faithful)


def _lines(text: str) -> str:
    return "\n".join(map(label, text.splitlines()))


def _wrapped(note: str) -> list[str]:
    return textwrap.wrap(note, LINE, initial_indent="- ", subsequent_indent="  ")
