"""What a figure is, as data: its kinds, and which pictures an experiment has.

A figure of some kind is drawn by `draw` in the module of that name beside this one, from the frame
of `Results` that has the data. Nothing here imports matplotlib.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from resnet_repro.report.groups import Group, slugs
from resnet_repro.report.results import Cell, Results, groups_in, main_group, networks_of
from resnet_repro.spec.experiment import Experiment

__all__ = ["FIGURES", "FigureKind", "drawable_cells", "figure_names"]


class FigureKind(NamedTuple):
    """What a kind of figure draws, which is what its experiment's tidy CSV holds as well."""

    frame: str  # of `Results`; only runs that are in it are drawn. Empty: no runs are needed
    columns: tuple[str, ...] = ()


FIGURES: dict[str, FigureKind] = {
    "drawing": FigureKind(""),
    "depth": FigureKind(""),
    "curves": FigureKind("curves", ("iteration", "epoch", "lr", "train_error", "test_error")),
    "responses": FigureKind("responses", ("layer", "module", "std", "rank")),
    "gradients": FigureKind(
        "gradients",
        (
            *("iteration", "layer", "module", "forward_std", "gradient_norm", "weight_norm"),
            *("measured", "signal_norm"),
        ),
    ),
}


def drawable_cells(experiment: Experiment, results: Results) -> list[Cell]:
    """The cells of an experiment; only runs on which the figure's quantity was measured count."""
    cells = results.cells(networks_of(experiment))
    if experiment.plot is None or not FIGURES[experiment.plot.kind].frame:
        return cells
    measured = set(getattr(results, FIGURES[experiment.plot.kind].frame).run)
    kept = (replace(c, done=tuple(run for run in c.done if run.id in measured)) for c in cells)
    return [cell for cell in kept if cell.every]


def figure_names(experiment: Experiment, results: Results) -> Mapping[str, Group | None]:
    """Figure name -> the group it shows: `fig1`, and where there are several groups,
    `fig1-short-cifar10` ... for each of them. Empty without results. None: it shows no runs.
    """
    if experiment.plot and not FIGURES[experiment.plot.kind].frame:
        return {experiment.name: None}
    cells = drawable_cells(experiment, results)
    main = main_group(cells)
    if main is None:
        return {}
    groups = groups_in(cell for cell in cells if cell.done)
    if len(groups) == 1:
        return {experiment.name: main}
    short = slugs(groups)
    return {experiment.name: main} | {f"{experiment.name}-{short[g]}": g for g in groups}
