"""The commands that a reader is told to type."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_repro.report.groups import Group
from resnet_repro.spec import Choices, Experiment, load_experiment, shipped_experiments

__all__ = ["at_group", "run_command"]


def run_command(experiment: Experiment, networks: Sequence[str] = ()) -> str:
    """The command that trains what an experiment still lacks: `resnet-repro run fig1`."""
    shipped = experiment.name in shipped_experiments()
    words = ["resnet-repro", "run", experiment.name if shipped else f"{experiment.name}.yaml"]
    if experiment.preset != "paper":
        words += ["--preset", experiment.preset]
    if experiment.dataset != ("synthetic" if experiment.preset == "demo" else "cifar10"):
        words += ["--dataset", experiment.dataset]
    if experiment.precision != "auto":
        words += ["--precision", experiment.precision]
    if networks:
        words += ["--networks", ",".join(networks)]
    return " ".join(words)


def at_group(experiment: Experiment, group: Group) -> Experiment | None:
    """The experiment at a group's preset and data set, or None where the group is of no preset."""
    if group.changes:
        return None
    choices = Choices(preset=group.base, dataset=group.dataset)
    if experiment.name in shipped_experiments():  # its file knows what a preset leaves out
        return load_experiment(experiment.name, choices=choices)
    return experiment.choose(choices)
