"""The paper's figures from our data: one picture per group of runs."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

from resnet_repro.base.errors import ConfigError, ReproError
from resnet_repro.report.commands import run_command
from resnet_repro.report.figures.kinds import drawable_cells, pictures
from resnet_repro.report.figures.style import FigureFormat, save, styled
from resnet_repro.report.groups import Group
from resnet_repro.report.results import Results
from resnet_repro.spec.experiment import Experiment

__all__ = ["build", "draw"]


class Picture(NamedTuple):
    """A figure ready to be written as `figures/<name>.<suffix>`."""

    name: str
    content: bytes


def draw(experiment: Experiment, results: Results, suffix: FigureFormat = "png") -> list[Picture]:
    """The experiment's figure from its main group; one for each group as well if there are more.

    Raises:
        ConfigError: the experiment has no figure, or none in this format.
        ReproError: there is nothing to draw yet.
    """
    if experiment.plot is None:
        raise ConfigError(f"{experiment.name} has no figure; try: resnet-repro table")
    if suffix == "html" and not hasattr(_module(experiment), "html"):
        raise ConfigError(f"{experiment.name} cannot be drawn as html; try png, svg or pdf")
    wanted = pictures(experiment, results)
    if not wanted:
        raise ReproError(
            f"{experiment.name}: nothing to draw yet. To make the data: {run_command(experiment)}"
        )
    if suffix == "html":  # one page for all views
        wanted = {n: (group, "html") for n, (group, view) in wanted.items() if view == "draw"}
    drawn: dict[tuple[Group | None, str], bytes] = {}
    for group, view in wanted.values():
        if (group, view) not in drawn:
            with styled():
                found = build(experiment, results, group, view)
                page = isinstance(found, str)
                drawn[group, view] = found.encode() if page else save(found, suffix)
    return [Picture(name, drawn[which]) for name, which in wanted.items()]


def build(experiment: Experiment, results: Results, group: Group | None, view: str = "draw") -> Any:
    """The matplotlib figure of one group, with its caption; of none for what shows no runs.

    Of the view `html` it is a page's text.
    """
    cells = [cell for cell in drawable_cells(experiment, results) if cell.group == group]
    return getattr(_module(experiment), view)(experiment, results, cells, group)


def _module(experiment: Experiment) -> ModuleType:
    """What draws an experiment's kind of figure."""
    assert experiment.plot is not None, "only for experiments with a figure"
    return import_module(f"resnet_repro.report.figures.{experiment.plot.kind}")
