"""The lines under a figure: what it shows, and whether that is less than the paper's protocol."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from resnet_repro.report.figures.plotting import Figure
from resnet_repro.report.figures.style import label
from resnet_repro.report.groups import Group
from resnet_repro.report.results import Cell, network_title

__all__ = ["add_caption", "caption_lines"]

_LINE = 0.145  # inches
_CHARACTERS = 18.5  # per inch at the caption's size


def caption_lines(
    group: Group, cells: Sequence[Cell], networks: Sequence[str], notes: Sequence[str]
) -> list[str]:
    """The group first, then seeds, notes, and what is missing or failed."""
    lines = [group.caption]
    counts = sorted({len(cell.done) for cell in cells if cell.done})
    seeds = "1 seed" if counts == [1] else f"{' or '.join(map(str, counts))} seeds"
    lines.append("; ".join([f"{seeds} per network" if len(cells) > 1 else seeds, *notes]))
    done = {cell.network for cell in cells if cell.done}
    missing = [network_title(network) for network in networks if network not in done]
    if missing:
        lines.append(f"not run: {', '.join(missing)}")
    failed = [f"{network_title(c.network)} ({len(c.failed)})" for c in cells if c.failed]
    if failed:
        lines.append(f"failed runs left out: {', '.join(failed)}")
    return lines


def add_caption(
    figure: Figure,
    group: Group,
    cells: Sequence[Cell],
    networks: Sequence[str],
    notes: Sequence[str],
) -> None:
    """Write the caption under the panels; the group is bold where it is not the paper's."""
    width, height = figure.get_size_inches()
    lines = [
        (part, index == 0 and not group.faithful)
        for index, line in enumerate(caption_lines(group, cells, networks, notes))
        for part in textwrap.wrap(line, int(_CHARACTERS * width))
    ]
    below = _LINE * len(lines) + 0.1
    figure.set_size_inches(width, height + below)
    figure.tight_layout(rect=(0, below / (height + below), 1, 1))
    for index, (line, strong) in enumerate(lines):
        figure.text(
            0.012,
            (below - 0.04 - _LINE * index) / (height + below),
            label(line),
            fontsize=7,
            va="top",
            color="#A03000" if strong else "0.25",
            weight="bold" if strong else "normal",
        )
