"""The loss around trained weights, in the manner of Li et al. (arXiv 1712.09913).

Contours with the same levels in all panels, surfaces with a logarithmic axis as in their Fig. 1,
and the loss along one direction. One seed of each network is drawn, the first that was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape as html_escape
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

from resnet_repro.base.errors import ConfigError, ReproError
from resnet_repro.report.cells import Cell
from resnet_repro.report.figures.style import add_caption, caption_lines, label
from resnet_repro.report.groups import BegunRun, Group
from resnet_repro.report.results import Results
from resnet_repro.report.surfaces import RISE, Surface, eigenvalue_ratio, surfaces_of
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.network_names import network_title

__all__ = ["LEVELS", "cut_note", "draw", "drawable", "error_axis", "html", "lines", "relief"]

# Of all panels; close where the valleys are, and none above 10 as in Li et al.
LEVELS = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0)
LOWEST, HIGHEST = 1e-3, 1e4  # between which a loss is drawn, whatever it is
COLOURS = "viridis"
WIDTH, HEIGHT = 2.35, 2.5  # inches of a panel
_KEY = 2.0, 0.23  # inches of an entry in the legend above the panels


class Panel(NamedTuple):
    """What is drawn of one network."""

    network: str
    title: str
    run: BegunRun
    surfaces: list[Surface]  # one for each seed of directions


def panels_of(cells: Sequence[Cell]) -> list[Panel]:
    """Of each network, the first of the runs around which most surfaces were measured, if any.

    Raises:
        ReproError: around none, or none is complete.
    """
    panels = []
    for cell in cells:
        measured = [(run, surfaces) for run in cell.done if (surfaces := surfaces_of(run))]
        if measured:
            run, surfaces = max(measured, key=lambda found: len(found[1]))
            error = run.summary.final_test_error
            ended = f"\ntest error {error:.2f}%" if error is not None else ""
            title = label(network_title(cell.network)) + ended
            panels.append(Panel(cell.network, title, run, surfaces))
    if not panels:
        raise ReproError("no loss surface is complete; `resnet-repro run surface` measures them")
    return panels


def draw(experiment: Experiment, results: Results, cells: Sequence[Cell], group: Group) -> Figure:
    """Lines of equal loss: a column for each network, a row for each seed of directions."""
    panels = panels_of(cells)
    rows = max(len(panel.surfaces) for panel in panels)
    figure = Figure(figsize=(WIDTH * len(panels) + 0.3, HEIGHT * rows + 0.4))
    grid = figure.subplots(rows, len(panels), squeeze=False)
    for column, panel in enumerate(panels):
        grid[0][column].set_title(panel.title)
        for row in range(rows):
            axes = grid[row][column]
            if row < len(panel.surfaces):
                surface = panel.surfaces[row]
                _draw_contours(axes, surface)
                if rows > 1:
                    axes.set_ylabel(f"plane of seed {surface.directions}")
            else:
                axes.axis("off")
    add_caption(figure, experiment, group, cells, _notes(panels), _details(panels))
    return figure


def _ticks(steps: NDArray[np.float64]) -> list[float]:
    """Both ends of an axis of the grid and the trained weights between them."""
    return sorted({float(steps[0]), 0.0, float(steps[-1])})


def _draw_contours(axes: Axes, surface: Surface) -> None:
    loss, norm = drawable(surface.loss), LogNorm(LEVELS[0], LEVELS[-1])
    axes.set(aspect="equal", xticks=_ticks(surface.alphas), yticks=_ticks(surface.betas))
    if min(loss.shape) > 1:
        grid = (surface.alphas, surface.betas, loss, LEVELS)
        axes.contourf(*grid, extend="both", alpha=0.6, norm=norm, cmap=COLOURS)
        contours = axes.contour(*grid, linewidths=0.4, colors="0.2")
        axes.clabel(contours, fontsize=5, fmt="%g", inline_spacing=1)
    axes.plot(0, 0, marker="+", color="black", markersize=5, markeredgewidth=0.8)


def relief(experiment: Experiment, results: Results, cells: Sequence[Cell], group: Group) -> Figure:
    """Surfaces in three dimensions with a logarithmic axis, of the first seed of directions."""
    panels, rows, columns = _in_relief(cells)
    figure = Figure(figsize=(3.5 * columns, 3.15 * rows + 0.2))
    drawn = [np.log10(drawable(panel.surfaces[0].loss)) for panel in panels]
    low = np.floor(min((z.min() for z in drawn), default=0))
    high = np.ceil(max((z.max() for z in drawn), default=1))
    for number, (panel, heights) in enumerate(zip(panels, drawn, strict=True), start=1):
        axes: Any = figure.add_subplot(rows, columns, number, projection="3d")
        surface = panel.surfaces[0]
        x, y = np.meshgrid(surface.alphas, surface.betas)
        axes.plot_surface(
            x,
            y,
            heights,
            cmap=COLOURS,
            vmin=low,
            vmax=high,
            rcount=200,
            ccount=200,
            linewidth=0.1,
            edgecolor=(0, 0, 0, 0.25),
        )
        axes.set_title(panel.title, y=0.97)
        axes.view_init(elev=32, azim=-55)
        axes.set(zlim=(low, high), xticks=_ticks(surface.alphas), yticks=_ticks(surface.betas))
        ticks = np.arange(low, high + 1)
        axes.set_zticks(ticks, [f"{10.0**tick:g}" for tick in ticks])
        axes.set_zlabel("loss", labelpad=0)
        axes.set_box_aspect(None, zoom=0.84)  # else its labels are cut off, or lie on a title
        axes.tick_params(pad=-2)
        axes.tick_params(axis="z", pad=2)  # whose strokes would lie on the numbers
    notes = [*_notes(panels, 1), *cut_note([panel.surfaces[0].loss for panel in panels])]
    add_caption(figure, experiment, group, cells, notes, _details(panels, 1))
    return figure


def lines(experiment: Experiment, results: Results, cells: Sequence[Cell], group: Group) -> Figure:
    """Loss and error of the sample along the first direction of each seed."""
    panels = panels_of(cells)
    width = WIDTH * len(panels) + 0.6
    columns = int(width // _KEY[0])
    seeds = sorted({surface.directions for panel in panels for surface in panel.surfaces})
    above = _KEY[1] * math.ceil(len(seeds) / columns)
    figure = Figure(figsize=(width, HEIGHT + 0.1 + above))
    grid = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    key: dict[int, Any] = {}  # a line by its direction's seed
    for axes, panel in zip(grid, panels, strict=True):
        axes.set_title(panel.title)
        errors = error_axis(axes, labelled=axes is grid[-1])
        for surface in panel.surfaces:
            colour = f"C{seeds.index(surface.directions)}"
            (line,) = axes.plot(surface.alphas, drawable(surface.line), color=colour)
            key[surface.directions] = line
            middle = len(surface.betas) // 2
            style: dict[str, Any] = {"linestyle": (0, (3, 2)), "linewidth": 0.8}
            errors.plot(surface.alphas, surface.error[middle], color=colour, **style)
        axes.set_yscale("log")
        axes.set_xlabel("steps along the direction")
    grid[0].set_ylabel("loss")
    names = [f"direction of seed {seed}" for seed in seeds]
    drawn = [key[seed] for seed in seeds]
    figure.legend(drawn, names, loc="upper left", ncols=columns, handlelength=1.5)
    notes = [*_notes(panels), *cut_note([s.line for panel in panels for s in panel.surfaces])]
    add_caption(figure, experiment, group, cells, notes, _details(panels), above=above)
    return figure


def _in_relief(cells: Sequence[Cell]) -> tuple[list[Panel], int, int]:
    """The panels that have a surface, and the rows and columns that they stand in."""
    panels = [p for p in panels_of(cells) if min(p.surfaces[0].loss.shape) > 1]
    columns = min(2, len(panels)) or 1
    return panels, -(-len(panels) // columns) or 1, columns


def error_axis(axes: Axes, *, labelled: bool) -> Axes:
    """A second axis at the right, for training errors."""
    errors: Axes = axes.twinx()
    errors.set(ylim=(0, 100))
    errors.spines["right"].set_visible(True)
    if labelled:
        errors.set_ylabel("training error (%), dashed")
    else:
        errors.set_yticklabels([])
    return errors


def html(experiment: Experiment, results: Results, cells: Sequence[Cell], group: Group) -> str:
    """The reliefs of the first seed of directions as a page on which they turn with the mouse.

    Raises:
        ConfigError: plotly is not installed.
    """
    try:
        from plotly.graph_objects import Figure as Page
        from plotly.subplots import make_subplots
    except ImportError as error:
        raise ConfigError(
            "--format html needs the plotly package: pip install 'resnet-repro[html]'"
        ) from error
    panels, rows, columns = _in_relief(cells)
    page: Page = make_subplots(
        rows,
        columns,
        specs=[[{"type": "scene"}] * columns] * rows,
        subplot_titles=[panel.title.replace("\n", ", ") for panel in panels],
        horizontal_spacing=0.02,
        vertical_spacing=0.06,
    )
    for number, panel in enumerate(panels):
        surface = panel.surfaces[0]
        page.add_surface(
            x=surface.alphas,
            y=surface.betas,
            z=drawable(surface.loss),
            surfacecolor=np.log10(drawable(surface.loss)),
            colorscale=COLOURS,
            showscale=False,
            row=number // columns + 1,
            col=number % columns + 1,
        )
    page.update_scenes(zaxis_type="log", zaxis_title="loss", xaxis_title="", yaxis_title="")
    notes = [*_notes(panels, 1), *cut_note([panel.surfaces[0].loss for panel in panels])]
    details = _details(panels, 1)
    caption = "; ".join(caption_lines(experiment, group, cells, notes, details))
    page.update_layout(title={"text": html_escape(caption), "font": {"size": 11}, "y": 0.01})
    page.update_layout(height=480 * rows + 80, margin={"l": 10, "r": 10, "t": 40, "b": 60})
    text: str = page.to_html(include_plotlyjs=True, div_id="surface")
    return text


def drawable(loss: Any) -> Any:
    """Losses on a logarithmic axis; what is infinite or not a number is very high."""
    return np.clip(np.nan_to_num(loss, nan=HIGHEST, posinf=HIGHEST), LOWEST, HIGHEST)


def cut_note(losses: Sequence[Any]) -> list[str]:
    """What a caption says where `drawable` changed one of these losses; empty where it did not."""
    if all(np.array_equal(drawable(loss), loss) for loss in losses):
        return []
    return [f"losses outside {LOWEST:g} to {HIGHEST:,.0f} are drawn at these ends"]


def _notes(panels: Sequence[Panel], shown: int | None = None) -> list[str]:
    """What is drawn, and what the numbers are of."""
    if not panels:
        return []
    grids = sorted({surface.grid for panel in panels for surface in panel.surfaces})
    seeds = sorted({s.directions for panel in panels for s in panel.surfaces[:shown]})
    named = " and ".join(map(str, seeds))
    notes = [
        f"mean cross-entropy at {' or '.join(grids)}; 1 on either axis is the norm of each filter",
        f"random directions of seed{'s' if len(seeds) > 1 else ''} {named}, around one run each",
    ]
    if len(seeds) > 1 and shown is None:
        notes.append("numbers are means over the directions, but for the highest loss")
    if any(eigenvalue_ratio(panel.run) is not None for panel in panels):
        notes.append("λ: eigenvalues of the Hessian")
    return notes


def _details(panels: Sequence[Panel], shown: int | None = None) -> list[str]:
    """The numbers that sum up the first surfaces of each network."""
    return [f"{network_title(p.network)}: {_numbers(p.run, p.surfaces[:shown])}" for p in panels]


def _numbers(run: BegunRun, surfaces: Sequence[Surface]) -> str:
    """What sums up the surfaces around one run, in words: means, and the highest loss of all."""
    centre, images = surfaces[0].centre, surfaces[0].images
    whole = [row for row in run.rows("surface") if row.images > images]
    ratio = eigenvalue_ratio(run)
    violations = fmean(surface.violations for surface in surfaces)
    return (
        f"loss {centre:.2f}"
        + (f" (of all {whole[0].images:,} images {whole[0].loss:.2f})" if whole else "")
        + f" to {_short(max(surface.highest for surface in surfaces))}, "
        + f"{violations:.1f}% not convex along lines, "
        + _contours(surfaces, {f"{RISE:g} higher": centre + RISE, "2.5": 2.5})
        + (f", |λmin/λmax| {ratio:.2g}" if ratio is not None else "")
    )


def _contours(surfaces: Sequence[Surface], levels: Mapping[str, float]) -> str:
    """`mean radius 0.12 where it is 0.1 higher, over 0.95 where it is 2.5`; `2.5 not reached`."""
    radii, beyond = [], []
    for words, level in levels.items():
        found = [surface.contour(level) for surface in surfaces]
        if not any(contour.reached for contour in found):
            beyond.append(f"{words} not reached")
            continue
        over = "over " if any(contour.reached < 1 for contour in found) else ""
        mean = fmean(contour.radius for contour in found)
        radii.append(f"{over}{mean:.2f} where it is {words}")
    return ", ".join([*([f"mean radius {', '.join(radii)}"] if radii else []), *beyond])


def _short(value: float) -> str:
    """`5.5`, `1,360`."""
    return f"{float(f'{value:.3g}'):,.0f}" if 100 <= value < HIGHEST else f"{value:.3g}"
