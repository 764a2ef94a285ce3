"""Generated scenes: shapes with boxes on textured backgrounds, to try detection on without files.

A scene is a function of part and index. It has one to six objects of five classes, which may
cover one another and stick out of the image. Small ones of low contrast, and ones of which little
is to be seen, are marked difficult, as in PASCAL VOC.
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnet_repro.data.boxes.boxes import PARTS, BoxDataset, BoxImages, Target
from resnet_repro.data.dataset import Identity
from resnet_repro.data.generated import SEED, SOURCE, GeneratedReader
from resnet_repro.data.synthetic import SHAPES, Floats, Shape, coverage, rotation, uniform
from resnet_repro.spec.dataset_names import DATASETS

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CLASSES", "SCENES", "Scenes", "draw_scene"]

COUNTS = DATASETS["scenes"].counts
CLASSES = tuple(SHAPES)
_HASHED = 32  # scenes of each part that the identity's sha256 covers: all come from one function
_SIZES = ((96, 128), (128, 96), (112, 112))  # height, width
_MOST = 6  # objects
_SMALL = 0.12  # of the objects are small and faint
_LITTLE = 0.35  # the share of an object that has to be seen for it not to be difficult

# As in `data.synthetic`: arithmetic that is rounded alike on every machine.


class Scene(NamedTuple):
    """One image and its objects."""

    pixels: NDArray[np.uint8]  # [3, H, W]
    boxes: Floats  # [n, 4]
    labels: NDArray[np.int64]  # [n], 1 to 5
    difficult: NDArray[np.bool_]  # [n]


class Scenes(BoxImages):
    """The scenes of one part, each drawn when it is asked for."""

    def __init__(self, part: str, count: int) -> None:
        self.part = part
        self.ids = [f"{part}-{index:05d}" for index in range(count)]

    def image(self, index: int) -> Tensor:
        import torch

        return torch.tensor(self._scene(index).pixels)

    def target(self, index: int) -> Target:
        import torch

        _, *arrays = self._scene(index)
        return Target(self.ids[index], *map(torch.tensor, arrays))

    def _scene(self, index: int) -> Scene:
        return draw_scene(PARTS.index(self.part), index)


def _generate() -> BoxDataset:
    """The scenes, each drawn when it is used."""
    train, test = map(Scenes, ("train", "test"), COUNTS)
    identity = Identity("scenes", True, _sha256(), SOURCE, "")
    return BoxDataset(identity, CLASSES, train, test)


SCENES = GeneratedReader(
    "scenes",
    "generated scenes, shapes of five classes with boxes; needs no download",
    sum(COUNTS),
    "5ff721885e0bb66ef9c2b81a255eb622e5acbbcf653350b22b00d02a6a4f61d0",
    _generate,
)


@functools.cache
def _sha256() -> str:
    digest = hashlib.sha256()
    for part in range(len(PARTS)):
        for index in range(_HASHED):
            for array in draw_scene(part, index):
                digest.update(array.tobytes())
    return digest.hexdigest()


@functools.lru_cache(maxsize=8)  # since the image and its target are asked for one by one
def draw_scene(part: int, index: int) -> Scene:
    """A scene of train (0) or test (1)."""
    random = np.random.Generator(np.random.PCG64((SEED, part, index)))
    height, width = _SIZES[_below(random, len(_SIZES))]
    x = np.arange(width, dtype=np.float32) + np.float32(0.5)
    y = (np.arange(height, dtype=np.float32) + np.float32(0.5))[:, None]
    canvas = _background(random, x, y)
    owner = np.full((height, width), -1)  # the object that is in front at each pixel
    whole: list[int] = []  # pixels of each object, hidden ones too
    boxes, labels, faint = [], [], []
    for _ in range(1 + _below(random, _MOST)):
        small = bool(uniform(random, 0, 1) < _SMALL)
        label = _below(random, len(CLASSES))
        outside = _place(random, x, y, small, SHAPES[CLASSES[label]])
        inside = outside < 0
        if not inside.any():
            continue
        owner[inside] = len(whole)
        whole.append(int(inside.sum()))
        boxes.append(_box(inside))
        labels.append(label + 1)
        faint.append(small)
        _paint(random, canvas, outside, x, y, small)
    canvas += uniform(random, -10, 10, 3, height, width)
    seen = np.bincount(owner[owner >= 0], minlength=len(whole)).astype(np.float32)
    hidden = seen < np.float32(_LITTLE) * np.array(whole, np.float32)
    return Scene(
        np.clip(np.rint(canvas), 0, 255).astype(np.uint8),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels, np.int64),
        np.array(faint, bool) | hidden,
    )


def _below(random: np.random.Generator, count: int) -> int:
    """A random whole number from 0 to count - 1."""
    return min(int(random.random() * count), count - 1)


def _background(random: np.random.Generator, x: Floats, y: Floats) -> Floats:
    """Colours [3, H, W]: a gradient, three waves across it in any direction, and small discs."""
    canvas: Floats = uniform(random, 70, 150, 3, 1, 1) + np.zeros((len(y), len(x)), np.float32)
    slope_x, slope_y = uniform(random, -0.3, 0.3, 2, 3, 1, 1)
    canvas += slope_x * (x - len(x) / 2) + slope_y * (y - len(y) / 2)
    for _ in range(3):
        a, b = uniform(random, -0.2, 0.2, 2)
        wave = np.abs((a * x + b * y + uniform(random, 0, 2)) % np.float32(2) - np.float32(1))
        canvas += uniform(random, -30, 30, 3, 1, 1) * wave
    for _ in range(6):
        centre_x, centre_y = uniform(random, 0, len(x)), uniform(random, 0, len(y))
        outside = np.sqrt(np.square(x - centre_x) + np.square(y - centre_y)) - uniform(random, 1, 4)
        canvas += uniform(random, -50, 50, 3, 1, 1) * coverage(outside)
    return canvas


def _place(random: np.random.Generator, x: Floats, y: Floats, small: bool, shape: Shape) -> Floats:
    """How far each pixel [H, W] is outside a shape that lies somewhere; negative inside it."""
    cosine, sine = rotation(uniform(random, -0.4, 0.4))
    radius = uniform(random, 4, 6) if small else uniform(random, 9, 30)
    centre_x, centre_y = uniform(random, 0.08, 0.92) * len(x), uniform(random, 0.08, 0.92) * len(y)
    u, v = (x - centre_x) / radius, (y - centre_y) / radius
    return shape(cosine * u + sine * v, cosine * v - sine * u) * radius


def _paint(
    random: np.random.Generator, canvas: Floats, outside: Floats, x: Floats, y: Floats, small: bool
) -> None:
    """Cover the canvas with an object of a random colour, half of them striped."""
    colour = uniform(random, 0, 255, 3, 1, 1)
    if uniform(random, 0, 1) < 0.5:
        a, b = uniform(random, -0.3, 0.3, 2)
        colour = colour + uniform(random, -80, 80, 3, 1, 1) * np.floor((a * x + b * y) % 2)
    covered = coverage(outside) * np.float32(0.4 if small else 1)
    canvas *= np.float32(1) - covered
    canvas += covered * colour


def _box(inside: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The corners of the smallest box around the pixels that are set."""
    columns, rows = np.flatnonzero(inside.any(0)), np.flatnonzero(inside.any(1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
