"""The "revolution of depth": competitions' results as bars with the depth of each network."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from resnet_repro.paper.depth import Competition, load_competitions
from resnet_repro.report.figures.plotting import Axes, Figure
from resnet_repro.report.figures.style import label
from resnet_repro.report.results import Cell, Results
from resnet_repro.spec.experiment import Experiment

__all__ = ["draw"]

WIDTH = 7.2  # inches
LINE = 95  # characters of a caveat's line


def draw(experiment: Experiment, results: Results, cells: Sequence[Cell], group: object) -> Figure:
    """One panel a competition: a bar an entry, its depth above it, caveats underneath."""
    competitions = load_competitions()
    notes = [_notes(each) for each in competitions]
    heights = [2.4 + 0.13 * len(lines) for lines in notes]
    figure = Figure(figsize=(WIDTH, sum(heights)))
    top = sum(heights)
    for competition, lines, height in zip(competitions, notes, heights, strict=True):
        low = (top - 1.85) / sum(heights)
        axes = figure.add_axes((0.08, low, 0.9, 1.45 / sum(heights)))
        _bars(axes, competition)
        text = "\n".join(label(line) for line in lines)
        figure.text(0.08, low - 0.38 / sum(heights), text, fontsize=6.5, va="top")
        top -= height
    return figure


def _bars(axes: Axes, competition: Competition) -> None:
    entries = competition.entries
    deepest = max(entry.depth or 0 for entry in entries)
    places = range(len(entries))
    colours = ["#0072B2" if entry.depth == deepest else "#9ECAE1" for entry in entries]
    axes.bar(places, [entry.value for entry in entries], width=0.6, color=colours)
    for place, entry in zip(places, entries, strict=True):
        depth = f"{entry.depth} layers" if entry.depth else "shallow"
        text = f"{entry.value:g}\n{depth}"
        axes.text(place, entry.value, text, ha="center", va="bottom", fontsize=7)
    names = [f"{e.name}\n{e.year}" if e.year else e.name.replace(", ", "\n") for e in entries]
    axes.set_xticks(list(places), names)
    axes.tick_params(axis="x", length=0)
    axes.set_ylim(0, 1.3 * max(entry.value for entry in entries))
    axes.set_ylabel(label(competition.unit))
    axes.set_title(label(competition.title), loc="left")


def _notes(competition: Competition) -> list[str]:
    lines = [f"Source: {competition.source}."]
    for caveat in competition.caveats:
        lines += textwrap.wrap(caveat, LINE, initial_indent="- ", subsequent_indent="  ")
    return lines
