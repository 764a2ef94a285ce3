"""The parts of matplotlib that are used, imported so that the user's settings have no effect.

A Jupyter kernel sets MPLBACKEND to a module that may not be installed here, and a `matplotlibrc` or
a style file may be unreadable. The figures have a style of their own, in `style.py`.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path as FilePath

from resnet_repro.base.files import user_path
from resnet_repro.spec.loading import experiments_folder

__all__ = [
    "Axes",
    "Circle",
    "FancyArrowPatch",
    "FancyBboxPatch",
    "Figure",
    "Line2D",
    "LogNorm",
    "MaxNLocator",
    "Path",
    "PathPatch",
    "Rectangle",
    "mpl",
]

_FOLDERS = (
    "MPLCONFIGDIR",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
)  # of its index of fonts


@contextlib.contextmanager
def _without_settings() -> Iterator[None]:
    """Let matplotlib find only its own settings, and not warn about its folders."""
    before = {name: os.environ.get(name) for name in ("MPLBACKEND", "MATPLOTLIBRC")}
    for name in _FOLDERS:
        if os.environ.get(name):
            os.environ[name] = str(user_path(os.environ[name]).absolute())
    os.environ |= {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with _elsewhere():  # a matplotlibrc in the working directory would come first
            yield
    finally:
        log.setLevel(level)
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _elsewhere() -> contextlib.AbstractContextManager[None]:
    try:
        FilePath.cwd()
    except OSError:  # it has been removed
        return contextlib.nullcontext()
    return contextlib.chdir(experiments_folder())  # where nothing can be taken for a module


with _without_settings():
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, PathPatch, Rectangle
    from matplotlib.path import Path
    from matplotlib.ticker import MaxNLocator
