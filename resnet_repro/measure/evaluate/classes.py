"""Which of a network's outputs are the classes of a data set."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_repro.base.errors import ConfigError

__all__ = ["IMAGENETTE", "chosen_outputs"]

IMAGENET_CLASSES = 1000

# Imagenette's classes by ImageNet's name of them (WordNet's), and where they stand among the 1,000
# classes of ImageNet, which everybody sorts by that name.
IMAGENETTE = {
    "n01440764": 0,  # tench
    "n02102040": 217,  # English springer
    "n02979186": 482,  # cassette player
    "n03000684": 491,  # chain saw
    "n03028079": 497,  # church
    "n03394916": 566,  # French horn
    "n03417042": 569,  # garbage truck
    "n03425413": 571,  # gas pump
    "n03445777": 574,  # golf ball
    "n03888257": 701,  # parachute
}


def chosen_outputs(outputs: int, classes: Sequence[str], dataset: str) -> list[int] | None:
    """The outputs that stand for a data set's classes, in their order; None for all of them.

    A network of 1,000 outputs is taken to tell ImageNet's classes apart; of those, Imagenette's
    ten (or some of them) can be singled out.

    Raises:
        ConfigError: the outputs are of other classes.
    """
    if outputs == len(classes):
        return None
    if outputs == IMAGENET_CLASSES and all(name in IMAGENETTE for name in classes):
        return [IMAGENETTE[name] for name in classes]
    raise ConfigError(
        f"the weights tell {outputs:,} classes apart, {dataset} has {len(classes):,}"
        + ("; of ImageNet's, only Imagenette's ten are known here by name"
           if outputs == IMAGENET_CLASSES else "")
    )  # fmt: skip
