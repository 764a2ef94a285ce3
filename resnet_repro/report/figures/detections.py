"""What detectors find in a few test images, drawn on them: a row of images for each network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from resnet_repro.base.colours import OF_CLASSES
from resnet_repro.base.errors import ReproError
from resnet_repro.data.npz import read_npz
from resnet_repro.report.cells import Cell
from resnet_repro.report.figures.style import add_caption, label
from resnet_repro.report.groups import Group
from resnet_repro.report.results import Results
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.network_names import network_title, parse_network

__all__ = ["draw"]

MOST_IMAGES, MOST_NETWORKS = 4, 6
MOST_BOXES, LOWEST_SCORE = 5, 0.3  # drawn in an image; of a detection that is drawn
FONT = 5  # points, of a label
_WIDTH, _HEIGHT = 1.8, 1.55  # inches of an image, at most
_Place = tuple[float, float, float, float]  # left, top, width and height of a label in pixels


def draw(experiment: Experiment, results: Results, cells: Sequence[Cell], group: Group) -> Figure:
    """The first run of each network; objects are dashed, detections have their class and score.

    Networks whose images are not here are left out: images are not committed.

    Raises:
        ReproError: none are here.
    """
    firsts = {cell.network: cell.done[0] for cell in cells if cell.done}
    files = {network: read_npz(run.folder.photographs) for network, run in firsts.items()}
    here = {network: images for network, images in files.items() if images}
    if not here:
        raise ReproError(
            f"{', '.join(run.id for run in firsts.values())}: the images to draw on are not here "
            "but where it was measured; on pictures of yours: resnet-repro detect"
        )
    found = results.frame("detections")
    rows = [(n, found[found.run == firsts[n].id]) for n in list(here)[:MOST_NETWORKS]]
    names = list(dict.fromkeys(rows[0][1].image))
    figure = Figure(figsize=(_WIDTH * min(MOST_IMAGES, len(names)), _HEIGHT * len(rows)))
    grid = figure.subplots(len(rows), min(MOST_IMAGES, len(names)), squeeze=False)
    classes = sorted(set(found.class_name))
    for (network, lines), axes in zip(rows, grid, strict=True):
        images = here[network]
        own = list(dict.fromkeys(lines.image))
        for name, panel in zip(names, axes, strict=False):
            panel.set(xticks=[], yticks=[])
            key = str(own.index(name)) if name in own else ""
            if key in images:
                _draw_image(panel, images[key], lines[lines.image == name], classes)
        axes[0].set_ylabel(label(_title(network)))
    notes = ["of one run each"] if any(len(cell.done) > 1 for cell in cells) else []
    best = f"the {MOST_BOXES} best detections of an image with a score of {LOWEST_SCORE:g} or more"
    notes += [f"dashed: objects; solid: {best}, if any"]
    left_out = {
        "images not here": [n for n in firsts if n not in here],
        "no room": list(here)[MOST_NETWORKS:],
    }
    notes += [f"{why}: {', '.join(map(_title, whose))}" for why, whose in left_out.items() if whose]
    add_caption(figure, experiment, group, cells, notes)
    return figure


def _title(network: str) -> str:
    return network_title(parse_network(network).backbone)


def _draw_image(axes: Axes, image: Any, lines: pd.DataFrame, classes: Sequence[str]) -> None:
    axes.imshow(np.moveaxis(image, 0, -1))
    for spine in axes.spines.values():
        spine.set_visible(False)
    for line in lines[lines.score.isna()].to_dict("records"):
        _box(axes, line, "white", "--")
    best = lines[lines.score >= LOWEST_SCORE].nlargest(MOST_BOXES, "score")
    placed: list[_Place] = []  # of the labels, so that none hides another
    for line in best.to_dict("records"):
        colour = OF_CLASSES[classes.index(line["class_name"]) % len(OF_CLASSES)]
        _box(axes, line, colour, "-")
        text = label(f"{line['class_name']} {line['score']:.2f}")
        placed.append(_free_place(line["left"] + 2, line["top"] + 2, text, image.shape, placed))
        axes.text(
            *placed[-1][:2],
            text,
            fontsize=FONT,
            va="top",
            color="black",
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.6},
            clip_on=True,
        )


def _free_place(
    left: float, top: float, text: str, shape: Sequence[int], placed: Sequence[_Place]
) -> _Place:
    """Where a label hides none of those that are placed: at a corner, or as little below as can be.

    Beyond the lower edge, at the upper one. `shape` is that of the image, [3, H, W].
    """
    _, height, width = shape
    point = max(width / _WIDTH, height / _HEIGHT) / 72  # pixels
    high, wide = 1.7 * FONT * point, 0.62 * FONT * point * len(text)
    left = max(0.0, min(left, width - wide))
    for _ in range(2 * MOST_BOXES):
        if top + high > height:
            top = 2.0
        others = [p for p in placed if p[0] < left + wide and left < p[0] + p[2]]
        below = [p[1] + p[3] for p in others if p[1] < top + high and top < p[1] + p[3]]
        if not below:
            break
        top = max(below)
    return left, top, wide, high


def _box(axes: Axes, line: dict[Any, Any], colour: str, style: str) -> None:
    left, top, right, bottom = (line[side] for side in ("left", "top", "right", "bottom"))
    look: dict[str, Any] = {"edgecolor": colour, "linestyle": style, "linewidth": 1}
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, **look))
