"""Loss and error on the straight line between the weights of two runs (Li et al. 2018, Fig. 2)."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from resnet_repro.base.colours import BLUE, VERMILLION
from resnet_repro.base.plain_text import either
from resnet_repro.report.cells import Cell
from resnet_repro.report.figures.style import add_caption, label
from resnet_repro.report.figures.surface import cut_note, drawable, error_axis
from resnet_repro.report.groups import Group
from resnet_repro.report.results import Results
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.network_names import network_title

__all__ = ["draw"]

WIDTH, HEIGHT = 3.4, 2.6  # inches of a panel


def draw(experiment: Experiment, results: Results, cells: Sequence[Cell], group: Group) -> Figure:
    """A panel for each network, of its first run that has a line: loss (left), error (right)."""
    rows = results.frame("path")
    drawn = [cell for cell in cells if cell.done]
    firsts = [cell.done[0] for cell in drawn]
    figure = Figure(figsize=(WIDTH * len(firsts) + 0.3, HEIGHT))
    grid = figure.subplots(1, len(firsts), squeeze=False, sharey=True)[0]
    for axes, cell, run in zip(grid, drawn, firsts, strict=True):
        line = rows[rows.run == run.id]
        ended = run.summary.final_test_error
        error = f"\ntest error {ended:.2f}% at 0" if ended is not None else ""
        axes.set_title(label(network_title(cell.network)) + error)
        axes.plot(line.position, drawable(line.loss), color=BLUE)
        axes.set_yscale("log")
        axes.set_xlabel("position: 0 one run, 1 the other")
        axes.set_xticks([-0.5, 0, 0.5, 1, 1.5])
        for end in (0, 1):
            axes.axvline(end, color="0.8", linewidth=0.7, zorder=0)
        errors = error_axis(axes, labelled=axes is grid[-1])
        errors.plot(line.position, line.error, color=VERMILLION, linestyle=(0, (3, 2)))
    grid[0].set_ylabel("loss")
    shown = rows[rows.run.isin([run.id for run in firsts])]
    images = either([f"{count:,}" for count in sorted(set(shown.images))])
    notes = [f"mean cross-entropy of {images} training images; weights and BN's statistics between"]
    notes.append(
        "beyond 0 and 1 BN's variances are extrapolated as well, negative ones set to 0: such a "
        "channel is divided by the root of bn_epsilon alone, which by itself raises the loss there"
    )
    notes += [f"{run.id} to {rows[rows.run == run.id].to.iloc[0]}" for run in firsts]
    notes += cut_note([shown.loss])
    add_caption(figure, experiment, group, cells, notes)
    return figure
