"""The papers whose experiments, numbers and claims are here, and the protocol of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from resnet_repro.spec.detection import Detection
from resnet_repro.spec.network_names import Family
from resnet_repro.spec.presets import preset_recipe
from resnet_repro.spec.recipe import Recipe
from resnet_repro.spec.recipe_parts import Photographs

__all__ = [
    "FAMILIES",
    "HE_2016",
    "PAPERS",
    "PAPER_RECIPES",
    "THE_PAPER",
    "paper_of_table",
    "papers_on",
]

THE_PAPER = "the paper"  # that this project reproduces; later ones are cited
HE_2016 = "He et al. 2016"  # "Identity Mappings in Deep Residual Networks" (arXiv 1603.05027)
LI_2018 = "Li et al. 2018"  # "Visualizing the Loss Landscape of Neural Nets" (arXiv 1712.09913)


class InThePaper(NamedTuple):
    """What the paper has of a family of networks."""

    section: str
    dataset: str
    network: str  # whose recipe stands for the family's
    size: int  # of a network's input, in pixels; of a detector's, the shorter side
    sizes: str  # what that size is of
    bn_images: int  # images that each batch normalisation saw, a GPU's share; 0: it was frozen


FAMILIES: dict[Family, InThePaper] = {
    "cifar": InThePaper("section 4.2 on CIFAR-10", "cifar10", "resnet-20", 32, "images", 64),
    "imagenet": InThePaper(
        "section 3.4 on ImageNet", "imagenet", "resnet-50", Photographs().crop, "crops", 32
    ),
    "detection": InThePaper(
        *("appendix A on PASCAL VOC", "voc07+12", "faster-rcnn-resnet-101"),
        *(Detection().shorter_side, "shorter sides", 0),
    ),
}
PAPER_RECIPES: dict[Family, Recipe] = {
    family: preset_recipe("paper", usual.network, usual.dataset)
    for family, usual in FAMILIES.items()
}


class Paper(NamedTuple):
    """What counts as a paper's own protocol."""

    datasets: Mapping[Family, tuple[str, ...]]
    # What its recipe has otherwise than the `paper` preset's, as groups of runs say it.
    changes: tuple[str, ...] = ()
    in_words: tuple[str, ...] = ()  # the same, as a caption says it
    note: str = ""  # about the protocol by which its claims are judged


PAPERS: dict[str, Paper] = {
    THE_PAPER: Paper(
        {
            "cifar": ("cifar10",),
            "imagenet": ("imagenet",),
            "detection": ("voc07+12", "voc07++12", "coco"),
        }
    ),
    # A lower rate for a fixed count of iterations, whatever the network (its appendix).
    HE_2016: Paper(
        {"cifar": ("cifar10", "cifar100")},
        ("warmup=400 iterations at 0.01",),
        ("400 iterations at 0.01 first",),
    ),
    LI_2018: Paper(
        {},  # nothing here is trained by its recipe and judged
        note="They are judged, as trends at most, by networks trained as in section 4.2 of the "
        "first paper, on the grids that were measured; that paper's recipe is another "
        "(`surface-recipe`, which judges no claim), its grids have 51 x 51 points.",
    ),
}


def papers_on(family: Family, dataset: str) -> tuple[str, ...]:
    """The papers that print results of a family of networks on a data set."""
    return tuple(n for n, paper in PAPERS.items() if dataset in paper.datasets.get(family, ()))


def paper_of_table(table: str) -> str:
    """Whose table it is: `table6`, `preact-table1`."""
    return HE_2016 if table.startswith("preact-") else THE_PAPER
