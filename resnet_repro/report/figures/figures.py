"""The paper's figures from our data: one picture per group of runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from resnet_repro.base.errors import ConfigError, ReproError
from resnet_repro.report.commands import run_command
from resnet_repro.report.figures.curves import curves_figure
from resnet_repro.report.figures.gradients import gradients_figure
from resnet_repro.report.figures.plotting import Figure
from resnet_repro.report.figures.responses import responses_figure
from resnet_repro.report.figures.style import FigureFormat, save, styled
from resnet_repro.report.groups import Group, slugs
from resnet_repro.report.results import Cell, collect, groups_in, main_group, networks_of
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.shows import CurvesPlot, GradientsPlot
from resnet_repro.store.stored_run import StoredRun

__all__ = ["Picture", "draw", "figure_names"]


class Picture(NamedTuple):
    """A figure ready to be written as `figures/<name>.<suffix>`."""

    name: str
    content: bytes


def draw(
    experiment: Experiment, runs: Sequence[StoredRun], suffix: FigureFormat = "png"
) -> list[Picture]:
    """The experiment's figure from its main group; one for each group as well if there are more.

    Raises:
        ConfigError: the experiment has no figure.
        ReproError: there is nothing to draw yet.
        StoreError: a run's curve or responses cannot be read.
    """
    if experiment.plot is None:
        raise ConfigError(f"{experiment.name} has no figure; try: resnet-repro table")
    cells = drawable_cells(experiment, runs)
    names = figure_names(experiment, cells)
    if not names:
        raise ReproError(
            f"{experiment.name}: nothing to draw yet. To make the data: {run_command(experiment)}"
        )
    pictures: dict[Group, bytes] = {}
    for group in names.values():
        if group not in pictures:
            with styled():
                pictures[group] = save(build(experiment, cells, group), suffix)
    return [Picture(name, pictures[group]) for name, group in names.items()]


def figure_names(experiment: Experiment, cells: Sequence[Cell]) -> dict[str, Group]:
    """Figure name -> the group it shows: `fig1`, and where there are several groups,
    `fig1-short-cifar10` ... for each of them. Empty without results.
    """
    main = main_group(cells)
    if main is None:
        return {}
    groups = groups_in(cell for cell in cells if cell.done)
    if len(groups) == 1:
        return {experiment.name: main}
    short = slugs(groups)
    return {experiment.name: main} | {f"{experiment.name}-{short[g]}": g for g in groups}


def drawable_cells(experiment: Experiment, runs: Sequence[StoredRun]) -> list[Cell]:
    """The cells of an experiment; only runs on which the figure's quantity was measured count."""
    kind = experiment.plot.kind if experiment.plot else None
    if kind == "responses":
        runs = [run for run in runs if not run.finished or run.folder.responses.exists()]
    elif kind == "gradients":
        runs = [run for run in runs if not run.finished or run.folder.gradients.exists()]
    return collect(networks_of(experiment), runs)


def build(experiment: Experiment, cells: Sequence[Cell], group: Group) -> Figure:
    """The matplotlib figure of one group."""
    members = [cell for cell in cells if cell.group == group]
    if isinstance(experiment.plot, CurvesPlot):
        return curves_figure(experiment, experiment.plot, members, group)
    if isinstance(experiment.plot, GradientsPlot):
        return gradients_figure(experiment, members, group)
    return responses_figure(experiment, members, group)
