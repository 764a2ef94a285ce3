"""The tables and figures of experiments, as data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from resnet_repro.base.records import Frozen
from resnet_repro.spec.run import CanonicalNetwork, CanonicalNetworks

__all__ = [
    "AnyPlot",
    "AnyTable",
    "CostTable",
    "CurvePanel",
    "CurvesPlot",
    "DetectionTable",
    "DrawingPlot",
    "EnsembleTable",
    "ErrorTable",
    "LayerTable",
    "Percent",
    "Text",
    "Views",
    "ViewsTable",
]

Views = Literal["centre", "10-crop", "multi-scale"]  # of each photograph in testing (section 3.4)
Text = Annotated[str, Field(max_length=500)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


class CurvePanel(Frozen):
    """One panel of a figure of training curves."""

    title: Text = ""
    networks: CanonicalNetworks = Field(min_length=1, max_length=50)
    curves: tuple[Literal["train", "test"], ...] = Field(
        ("train", "test"), min_length=1, max_length=2
    )
    # The share of the iterations that it shows, from the first on; its error axis is then its own.
    first: Annotated[float, Field(gt=0, le=1)] = 1.0


class CurvesPlot(Frozen):
    """Errors against iterations (Fig. 1, Fig. 4, Fig. 6)."""

    kind: Literal["curves"] = "curves"
    panels: tuple[CurvePanel, ...] = Field(min_length=1, max_length=12)
    error_axis: tuple[Percent, Percent] | None = None  # the paper's, where it is known
    train_lines: Literal["dashed", "thin"] = "dashed"  # test error is bold (Fig. 6, Fig. 4)

    @field_validator("error_axis")
    @classmethod
    def _increasing(cls, axis: tuple[float, float] | None) -> tuple[float, float] | None:
        if axis and axis[0] >= axis[1]:
            raise ValueError("should be the lower and the upper end, in percent")
        return axis


class OtherPlot(Frozen):
    """A figure without options.

    `responses`: in order and sorted (Fig. 7). `gradients`: signals and gradients by layer, at the
    start and at the end of training (section 4.1). `surface`: the loss around trained weights,
    with relief and lines in files of their own. `path`: loss and error between two runs. `depth`:
    results of competitions by depth, without training. `detections`: on a few test images.
    """

    kind: Literal["responses", "gradients", "surface", "path", "depth", "detections"]


class DrawingPlot(Frozen):
    """Drawings of networks (Fig. 2, Fig. 3, Fig. 5); needs no training."""

    kind: Literal["drawing"] = "drawing"
    networks: CanonicalNetworks = Field(min_length=1, max_length=8)
    shows: Literal["layers", "costs", "block", "idea"] = "layers"


class LayerTable(Frozen):
    """The cost of each layer of a network; needs no training.

    `printed` puts the table of GoogLeNet's paper beside it.
    """

    kind: Literal["layers"] = "layers"
    network: CanonicalNetwork
    printed: bool = False

    @model_validator(mode="after")
    def _known(self) -> LayerTable:
        if self.printed and self.network != "googlenet":
            raise ValueError("`printed` is for googlenet, whose paper has such a table")
        return self


class ErrorTable(Frozen):
    """Final errors beside the paper's (Table 6); `literature` adds the paper's other rows."""

    kind: Literal["errors"] = "errors"
    literature: bool = False
    paper: Literal["table6", "preact-table1", "preact-table2", "preact-table3"] = "table6"


class ViewsTable(Frozen):
    """Top-1 and top-5 errors from some views of each photograph beside the paper's (Tables 2-4)."""

    kind: Literal["views"] = "views"
    views: Views
    paper: Literal["table2", "table3", "table4"] | None = None  # whose numbers stand beside ours
    top5: bool = True


class EnsembleTable(Frozen):
    """Errors of averaged scores beside the paper's (Table 5)."""

    kind: Literal["ensemble"] = "ensemble"


class DetectionTable(Frozen):
    """Average precision beside the paper's (Tables 7 and 8); by class beside Tables 10 and 11."""

    kind: Literal["detection"] = "detection"
    paper: Literal["table7", "table8", "table10"] = "table7"


class CostTable(Frozen):
    """Parameters and multiply-adds beside the paper's (Table 1); needs no training."""

    kind: Literal["cost"] = "cost"
    networks: CanonicalNetworks = Field(min_length=1, max_length=200)


AnyTable = Annotated[
    ErrorTable | ViewsTable | EnsembleTable | CostTable | LayerTable | DetectionTable,
    Field(discriminator="kind"),
]
AnyPlot = Annotated[CurvesPlot | DrawingPlot | OtherPlot, Field(discriminator="kind")]
