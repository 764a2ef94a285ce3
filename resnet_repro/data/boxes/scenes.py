"""Generated scenes: shapes with boxes on textured backgrounds, to try detection on without files.

A scene is a function of seed, part and index. It has one to six objects of five classes, which may
cover one another and stick out of the image. Small ones of low contrast, and ones of which little
is to be seen, are marked difficult, as in PASCAL VOC.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from resnet_repro.data.boxes.boxes import PARTS, BoxDataset, BoxImages, Target
from resnet_repro.data.dataset import Identity
from resnet_repro.data.generated import GeneratedReader
from resnet_repro.data.synthetic import SHAPES, coverage

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["CLASSES", "SCENES", "Scenes", "draw_scene"]

TRAIN_SCENES, TEST_SCENES = 2_000, 500
CLASSES = tuple(SHAPES)
_HASHED = 32  # scenes of each part that the identity's sha256 covers: all come from one function
_SIZES = ((96, 128), (128, 96), (112, 112))  # height, width
_MOST = 6  # objects
_SMALL = 0.12  # of the objects are small and faint
_LITTLE = 0.35  # the share of an object that has to be seen for it not to be difficult

# As in `data.synthetic`: arithmetic that is rounded alike on every machine.
Floats = NDArray[np.float32]


class Scene(NamedTuple):
    """One image and its objects."""

    pixels: NDArray[np.uint8]  # [3, H, W]
    boxes: Floats  # [n, 4]
    labels: NDArray[np.int64]  # [n], 1 to 5
    difficult: NDArray[np.bool_]  # [n]


class Scenes(BoxImages):
    """The scenes of one part, each drawn when it is asked for."""

    def __init__(self, part: str, count: int, seed: int = 0) -> None:
        self.part, self.seed = part, seed
        self.ids = [f"{part}-{index:05d}" for index in range(count)]

    def image(self, index: int) -> Tensor:
        import torch

        return torch.tensor(self._scene(index).pixels)

    def target(self, index: int) -> Target:
        import torch

        _, *arrays = self._scene(index)
        return Target(self.ids[index], *map(torch.tensor, arrays))

    def _scene(self, index: int) -> Scene:
        return draw_scene(self.seed, PARTS.index(self.part), index)


def _generate() -> BoxDataset:
    """The scenes of seed 0, each drawn when it is used."""
    train, test = Scenes("train", TRAIN_SCENES), Scenes("test", TEST_SCENES)
    identity = Identity("scenes", True, _sha256(), "generated from seed 0", "")
    return BoxDataset(identity, CLASSES, train, test, {part: part for part in PARTS})


SCENES = GeneratedReader(
    "scenes",
    "generated scenes, shapes of five classes with boxes; needs no download",
    TRAIN_SCENES + TEST_SCENES,
    "5ff721885e0bb66ef9c2b81a255eb622e5acbbcf653350b22b00d02a6a4f61d0",
    _generate,
)


@functools.cache
def _sha256() -> str:
    digest = hashlib.sha256()
    for part in range(len(PARTS)):
        for index in range(_HASHED):
            for array in draw_scene(0, part, index):
                digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


@functools.lru_cache(maxsize=8)  # since the image and its target are asked for one by one
def draw_scene(seed: int, part: int, index: int) -> Scene:
    """The scene that these three numbers stand for."""
    random = _Random(seed, part, index)
    height, width = _SIZES[random.below(len(_SIZES))]
    x = np.arange(width, dtype=np.float32) + np.float32(0.5)
    y = (np.arange(height, dtype=np.float32) + np.float32(0.5))[:, None]
    canvas = _background(random, x, y)
    owner = np.full((height, width), -1)  # the object that is in front at each pixel
    whole: list[int] = []  # pixels of each object, hidden ones too
    boxes, labels, faint = [], [], []
    for _ in range(1 + random.below(_MOST)):
        small = bool(random.number() < _SMALL)
        label = random.below(len(CLASSES))
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
    canvas += random.numbers(-10, 10, 3, height, width)
    seen = np.bincount(owner[owner >= 0], minlength=len(whole)).astype(np.float32)
    hidden = seen < np.float32(_LITTLE) * np.array(whole, np.float32)
    return Scene(
        np.clip(np.rint(canvas), 0, 255).astype(np.uint8),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels, np.int64),
        np.array(faint, bool) | hidden,
    )


class _Random:
    """Uniform random numbers of one scene."""

    def __init__(self, *seeds: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(seeds))

    def number(self, low: float = 0, high: float = 1) -> np.float32:
        """One number, from `low` to `high`."""
        return np.float32(low) + np.float32(high - low) * self._generator.random(dtype=np.float32)

    def numbers(self, low: float, high: float, *shape: int) -> Floats:
        """Numbers of a shape."""
        values = self._generator.random(shape, np.float32)
        return np.float32(low) + np.float32(high - low) * values

    def below(self, count: int) -> int:
        """A whole number from 0 to count - 1."""
        return min(int(self._generator.random() * count), count - 1)


def _background(random: _Random, x: Floats, y: Floats) -> Floats:
    """Colours [3, H, W]: a gradient, three waves across it in any direction, and small discs."""
    canvas: Floats = random.numbers(70, 150, 3, 1, 1) + np.zeros((len(y), len(x)), np.float32)
    slope_x, slope_y = random.numbers(-0.3, 0.3, 2, 3, 1, 1)
    canvas += slope_x * (x - len(x) / 2) + slope_y * (y - len(y) / 2)
    for _ in range(3):
        a, b = random.numbers(-0.2, 0.2, 2)
        wave = np.abs((a * x + b * y + random.number(0, 2)) % np.float32(2) - np.float32(1))
        canvas += random.numbers(-30, 30, 3, 1, 1) * wave
    for _ in range(6):
        centre_x, centre_y = random.number(0, len(x)), random.number(0, len(y))
        outside = np.sqrt(np.square(x - centre_x) + np.square(y - centre_y)) - random.number(1, 4)
        canvas += random.numbers(-50, 50, 3, 1, 1) * coverage(outside)
    return canvas


def _place(
    random: _Random, x: Floats, y: Floats, small: bool, shape: Callable[[Floats, Floats], Floats]
) -> Floats:
    """How far each pixel [H, W] is outside a shape that lies somewhere; negative inside it."""
    tangent = random.number(-0.4, 0.4)  # of half the angle, which gives sine and cosine
    norm = np.float32(1) + tangent * tangent
    cosine, sine = (np.float32(2) - norm) / norm, np.float32(2) * tangent / norm
    radius = random.number(4, 6) if small else random.number(9, 30)
    centre_x, centre_y = random.number(0.08, 0.92) * len(x), random.number(0.08, 0.92) * len(y)
    u, v = (x - centre_x) / radius, (y - centre_y) / radius
    return shape(cosine * u + sine * v, cosine * v - sine * u) * radius


def _paint(
    random: _Random, canvas: Floats, outside: Floats, x: Floats, y: Floats, small: bool
) -> None:
    """Cover the canvas with an object of a random colour, half of them striped."""
    colour = random.numbers(0, 255, 3, 1, 1)
    if random.number() < 0.5:
        a, b = random.numbers(-0.3, 0.3, 2)
        colour = colour + random.numbers(-80, 80, 3, 1, 1) * np.floor((a * x + b * y) % 2)
    covered = coverage(outside) * np.float32(0.4 if small else 1)
    canvas *= np.float32(1) - covered
    canvas += covered * colour


def _box(inside: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """The corners of the smallest box around the pixels that are set."""
    columns, rows = np.flatnonzero(inside.any(0)), np.flatnonzero(inside.any(1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
