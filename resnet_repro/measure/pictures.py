"""A trained detector on pictures of the user's own: what is found, as JSON and drawn."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from resnet_repro.base.colours import OF_CLASSES
from resnet_repro.base.errors import ConfigError, DataError
from resnet_repro.base.files import open_regular, read_text, write_atomically
from resnet_repro.data import datasets
from resnet_repro.data.photos.decoding import open_photo
from resnet_repro.measure.detection import detect
from resnet_repro.measure.evaluate.run import (
    configuration_of,
    network_of,
    newest_weights,
    what_differs,
)
from resnet_repro.spec.run import Run
from resnet_repro.store.store import Store
from resnet_repro.store.stored_run import StoredRun
from resnet_repro.store.target import find_target
from resnet_repro.training.device import choose_backend
from resnet_repro.training.memory import enough_memory

__all__ = ["Picture", "search_pictures", "write_told"]

TOLD = "detections.json"
MADE_BY = "resnet-repro detect"  # stands in every picture that is written, before its pixels
_HEAD = 2**20  # bytes in which it is looked for; a colour profile may come first


@dataclass(frozen=True)
class Picture:
    """A picture and what was found in it, the highest scores first."""

    path: Path
    drawn: Path  # where it stands with boxes, classes and scores
    width: int
    height: int
    found: list[dict[str, Any]]  # class, score, box: left, top, right, bottom in pixels

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        size = {"width": self.width, "height": self.height}
        return {"image": self.path.name, **size, "detections": self.found}


def search_pictures(
    store: Store,
    target: str,
    paths: Sequence[Path],
    out: Path,
    threshold: float,
    data_dir: Path,
    device: str,
    note: Callable[[str], None],
    should_stop: Callable[[], bool],
) -> Iterator[Picture]:
    """What a run's detector finds in pictures, one after another, and drawn in the folder `out`.

    Raises:
        ConfigError: there is no such run, or it is none of a detector; a picture would be replaced.
        StoreError: its weights are not here, or `out` cannot be written.
        DataError: a picture cannot be read.
        Stopped: `should_stop`, asked while the run's data set is looked through, said so.
    """
    stored = find_target(target, store)
    if isinstance(stored, Path):
        raise ConfigError(f"{stored.name} is a file: detect wants a run of a detector")
    run = configuration_of(stored)
    if run.recipe.detection is None:
        raise ConfigError(f"{stored.id} is a classifier; detect wants a run of a detector")
    state, reasons = newest_weights(stored, run)
    files = _files(paths, out)
    for path in paths:  # before the first is searched; all at once may not fit into memory
        open_photo(path, str(path))
    for text in filter(None, (*reasons, what_differs(stored, run, state))):
        note(f"{stored.id}: {text}")
    classes = _classes(stored, run, state, data_dir, should_stop)
    backend = choose_backend(device, state["precision"])
    network = network_of(stored, run, state, len(classes), backend)
    heads: Any = network.get_submodule("rcnn.roi_heads")
    heads.score_thresh = min(heads.score_thresh, threshold)
    stamp = PngInfo()
    stamp.add_text("Software", MADE_BY)
    for path, file in zip(paths, files, strict=True):
        image = open_photo(path, str(path))
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        with enough_memory(lambda: f"{path}: not enough memory on {backend.device}"):  # noqa: B023
            found = detect(network, pixels, backend)
        every = zip(found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True)
        kept = [
            {
                "class": classes[label - 1],
                "score": round(score, 4),
                "box": [round(value, 1) for value in box],
            }
            for label, score, box in every
            if score >= threshold
        ]
        _draw(image, kept)
        content = BytesIO()
        image.save(content, "png", pnginfo=stamp)
        write_atomically(file, content.getvalue())
        yield Picture(path, file, *image.size, kept)


def _files(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Where the pictures are written with boxes: over nothing but what was written so before.

    Raises:
        ConfigError: two would become one file, or something else would be replaced.
    """
    files: dict[Path, Path] = {}
    for path in paths:
        file = folder / f"{path.stem}.png"
        if file in files:
            raise ConfigError(f"{files[file]} and {path} would both become {file}")
        files[file] = path
    originals = set(map(_inode, paths)) - {None}
    for file in files:
        if _inode(file) in originals:
            raise ConfigError(f"{file} would be written over; choose another folder with --out")
        if os.path.lexists(file) and not _is_ours(file):
            raise _in_the_way(file)
    if os.path.lexists(folder / TOLD) and not _is_told(folder / TOLD):
        raise _in_the_way(folder / TOLD)
    return list(files)


def _in_the_way(file: Path) -> ConfigError:
    return ConfigError(
        f"{file} is there already, and is none that this version of detect wrote; move it away, or "
        "choose another folder with --out"
    )


def _is_ours(file: Path) -> bool:
    try:
        with open_regular(file) as there:
            return f"Software\0{MADE_BY}".encode() in there.read(_HEAD)
    except OSError:
        return False


def _is_told(file: Path) -> bool:
    """Whether it is what `write_told` wrote."""
    keys = Picture(file, file, 0, 0, []).to_dict().keys()
    try:
        told = json.loads(read_text(file))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(told, list) and all(
        isinstance(one, dict) and one.keys() == keys for one in told
    )


def _inode(path: Path) -> tuple[int, int] | None:
    """What tells a file from all others, whatever it is called; None if it cannot be seen."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _classes(
    stored: StoredRun,
    run: Run,
    state: dict[str, Any],
    data_dir: Path,
    should_stop: Callable[[], bool],
) -> Sequence[str]:
    """The names of the classes that a checkpoint's network knows; numbers where nothing says them.

    They stand with the run's average precision, or with the data set that it was trained on.
    """
    count = len(state["network"]["rcnn.roi_heads.box_predictor.cls_score.bias"]) - 1
    names = [row.class_name for row in stored.rows("average_precision")]
    if len(names) == count:
        return names
    with contextlib.suppress(DataError):
        known = datasets.load(run.dataset, data_dir, should_stop=should_stop)
        if known.identity.sha256 == state.get("data") and len(known.classes) == count:
            return known.classes
    return [f"class {number}" for number in range(1, count + 1)]


def write_told(pictures: Sequence[Picture], folder: Path) -> Path:
    """Write `detections.json` into a folder; returns its path.

    Raises:
        StoreError: it cannot be written.
    """
    path = folder / TOLD
    text = json.dumps([picture.to_dict() for picture in pictures], indent=2) + "\n"
    write_atomically(path, text)
    return path


def _draw(image: Image.Image, found: Sequence[dict[str, Any]]) -> None:
    """Draw boxes, classes and scores on an image."""
    draw = ImageDraw.Draw(image)
    width = max(1, round(min(image.size) / 150))
    size = max(10, round(min(image.size) / 25))
    classes = sorted({one["class"] for one in found})
    for one in reversed(found):  # the best on top
        colour = OF_CLASSES[classes.index(one["class"]) % len(OF_CLASSES)]
        draw.rectangle(one["box"], outline=colour, width=width)
        text, corner = f"{one['class']} {one['score']:.2f}", (one["box"][0], one["box"][1])
        draw.rectangle(draw.textbbox(corner, text, font_size=size), fill=colour)
        draw.text(corner, text, fill="black", font_size=size)
