"""The commands that tables, figures and the report tell a reader to run."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from resnet_repro.report.groups import BegunRun
from resnet_repro.spec.experiment import Experiment

__all__ = ["as_trained", "run_command"]


def run_command(experiment: Experiment, networks: Sequence[str] = ()) -> str:
    """The command that trains the missing runs of an experiment: `resnet-repro run fig1`.

    It names the networks that are given, or those that were chosen among the experiment's.
    """
    whole = experiment.source.whole
    words = ["resnet-repro", "run", shlex.quote(experiment.source.text)]
    if experiment.preset != whole.preset:
        words += ["--preset", experiment.preset]
    demo = experiment.preset == "demo" and whole.preset != "demo"
    if experiment.datasets != ((experiment.demo_dataset,) if demo else whole.datasets):
        # Results do not tell the path.
        words += ["--dataset", experiment.datasets[0].replace(":", ":PATH/")]
    if experiment.precision != whole.precision:
        words += ["--precision", experiment.precision]
    if networks := networks or experiment.chosen_networks:
        words += ["--networks", ",".join(networks)]
    return " ".join(words)


def as_trained(experiment: Experiment, runs: Iterable[BegunRun]) -> str:
    """The options that train as these runs were, where all were in one precision or equal parts."""
    trained = [run.run for run in runs]
    precisions = {run.precision for run in trained}
    sizes = {run.recipe.micro_batch_size for run in trained}
    options = ""
    if len(precisions) == 1 and precisions != {experiment.precision}:
        options += f" --precision {precisions.pop()}"
    if len(sizes) == 1 and (size := sizes.pop()):
        options += f" --set recipe.micro_batch_size={size}"
    return options
