"""Arguments and options that commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from resnet_repro.base.files import user_folder, user_path
from resnet_repro.cli.completing import (
    complete_datasets,
    complete_experiments,
    complete_networks,
    one_of,
)

__all__ = [
    "DATA",
    "RESULTS",
    "AnyDataDirOption",
    "AnyResultsOption",
    "DataDirOption",
    "DatasetOption",
    "DeviceOption",
    "JsonOption",
    "Name",
    "Names",
    "NetworksOption",
    "PrecisionOption",
    "PresetOption",
    "QuietOption",
    "ResultsOption",
    "SeedsOption",
    "SetOption",
    "VerboseOption",
]

Name = Annotated[
    str,
    typer.Argument(
        help="An experiment (see `list`) or a YAML file.", autocompletion=complete_experiments
    ),
]
Names = Annotated[
    list[str],
    typer.Argument(
        help="Experiments (see `list`) or YAML files.", autocompletion=complete_experiments
    ),
]
PresetOption = Annotated[
    str | None,
    one_of(("paper", "short", "demo"), "--preset", "paper, short (a tenth) or demo (minutes)."),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        help="cifar10, cifar100, imagenet, imagenette, folder:PATH or synthetic.",
        autocompletion=complete_datasets,
    ),
]
NetworksOption = Annotated[
    str | None,
    typer.Option(
        "--networks",
        help="Only these, as in plain-20,resnet-20.",
        autocompletion=complete_networks,
    ),
]
SeedsOption = Annotated[
    str | None,
    typer.Option("--seeds", help="A count (3: seeds 0, 1, 2) or a list (0,4,7, or of one: 3,)."),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Change a field: recipe.batch_size=64.")
]
PrecisionOption = Annotated[
    str | None,
    one_of(("auto", "fp32", "bf16"), "--precision", "auto (the faster one here), fp32 or bf16."),
]


def _results(callback: Callable[[Path], Path]) -> Any:
    return typer.Option(
        "--results",
        help="The results folder.",
        envvar="RESNET_REPRO_RESULTS",
        callback=callback,
    )


def _data_dir(callback: Callable[[Path], Path]) -> Any:
    return typer.Option(
        "--data-dir", help="The data folder.", envvar="RESNET_REPRO_DATA", callback=callback
    )


ResultsOption = Annotated[Path, _results(user_folder)]
DataDirOption = Annotated[Path, _data_dir(user_folder)]
# For `doctor`, which reports what is wrong with the folders.
AnyResultsOption = Annotated[Path, _results(user_path)]
AnyDataDirOption = Annotated[Path, _data_dir(user_path)]
DeviceOption = Annotated[
    str, one_of(("auto", "cpu", "cuda", "mps"), "--device", "auto, cpu, cuda, cuda:1 or mps.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors.")]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="More log, and tracebacks of errors.")
]

RESULTS, DATA = Path("results"), Path("data")
