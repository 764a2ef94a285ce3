"""Objects of three classes in 25 images, many of them difficult, and what was found of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resnet_repro.data.boxes.boxes import Detections, Target


def made_up(seed: int, *, tied: bool = True) -> tuple[list[Target], list[Detections]]:
    """Most detections are near an object, some twice; `tied` gives many the same score."""
    random = np.random.Generator(np.random.PCG64(seed))

    def boxes(count: int) -> NDArray[np.float64]:
        corner, size = random.integers(0, 12, (count, 2)), random.integers(1, 14, (count, 2))
        return np.concatenate([corner, corner + size], 1).astype(float)

    truths, detections = [], []
    for _ in range(25):
        count, more = int(random.integers(0, 6)), int(random.integers(0, 9))
        labels = random.integers(1, 4, count)
        truths.append(Target("", boxes(count), labels, random.random(count) < 0.25))
        some, found = boxes(more), random.integers(1, 4, more)
        if count:
            near = random.integers(0, count, more - more // 3)
            some[more // 3 :] = truths[-1].boxes[near]
            some[more // 2 :, 2] += random.integers(0, 3, more - more // 2)
            found[more // 2 :] = labels[near][more // 2 - more // 3 :]
        scores = random.integers(0, 8, more) / 8 if tied else random.random(more)
        detections.append(Detections(some, scores, found))
    return truths, detections
