"""The commands that tables, figures and the report tell a reader to run."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from resnet_repro.base.errors import ConfigError
from resnet_repro.report.groups import BegunRun
from resnet_repro.spec.experiment import Choices, Experiment

__all__ = ["in_parts", "run_command"]


def run_command(experiment: Experiment, networks: Sequence[str] = ()) -> str:
    """The command that trains the missing runs of an experiment: `resnet-repro run fig1`.

    It names the networks that are given, or those that were chosen among the experiment's.
    """
    whole = experiment.source.whole
    words = ["resnet-repro", "run", shlex.quote(experiment.source.text)]
    if experiment.preset != whole.preset:
        words += ["--preset", experiment.preset]
    demo, dataset = experiment.preset == "demo" and whole.preset != "demo", None
    if experiment.datasets != ((experiment.demo_dataset,) if demo else whole.datasets):
        dataset = experiment.datasets[0]
        words += ["--dataset", dataset.replace(":", ":PATH/")]  # results do not tell the path
    if experiment.precision != whole.precision:
        words += ["--precision", experiment.precision]
    if networks := networks or _chosen_of(experiment, dataset):
        words += ["--networks", ",".join(networks)]
    return " ".join(words)


def in_parts(runs: Iterable[BegunRun]) -> str:
    """The option that trains as these runs were, if the batches of all passed in equal parts."""
    parts = {run.run.recipe.micro_batch_size for run in runs}
    size = parts.pop() if len(parts) == 1 else None
    return f" --set recipe.micro_batch_size={size}" if size else ""


def _chosen_of(experiment: Experiment, dataset: str | None) -> tuple[str, ...]:
    """The experiment's networks, if somebody chose them among all that it has; else none.

    Nobody did if they are all that the preset trains, or all that any preset trains on the data
    set: so they are in an experiment as it was loaded.
    """
    own, whole = set(experiment.networks), experiment.source.whole
    try:
        usual = whole.choose(Choices(experiment.preset, dataset=dataset))
        there = whole.on_dataset(dataset) if dataset else whole
        if own == set(usual.networks) or not own < set(there.networks):
            return ()
    except ConfigError:  # the preset trains none on that data set, or --set left its networks out
        return ()
    return experiment.networks
