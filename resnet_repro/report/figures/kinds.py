"""What a figure is, as data: its kinds, and which pictures an experiment has.

A figure of some kind is drawn by `draw` in the module of that name beside this one, from the frame
of `Results` that has the data, and its further views by the functions that they are named after.
Nothing here imports matplotlib.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from resnet_repro.report.groups import Group, slugs
from resnet_repro.report.results import Cell, Results, groups_in, main_group
from resnet_repro.spec.experiment import Experiment

__all__ = ["FIGURES", "drawable_cells", "figure_names", "pictures"]


class FigureKind(NamedTuple):
    """What a kind of figure draws, which is what its experiment's tidy CSV holds as well."""

    frame: str  # of `Results`; only runs that are in it are drawn. Empty: no runs are needed
    columns: tuple[str, ...] = ()
    views: tuple[str, ...] = ()  # further pictures of the same data, each in a file of its own


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
    "detections": FigureKind(
        "detections", ("image", "class_name", "score", "left", "top", "right", "bottom")
    ),
    "surface": FigureKind(
        "surfaces",
        ("directions", "alpha", "beta", "loss", "error", "images", "sample_seed", "sample_sha256"),
        ("relief", "lines"),
    ),
    "path": FigureKind(
        "paths",
        ("to", "position", "loss", "error", "images", "sample_seed", "sample_sha256", "bn"),
    ),
}


def drawable_cells(experiment: Experiment, results: Results) -> list[Cell]:
    """The cells of an experiment; only runs on which the figure's quantity was measured count."""
    cells = results.cells_of(experiment)
    if experiment.plot is None or not FIGURES[experiment.plot.kind].frame:
        return cells
    frame = getattr(results, FIGURES[experiment.plot.kind].frame)
    measured = set(frame.run.unique())
    kept = (replace(c, done=tuple(run for run in c.done if run.id in measured)) for c in cells)
    return [cell for cell in kept if cell.every]


def figure_names(experiment: Experiment, results: Results) -> Mapping[str, Group | None]:
    """Figure name -> the group it shows: `fig1`, and where there are several groups,
    `fig1-short-cifar10` ... for each of them. Empty without results. None: it shows no runs.
    """
    return {name: group for name, (group, _) in pictures(experiment, results).items()}


def pictures(experiment: Experiment, results: Results) -> Mapping[str, tuple[Group | None, str]]:
    """Figure name -> its group and the function that draws it: all `draw`, then further views."""
    if experiment.plot and not FIGURES[experiment.plot.kind].frame:
        return {experiment.name: (None, "draw")}
    cells = drawable_cells(experiment, results)
    main = main_group(cells, experiment)
    if main is None or experiment.plot is None:
        return {}
    groups = groups_in(cell for cell in cells if cell.done)
    names = {experiment.name: main}
    if len(groups) > 1:
        short = slugs(groups)
        names |= {f"{experiment.name}-{short[g]}": g for g in groups}
    found = {name: (group, "draw") for name, group in names.items()}
    for view in FIGURES[experiment.plot.kind].views:
        found |= {f"{name}-{view}": (group, view) for name, group in names.items()}
    return found
