"""The paper's figures from our data: one picture per group of runs."""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

from resnet_repro.base.errors import ConfigError, ReproError
from resnet_repro.report.commands import run_command
from resnet_repro.report.figures.kinds import drawable_cells, figure_names
from resnet_repro.report.figures.plotting import Figure
from resnet_repro.report.figures.style import FigureFormat, save, styled
from resnet_repro.report.groups import Group
from resnet_repro.report.results import Results
from resnet_repro.spec.experiment import Experiment

__all__ = ["Picture", "build", "draw"]


class Picture(NamedTuple):
    """A figure ready to be written as `figures/<name>.<suffix>`."""

    name: str
    content: bytes


def draw(experiment: Experiment, results: Results, suffix: FigureFormat = "png") -> list[Picture]:
    """The experiment's figure from its main group; one for each group as well if there are more.

    Raises:
        ConfigError: the experiment has no figure.
        ReproError: there is nothing to draw yet.
    """
    if experiment.plot is None:
        raise ConfigError(f"{experiment.name} has no figure; try: resnet-repro table")
    names = figure_names(experiment, results)
    if not names:
        raise ReproError(
            f"{experiment.name}: nothing to draw yet. To make the data: {run_command(experiment)}"
        )
    pictures: dict[Group | None, bytes] = {}
    for group in names.values():
        if group not in pictures:
            with styled():
                pictures[group] = save(build(experiment, results, group), suffix)
    return [Picture(name, pictures[group]) for name, group in names.items()]


def build(experiment: Experiment, results: Results, group: Group | None) -> Figure:
    """The matplotlib figure of one group, with its caption; of none for what shows no runs."""
    assert experiment.plot is not None, "only for experiments with a figure"
    cells = [cell for cell in drawable_cells(experiment, results) if cell.group == group]
    module = import_module(f"resnet_repro.report.figures.{experiment.plot.kind}")
    figure: Figure = module.draw(experiment, results, cells, group)
    return figure
