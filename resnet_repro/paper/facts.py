"""Printed numbers, typed; in percent.

Those of the papers' tables, what public reproductions of section 4.2 report (CIFAR-10 test errors,
with links), and competitions' entries by depth ("Revolution of Depth").
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from pydantic import Field, model_validator

from resnet_repro.base.records import Frozen
from resnet_repro.paper.papers import papers_on
from resnet_repro.paper.reading import NamedNetwork, read_package_file
from resnet_repro.spec.tables_figures import Percent

__all__ = [
    "CifarResult",
    "Competition",
    "Facts",
    "ImageNetResult",
    "PrintedLayer",
    "Reproduction",
    "load_competitions",
    "load_facts",
    "load_others",
    "reported_range",
]

VOC_CLASSES = 20


class PrintedError(Frozen):
    """An error as the paper prints it: one number, or best (mean +- std) of several runs."""

    printed: float  # percent; the best run where there is a mean beside it
    mean: float | None = None
    std: float | None = None
    runs: int | None = None
    fails: bool = False  # printed as "fail": the error is above `printed`

    @property
    def comparable(self) -> float | None:
        """What a mean over seeds is to be compared with: the mean if there is one."""
        if self.fails:
            return None
        return self.printed if self.mean is None else self.mean

    @property
    def best(self) -> float | None:
        """The error of the best of several runs; None if the paper has one number."""
        return None if self.mean is None else self.printed

    def __str__(self) -> str:
        if self.fails:
            return f"fail (above {self.printed:g})"
        if self.mean is None:
            return f"{self.printed:.2f}"
        return f"{self.printed:.2f} ({self.mean:.2f} ± {self.std:.2f})"


class CifarResult(Frozen):
    """A row of Table 6, or of He et al. 2016: test error on CIFAR, with data augmentation."""

    network: NamedNetwork | None = None  # None for other authors' networks
    method: str
    layers: int | None = None
    parameters: str | None = None  # as printed: "0.27M"
    dataset: Literal["cifar10", "cifar100"] = "cifar10"
    error: PrintedError


class ImageNetResult(Frozen):
    """A row of Tables 2 to 5; errors in percent."""

    network: NamedNetwork | None = None  # None for other authors' networks
    method: str
    top1: float | None = None
    top5: float | None = None
    note: str = ""


class VocResult(Frozen):
    """A row of Table 7: mAP at an overlap of 0.5 on PASCAL VOC's test sets."""

    network: NamedNetwork
    method: str
    voc07: Percent  # trained on 07+12
    voc12: Percent  # trained on 07++12


class CocoResult(Frozen):
    """A row of Table 8: average precision on COCO, at an overlap of 0.5 and COCO's own."""

    network: NamedNetwork
    method: str
    ap50: Percent
    ap: Percent


class ClassResult(Frozen):
    """A row of Table 10: average precision on PASCAL VOC's test set of 2007 by class."""

    network: NamedNetwork | None = None  # None for what is not built here
    method: str
    mean: Percent
    classes: tuple[Percent, ...] = Field(min_length=VOC_CLASSES, max_length=VOC_CLASSES)


class PrintedFlops(Frozen):
    """Multiply-adds of one network for one 224x224 image."""

    network: NamedNetwork
    multiply_adds: float
    reference: str


class PrintedLayer(Frozen):
    """Layers that a paper's table has in one row."""

    layer: str
    modules: tuple[str, ...] = ()  # the first part of their names
    parameters: float
    multiply_adds: float


class ReportedError(Frozen):
    """A test error as its source reports it, in percent; a number alone is one run's."""

    mean: float = Field(gt=0, lt=100)
    std: float | None = None
    runs: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_one_run(cls, reported: Any) -> Any:
        return {"mean": reported} if isinstance(reported, int | float) else reported

    def __str__(self) -> str:
        return f"{self.mean:.2f}" if self.std is None else f"{self.mean:.2f} ± {self.std:.2f}"


class Reproduction(Frozen):
    """One public reproduction."""

    name: str
    link: str = Field(pattern=r"^https://[^\s|]+$")
    selection: Literal["final", "best", "unstated"]  # best: the lowest on the test set
    protocol: str  # in a phrase, where it is not the paper's
    errors: dict[NamedNetwork, ReportedError] = Field(min_length=1)


