"""The paper's figures from our data: what a figure is, as data, and one picture a group of runs.

A figure of some kind is drawn by `draw` in the module of that name beside this one, from a frame of
`Results`, and its further views by the functions that they are named after. matplotlib is imported
only where something is drawn.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, chdir, contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from resnet_repro.base.errors import ConfigError, ReproError
from resnet_repro.base.files import user_path
from resnet_repro.report.cells import Cell, groups_in, in_other_precision, main_group
from resnet_repro.report.commands import run_command
from resnet_repro.report.experiment_groups import on_other_data
from resnet_repro.report.groups import Group, slugs
from resnet_repro.report.results import Results
from resnet_repro.spec.experiment import Choices, Experiment
from resnet_repro.spec.loading import experiments_folder
from resnet_repro.spec.presets import Preset

if TYPE_CHECKING:
    from resnet_repro.report.figures.style import FigureFormat

__all__ = ["FIGURES", "build", "draw", "figure_mark", "figure_names"]


class FigureKind(NamedTuple):
    """What a kind of figure draws, which is what its experiment's tidy CSV holds as well."""

    # Of a run's folder; only runs that have it are drawn. Empty: no runs are needed.
    table: str = ""
    columns: tuple[str, ...] = ()  # of the table, in the tidy CSV; empty: all of them
    views: tuple[str, ...] = ()  # further pictures of the same data, each in a file of its own
    page: bool = False  # whether `html` draws it as a page
    beside: tuple[str, ...] = ()  # further tables that it shows; without `table` of all runs

    @property
    def measurements(self) -> tuple[str, ...]:
        """The tables that it shows besides the curve."""
        return tuple(name for name in (self.table, *self.beside) if name not in ("", "curve"))


FIGURES: dict[str, FigureKind] = {
    "drawing": FigureKind(),
    "depth": FigureKind(beside=("evaluations",)),
    "curves": FigureKind(
        "curve", ("iteration", "epoch", "lr", "train_error", "validation_error", "test_error")
    ),
    "responses": FigureKind("responses"),
    "gradients": FigureKind("gradients"),
    "detections": FigureKind("detections"),
    "surface": FigureKind(
        "surface",
        (
            *("directions", "alpha", "beta", "loss", "error", "images", "sample_seed"),
            *("sample_sha256", "stream"),
        ),
        ("relief", "lines"),
        page=True,
        beside=("curvature",),
    ),
    "path": FigureKind("path"),
}


def kind_of(experiment: Experiment) -> FigureKind:
    """The kind of an experiment's figure."""
    assert experiment.plot is not None, "only for experiments with a figure"
    return FIGURES[experiment.plot.kind]


def drawable_cells(experiment: Experiment, results: Results) -> list[Cell]:
    """The cells of an experiment; only runs on which the figure's quantity was measured are `done`.

    Of curves only networks that a panel names; of drawings none.
    """
    kind = kind_of(experiment)
    if not kind.table:
        return []
    cells = results.cells_of(experiment)
    if named := experiment.drawn_networks:
        cells = [cell for cell in cells if cell.network in named]
    measured = set(results.frame(kind.table).run.unique())
    return [
        replace(
            cell,
            done=tuple(run for run in cell.done if run.id in measured),
            unmeasured=tuple(run for run in cell.done if run.id not in measured),
        )
        for cell in cells
    ]


def figure_mark(experiment: Experiment, results: Results, group: Group | None) -> str:
    """A checksum of what a picture shows, which its file carries.

    It changes with the runs, with their measurements and with the runs that the caption names; by
    it the report knows a picture that is out of date.
    """
    kind = kind_of(experiment)
    cells = _shown_cells(experiment, results, group)
    runs = [run for cell in cells for run in cell.done]
    if not kind.table:
        begun = results.begun if kind.beside else []
        runs = [run for run in begun if not run.digests.keys().isdisjoint(kind.beside)]
    drawn = [
        (run.id, run.summary.seconds, *map(run.digests.get, kind.measurements)) for run in runs
    ]
    ensembles = results.ensembles if "evaluations" in kind.beside else ()
    named = [  # in the caption
        f"{left_out} {run.id}"
        for cell in cells
        for left_out in ("unmeasured", "failed", "unfinished")
        for run in getattr(cell, left_out)
    ]
    named += [
        f"{cell.network} {cell.elsewhere.group.precision} {bool(cell.elsewhere.done)}"
        for cell in cells
        if cell.elsewhere
    ]
    shown = repr((group and group.caption, drawn, *ensembles, *named))
    return f"resnet-repro {hashlib.sha256(shown.encode()).hexdigest()[:16]}"


def figure_names(experiment: Experiment, results: Results) -> Mapping[str, Group | None]:
    """Figure name -> the group it shows, or None if it shows no runs.

    `fig1`, and where there are several groups, `fig1-short-cifar10` ... for each of them. Empty
    without results.
    """
    return {name: group for name, (group, _) in pictures(experiment, results).items()}


