"""The numbers that the paper prints (Table 1 to Table 6), typed. Errors are percent."""

from __future__ import annotations

from functools import cache

from resnet_repro.base.records import Frozen
from resnet_repro.paper.reading import Network, read_package_file

__all__ = ["CifarResult", "Facts", "ImageNetResult", "load_facts"]


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

    def __str__(self) -> str:
        if self.fails:
            return f"fail (above {self.printed:g})"
        if self.mean is None:
            return f"{self.printed:.2f}"
        return f"{self.printed:.2f} ({self.mean:.2f} ± {self.std:.2f})"


class CifarResult(Frozen):
    """A row of Table 6, or of He et al. 2016: CIFAR-10 test error with data augmentation."""

    network: Network | None = None  # None for other authors' networks
    method: str
    layers: int | None = None
    parameters: str | None = None  # as printed: "0.27M"
    error: PrintedError


class ImageNetResult(Frozen):
    """A row of Tables 2 to 5; errors in percent."""

    network: Network | None = None  # None for other authors' networks
    method: str
    top1: float | None = None
    top5: float | None = None
    note: str = ""


class PrintedFlops(Frozen):
    """Multiply-adds of one network for one 224x224 image."""

    network: Network
    multiply_adds: float
    reference: str


class Facts(Frozen):
    """The paper's tables, in the paper's order."""

    flops: tuple[PrintedFlops, ...]
    table2: tuple[ImageNetResult, ...]
    table3: tuple[ImageNetResult, ...]
    table4: tuple[ImageNetResult, ...]
    table5: tuple[ImageNetResult, ...]
    table6: tuple[CifarResult, ...]
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

    def imagenet_result(self, table: str, network: str) -> ImageNetResult | None:
        """The row of such a table that is about a network, or None."""
        rows = self.imagenet_results(table)
        return next((row for row in rows if row.network == network), None)

    def cifar_results(self, table: str) -> tuple[CifarResult, ...]:
        """The rows of `table6`, or of `preact-table1` to 3 (He et al. 2016), in order."""
        rows: tuple[CifarResult, ...] = getattr(self, table.replace("-", "_"))
        return rows

    def cifar_result(self, network: str, table: str = "table6") -> CifarResult | None:
        """The row of such a table that is about a network, or None."""
        return next((row for row in self.cifar_results(table) if row.network == network), None)


@cache
def load_facts() -> Facts:
    """The paper's numbers from `facts.yaml`.

    Raises:
        ConfigError: the installation is damaged.
    """
    return read_package_file("facts.yaml", Facts)
