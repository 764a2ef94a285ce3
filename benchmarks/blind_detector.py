"""What a detector finds that never looks at an image: the same box, in the middle, for every class.

    python benchmarks/blind_detector.py VOCDEVKIT

The share of both sides that the box takes is chosen on the training images; scores are random, 20
times. Prints the mean over the classes of average precision in VOC 2007's form (11 points) and in
that of the area, over the test images: mean and standard deviation, in percent.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

from resnet_repro.data.boxes.boxes import BoxImages, Detections, Target
from resnet_repro.data.datasets import load
from resnet_repro.measure.average_precision import average_precisions, mean_over_classes
from resnet_repro.spec.dataset_names import choose_dataset

SHARES = (0.6, 0.7, 0.75, 0.8, 0.9)
DRAWS = 20

Sized = tuple[int, int, Target]  # height and width of an image, and its objects


def sized(images: BoxImages) -> list[Sized]:
    """The sizes of all images, and what is in them."""
    return [(*image.shape[-2:], target) for image, target in images]


def blind(
    images: Sequence[Sized], classes: Sequence[str], share: float, seed: int
) -> tuple[float, float]:
    """Both forms of mean average precision of a box of this share, with scores of this seed."""
    random, count = np.random.default_rng(seed), len(classes)
    low, high = (1 - share) / 2, (1 + share) / 2
    found = [
        Detections(
            np.tile([low * width, low * height, high * width, high * height], (count, 1)),
            random.random(count),
            np.arange(1, count + 1),
        )
        for height, width, _ in images
    ]
    rows = average_precisions([target for *_, target in images], found, classes, "")
    forms = ([row.ap_11point for row in rows], [row.ap_area for row in rows])
    points, area = (mean_over_classes(form) or 0.0 for form in forms)
    return points, area


def main() -> None:
    """Choose the share on the training images, and print what it finds in the test images."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", metavar="VOCDEVKIT", help="a development kit of PASCAL VOC")
    folder = parser.parse_args().folder
    choice = choose_dataset(f"voc:{folder}")
    with tempfile.TemporaryDirectory() as index:
        dataset = load(choice.name, Path(index), choice.folders)
        train, test = sized(dataset.train), sized(dataset.test)
    share = max(SHARES, key=lambda share: blind(train, dataset.classes, share, 0)[1])
    draws = [blind(test, dataset.classes, share, seed) for seed in range(DRAWS)]
    for form, values in zip(("11 points", "area"), zip(*draws, strict=True), strict=True):
        print(f"{form}: {fmean(values):.2f} ± {stdev(values):.2f}, {share:g} of both sides")


if __name__ == "__main__":
    main()