class Entry(Frozen):
    """One entry: its weighted layers (None: no deep network) and its result in percent."""

    name: str
    depth: int | None
    value: float = Field(gt=0, lt=100)
    year: int | None = None


class Competition(Frozen):
    """Entries that are shown side by side, and what has to be known before comparing them."""

    title: str
    unit: str
    source: str
    entries: tuple[Entry, ...] = Field(min_length=1)
    caveats: tuple[str, ...]


class Facts(Frozen):
    """The paper's tables, in the paper's order."""

    flops: tuple[PrintedFlops, ...]
    googlenet: tuple[PrintedLayer, ...]
    table2: tuple[ImageNetResult, ...]
    table3: tuple[ImageNetResult, ...]
    table4: tuple[ImageNetResult, ...]
    table5: tuple[ImageNetResult, ...]
    table6: tuple[CifarResult, ...]
    table7: tuple[VocResult, ...]
    table8: tuple[CocoResult, ...]
    voc_classes: tuple[str, ...] = Field(min_length=VOC_CLASSES, max_length=VOC_CLASSES)
    table10: tuple[ClassResult, ...]
    preact_table1: tuple[CifarResult, ...]
    preact_table2: tuple[CifarResult, ...]
    preact_table3: tuple[CifarResult, ...]

    def flops_of(self, network: str) -> float | None:
        """The multiply-adds printed for a network (Table 1, Fig. 3), or None."""
        return next((row.multiply_adds for row in self.flops if row.network == network), None)

    def imagenet_results(self, table: str) -> tuple[ImageNetResult, ...]:
        """The rows of `table2` to `table5`, in the paper's order."""
        rows: tuple[ImageNetResult, ...] = getattr(self, table)
        return rows

    def cifar_results(self, table: str) -> tuple[CifarResult, ...]:
        """The rows of `table6`, or of `preact-table1` to 3 (He et al. 2016), in order."""
        rows: tuple[CifarResult, ...] = getattr(self, table.replace("-", "_"))
        return rows

    def cifar_result(
        self, network: str, table: str = "table6", dataset: str | None = None
    ) -> CifarResult | None:
        """The row of such a table that is about a network, on a data set where one is given.

        None if there is none. Of data on which nobody prints anything, such as generated images,
        the network's first row, as without `dataset`.
        """
        rows = [row for row in self.cifar_results(table) if row.network == network]
        if dataset is not None and papers_on("cifar", dataset):
            rows = [row for row in rows if row.dataset == dataset]
        return next(iter(rows), None)

    def class_precisions(self, network: str) -> dict[str, float]:
        """By VOC's name of the class, the baseline's in `table10`; empty without."""
        row = next((row for row in self.table10 if row.network == network), None)
        return dict(zip(self.voc_classes, row.classes, strict=True)) if row else {}


@cache
def load_facts() -> Facts:
    """The paper's numbers from `facts.yaml`.

    Raises:
        ConfigError: the installation is damaged.
    """
    return read_package_file("facts.yaml", Facts)


@cache
def load_others() -> tuple[Reproduction, ...]:
    """The reproductions of `others.yaml`, those closest to the paper's protocol first.

    Raises:
        ConfigError: the installation is damaged.
    """
    return read_package_file("others.yaml", dict[str, tuple[Reproduction, ...]])["others"]


def reported_range(network: str) -> tuple[float, float, int] | None:
    """The lowest and the highest error (percent) that reproductions report, and how many do.

    Those that say that they chose the best iterate on the test set are left out.
    """
    found = [
        other.errors[network].mean
        for other in load_others()
        if network in other.errors and other.selection != "best"
    ]
    return (min(found), max(found), len(found)) if found else None


@cache
def load_competitions() -> tuple[Competition, ...]:
    """The competitions of `depth.yaml`.

    Raises:
        ConfigError: the installation is damaged.
    """
    return read_package_file("depth.yaml", dict[str, tuple[Competition, ...]])["competitions"]