def pictures(experiment: Experiment, results: Results) -> Mapping[str, tuple[Group | None, str]]:
    """Figure name -> its group and the function that draws it: `draw`, then further views.

    Surfaces that were measured along a line have one picture, by `lines`.
    """
    kind = kind_of(experiment)
    if not kind.table:
        return {experiment.name: (None, "draw")}
    cells = drawable_cells(experiment, results)
    # On another data set than the experiment's own they stand beside the main one.
    whole = experiment.source.whole
    own = [cell for cell in cells if not on_other_data(whole, cell.group.dataset)]
    main = main_group(own, experiment) or main_group(cells, experiment)
    if main is None:
        return {}
    groups = groups_in(cell for cell in cells if cell.done)
    names = {experiment.name: main}
    if len(groups) > 1:
        short = slugs(list(results.numbers))
        names |= {f"{experiment.name}-{short[g]}": g for g in groups}
    lines = _groups_in_line(cells, results) if kind.table == "surface" else set()
    found = {name: (group, "lines" if group in lines else "draw") for name, group in names.items()}
    for view in kind.views:
        more = {f"{name}-{view}": (group, view) for name, group in names.items()}
        found |= {name: shown for name, shown in more.items() if shown[0] not in lines}
    return found


def _groups_in_line(cells: Sequence[Cell], results: Results) -> set[Group]:
    """The groups whose surfaces are lines: none that is drawn leaves the first direction."""
    points = results.frame("surface")
    grids = set(points[points.beta != 0].run)
    in_grids = {cell.group for cell in cells if cell.done and cell.done[0].id in grids}
    return {cell.group for cell in cells if cell.done} - in_grids


class FigureFile(NamedTuple):
    """A figure ready to be written as `figures/<name>.<suffix>`."""

    name: str
    content: bytes


def draw(
    experiment: Experiment,
    results: Results,
    suffix: FigureFormat = "png",
    *,
    preset: Preset | None = None,
    dataset: str | None = None,
) -> Iterator[FigureFile]:
    """The experiment's figure from its main group; one for each group as well if there are more.

    With a preset or a data set only those of its groups, under the same names.

    Raises:
        ConfigError: the figure cannot be drawn in this format.
        ReproError: there is nothing to draw yet; in the end also if some groups cannot be drawn.
    """
    with _without_settings():
        from resnet_repro.report.figures.style import save, styled

    if suffix == "html" and not kind_of(experiment).page:
        raise ConfigError(f"{experiment.name} cannot be drawn as html; try png, svg or pdf")
    wanted = {
        name: (group, view)
        for name, (group, view) in pictures(experiment, results).items()
        if not group or (preset in (None, group.base) and dataset in (None, group.dataset))
    }
    if not wanted:
        choices = Choices(preset=preset, dataset=dataset)
        lacking = experiment.choose(choices) if preset or dataset else experiment
        raise ReproError(
            f"{experiment.name}: nothing to draw yet. "
            f"To make the data: {run_command(lacking)}{results.option}"
        )
    if suffix == "html":  # one page for all views
        wanted = {n: (group, "html") for n, (group, view) in wanted.items() if view == "draw"}
        if not wanted:
            raise ConfigError(f"{experiment.name} is a line here, no surface; try png, svg or pdf")
    drawn: dict[tuple[Group | None, str], bytes] = {}  # the main group's stands in two files
    problems: dict[str, None] = {}
    for name, which in wanted.items():
        try:
            if which not in drawn:
                with styled():
                    found = build(experiment, results, *which)
                    mark = figure_mark(experiment, results, which[0])
                    drawn[which] = found.encode() if suffix == "html" else save(found, suffix, mark)
        except ConfigError:
            raise
        except ReproError as error:
            problems[str(error)] = None
        else:
            yield FigureFile(name, drawn[which])
    if problems:
        raise ReproError("\n".join(problems))


def build(experiment: Experiment, results: Results, group: Group | None, view: str = "draw") -> Any:
    """One view of a group's runs as a matplotlib figure with its caption; as text if it is `html`.

    The group is None for figures that show no runs.
    """
    assert experiment.plot is not None, "only for experiments with a figure"
    with _without_settings():
        module = import_module(f"resnet_repro.report.figures.{experiment.plot.kind}")
    cells = _shown_cells(experiment, results, group)
    return getattr(module, view)(experiment, results, cells, group)


def _shown_cells(experiment: Experiment, results: Results, group: Group | None) -> list[Cell]:
    """The group's cells, and one of each network that has runs in another precision alone."""
    if group is None:
        return []
    every = drawable_cells(experiment, results)
    return [cell for cell in every if cell.group == group] + in_other_precision(every, group)


@contextmanager
def _without_settings() -> Iterator[None]:
    """Let matplotlib, imported meanwhile, find only its own settings and not warn of its folders.

    A Jupyter kernel sets MPLBACKEND to a module that may not be installed here, and a
    `matplotlibrc` or a style file may be unreadable. The figures have a style of their own.
    """
    before = {name: os.environ.get(name) for name in ("MPLBACKEND", "MATPLOTLIBRC")}
    for name in ("MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):  # of its index of fonts
        if os.environ.get(name):
            os.environ[name] = str(user_path(os.environ[name]).absolute())
    os.environ |= {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with ExitStack() as stack:  # a matplotlibrc in the working directory would come first
            with suppress(OSError):  # it has been removed
                stack.enter_context(chdir(experiments_folder()))  # nothing there is a module
            yield
    finally:
        log.setLevel(level)
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
