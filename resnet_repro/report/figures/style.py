"""How the figures look, what stands under them, and how they become the same bytes each time.

A network's colour is `architecture(network).style`'s where that tells all apart; line style, width
and the labels at the curves' ends carry the same information for black and white prints.
"""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from resnet_repro.base.colours import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY_BLUE,
    VERMILLION,
)
from resnet_repro.base.plain_text import either, plural, printable
from resnet_repro.networks.architecture import architecture
from resnet_repro.report.cells import Cell
from resnet_repro.report.groups import BegunRun, Group
from resnet_repro.spec.experiment import Choices, Experiment
from resnet_repro.spec.network_names import network_title

__all__ = [
    "NOT_THE_PAPERS",
    "SEVERAL_SEEDS",
    "FigureFormat",
    "add_caption",
    "caption_lines",
    "colours",
    "grid_lines",
    "label",
    "save",
    "styled",
]

FigureFormat = Literal["png", "svg", "pdf", "html"]
NOT_THE_PAPERS = "#A03000"  # colour of words on another protocol than the paper's
SEVERAL_SEEDS = "lines: mean, bands: lowest to highest of the seeds"  # a note in captions
_LINE = 0.145  # inches, of the caption
_CHARACTERS, _BOLD_CHARACTERS = 18.5, 16.5  # per inch at the caption's size

# The most different first, for networks of one depth.
PLACES = (BLACK, VERMILLION, BLUE, ORANGE, GREEN, SKY_BLUE, PURPLE, "#7F7F7F")
_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.labelsize": 8,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.solid_capstyle": "round",
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
    "svg.hashsalt": "resnet-repro",  # otherwise every SVG gets new ids
}

_NOT_OF_STYLE = ("backend", "interactive", "date.epoch")  # those of the process, not of a picture


@contextmanager
def styled() -> Iterator[None]:
    """Draw in this style whatever the user's own matplotlib settings are.

    Unlike `mpl.rcdefaults`, this does not read the user's styles, which may be unreadable.
    """
    with mpl.rc_context():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of settings that are going to be removed
            kept = {k: v for k, v in mpl.rcParamsDefault.items() if k not in _NOT_OF_STYLE}
            mpl.rcParams.update(kept | _RC)
        yield


def colours(networks: Sequence[str], dashes: bool = False) -> dict[str, str]:
    """The colour of each network's depth; if one has none, or not all differ, that of its place.

    With `dashes`, dashed lines tell plain networks from others of their colour.
    """
    styles = {network: architecture(network).style for network in networks}
    own = {network: style.colour for network, style in styles.items() if style.colour}
    different = {(style.colour, dashes and style.dashed) for style in styles.values()}
    if len(own) == len(different) == len(styles):
        return own
    return {network: PLACES[n % len(PLACES)] for n, network in enumerate(styles)}


def grid_lines(axes: Axes) -> None:
    """Faint lines across, behind what is drawn."""
    axes.grid(axis="y", color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)


def label(text: str) -> str:
    """Text for a figure as it stands: a dollar sign begins no formula."""
    return printable(text).replace("$", r"\$")


def add_caption(
    figure: Figure,
    experiment: Experiment,
    group: Group,
    cells: Sequence[Cell],
    notes: Sequence[str],
    details: Sequence[str] = (),
    above: float = 0.0,
) -> None:
    """Write the caption under the panels; the group is bold where it is not the paper's.

    Each of the details has a line of its own. So many inches `above` the panels stay free.
    """
    width, height = figure.get_size_inches()
    lines = []
    for index, line in enumerate(caption_lines(experiment, group, cells, notes, details)):
        strong = index == 0 and not group.papers
        fitting = _BOLD_CHARACTERS if strong else _CHARACTERS
        lines += [(part, strong) for part in textwrap.wrap(line, int(fitting * width))]
    below = _LINE * len(lines) + 0.1
    figure.set_size_inches(width, height + below)
    inside = (below / (height + below), 1 - above / (height + below))
    figure.tight_layout(rect=(0, inside[0], 1, inside[1]))
    for index, (line, strong) in enumerate(lines):
        figure.text(
            0.012,
            (below - 0.04 - _LINE * index) / (height + below),
            label(line),
            fontsize=7,
            va="top",
            color=NOT_THE_PAPERS if strong else "0.25",
            weight="bold" if strong else "normal",
        )


def caption_lines(
    experiment: Experiment,
    group: Group,
    cells: Sequence[Cell],
    notes: Sequence[str],
    details: Sequence[str] = (),
) -> list[str]:
    """The group first, then seeds and notes, details, and what is elsewhere, missing or failed."""
    counts = sorted({len(cell.done) for cell in cells if cell.done})
    seeds = "1 seed" if counts == [1] else f"{either([*map(str, counts)])} seeds"
    if sum(bool(cell.done) for cell in cells) > 1:
        seeds += " per network"
        if counts == [1] and len({cell.done[0].run.seed for cell in cells if cell.done}) > 1:
            seeds += ", not the same seed for all"
    lines = [group.caption, "; ".join([seeds, *notes]), *details]
    lines += [f"{where}: {', '.join(whose)}" for where, whose in _elsewhere(cells).items()]
    begun = {cell.network for cell in cells if cell.every or cell.elsewhere}
    missing = [network_title(n) for n in _wanted(experiment, group) if n not in begun]
    left_out = {
        "not run": missing,
        "not measured": _counted((c.network, c.unmeasured) for c in cells),
        "unfinished runs left out": _counted((c.network, c.unfinished) for c in cells),
        "failed runs left out": _counted((c.network, c.failed) for c in cells),
    }
    lines += [f"{what}: {', '.join(whose)}" for what, whose in left_out.items() if whose]
    return lines


def _wanted(experiment: Experiment, group: Group) -> list[str]:
    """The networks that the group's preset trains and the figure shows, in the figure's order."""
    dataset = group.dataset if group.dataset in experiment.datasets else None
    trained = experiment.choose(Choices(preset=group.base, dataset=dataset)).shown_networks
    return [n for n in experiment.drawn_networks or experiment.networks if n in trained]


def _elsewhere(cells: Iterable[Cell]) -> dict[str, list[str]]:
    """Where there are runs -> the networks that have them there and none here."""
    found: dict[str, list[str]] = {}
    for cell in cells:
        if other := cell.elsewhere:
            place = "in a picture of its own" if other.done else "not measured"
            where = f"in {other.group.precision}, {place}"
            found.setdefault(where, []).append(network_title(cell.network))
    return found


def _counted(runs: Iterable[tuple[str, Sequence[BegunRun]]]) -> list[str]:
    return [
        f"{network_title(network)} ({plural(len(those), 'run')})"
        for network, those in runs
        if those
    ]


def save(figure: Figure, form: FigureFormat, mark: str) -> bytes:
    """The figure as a file without dates, so that the same results give the same bytes.

    `mark` stands in it as it is, for a reader of PNG and SVG files.
    """
    metadata = {
        "png": {"Software": None, "Comment": mark},
        "svg": {"Date": None, "Creator": None, "Description": mark},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None, "Subject": mark},
    }
    out = io.BytesIO()
    figure.savefig(out, format=form, metadata=metadata[form])
    return out.getvalue()
