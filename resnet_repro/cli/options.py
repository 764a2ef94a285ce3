"""Arguments and options of commands, called `opt.Preset` and so on where they are used."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from resnet_repro.base.files import (
    DATA_VARIABLE,
    DEFAULT_DATA,
    DEFAULT_RESULTS,
    RESULTS_VARIABLE,
    user_folder,
    user_path,
)
from resnet_repro.cli.completing import (
    complete_datasets,
    complete_experiments,
    complete_networks,
    one_of,
)
from resnet_repro.spec.dataset_names import family_datasets


def _either(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


# The names of data sets, for help texts.
WITH_CLASSES = _either(family_datasets("cifar", "imagenet"))
WITH_BOXES = _either(family_datasets("detection"))

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
Preset = Annotated[
    str | None,
    one_of(
        ("paper", "quarter", "short", "demo"),
        "--preset",
        "paper (what is run by default), quarter (of CIFAR networks), short (a tenth or less) or "
        "demo (minutes).",
    ),
]
Dataset = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        help=f"{WITH_CLASSES}; of detectors {WITH_BOXES}.",
        autocompletion=complete_datasets,
    ),
]
Networks = Annotated[
    str | None,
    typer.Option(
        "--networks",
        help="Only these, as in plain-20,resnet-20.",
        autocompletion=complete_networks,
    ),
]
Seeds = Annotated[
    str | None,
    typer.Option("--seeds", help="A count (3: seeds 0, 1, 2) or a list (0,4,7, or of one: 3,)."),
]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Change a field: recipe.batch_size=64.")
]
Precision = Annotated[
    str | None,
    one_of(("auto", "fp32", "bf16"), "--precision", "auto (the faster one here), fp32 or bf16."),
]


_results = partial(typer.Option, "--results", help="The results folder.", envvar=RESULTS_VARIABLE)
_data_dir = partial(typer.Option, "--data-dir", help="The data folder.", envvar=DATA_VARIABLE)
Results = Annotated[Path, _results(callback=user_folder)]
DataDir = Annotated[Path, _data_dir(callback=user_folder)]
# For `doctor`, which reports what is wrong with the folders.
AnyResults = Annotated[Path, _results(callback=user_path)]
AnyDataDir = Annotated[Path, _data_dir(callback=user_path)]
Device = Annotated[
    str, one_of(("auto", "cpu", "cuda", "mps"), "--device", "auto, cpu, cuda, cuda:1 or mps.")
]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="BN, shortcut and ReLU in one, by torch's compiler: faster on some machines.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only results and errors.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="More log, and tracebacks of errors.")
]
# Of commands without a log; `main` looks for it.
Traceback = Annotated[bool, typer.Option("--verbose", "-v", help="Tracebacks of errors.")]

# Where `run` trains.
Jobs = Annotated[
    str, typer.Option("--jobs", "-j", help="Runs side by side on this machine, or auto.")
]
Launcher = Annotated[
    str | None,
    one_of(
        ("ray", "slurm", "slurm-local"),
        "--launcher",
        "ray, ray:ADDRESS, slurm, or slurm-local for trying.",
    ),
]
Cpus = Annotated[
    int | None,
    typer.Option("--cpus-per-run", min=1, max=4096, help="CPUs for each run, with --launcher."),
]
Gpus = Annotated[
    float | None,
    typer.Option("--gpus-per-run", min=0, help="GPU for each run, or a part of one with Ray."),
]
Slurm = Annotated[
    list[str] | None,
    typer.Option("--slurm", help="An option of sbatch: partition=gpu, time=4:00:00."),
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for the array job to end.")]

RESULTS, DATA = DEFAULT_RESULTS, DEFAULT_DATA
