"""How the figures look, and how they become the same bytes each time.

A network's colour is `architecture(network).style`'s; line style, width and the labels at the
curves' ends carry the same information for readers of black and white prints.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from resnet_repro.base.plain_text import printable
from resnet_repro.report.figures.plotting import Figure, mpl

__all__ = ["FigureFormat", "label", "save", "styled"]

FigureFormat = Literal["png", "svg", "pdf"]

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


def label(text: str) -> str:
    """Text for a figure as it stands: a dollar sign begins no formula."""
    return printable(text).replace("$", r"\$")


def save(figure: Figure, form: FigureFormat) -> bytes:
    """The figure as a file without dates, so that the same results give the same bytes."""
    undated = {
        "png": {"Software": None},
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    }
    out = io.BytesIO()
    figure.savefig(out, format=form, metadata=undated[form])
    return out.getvalue()
