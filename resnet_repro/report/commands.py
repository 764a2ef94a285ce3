"""The commands that a reader is told to type."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from resnet_repro.names import Family, parse_network
from resnet_repro.report.groups import PAPER_DATASETS, Group
from resnet_repro.spec import Choices, Experiment, load_experiment, shipped_experiments

__all__ = ["at_group", "family_of", "run_command"]


def run_command(experiment: Experiment, networks: Sequence[str] = ()) -> str:
    """The command that trains what an experiment still lacks: `resnet-repro run fig1`."""
    shipped = experiment.name in shipped_experiments()
    words = ["resnet-repro", "run", experiment.name if shipped else f"{experiment.name}.yaml"]
    if experiment.preset != "paper":
        words += ["--preset", experiment.preset]
    home = _dataset_of(experiment.name) if shipped else PAPER_DATASETS[family_of(experiment)]
    if experiment.dataset != ("synthetic" if experiment.preset == "demo" else home):
        words += ["--dataset", experiment.dataset]
    if experiment.precision != "auto":
        words += ["--precision", experiment.precision]
    if networks:
        words += ["--networks", ",".join(networks)]
    return " ".join(words)


@cache
def _dataset_of(name: str) -> str:
    """The data set that a shipped experiment is on unless told otherwise."""
    return load_experiment(name).dataset


def family_of(experiment: Experiment) -> Family:
    """The family of an experiment's networks; ImageNet's only if all are."""
    families = {parse_network(network).family for network in experiment.networks}
    return "imagenet" if families == {"imagenet"} else "cifar"


def at_group(experiment: Experiment, group: Group) -> Experiment | None:
    """The experiment at a group's preset and data set, or None where the group is of no preset.

    None as well where the group is about the other family of networks.
    """
    if group.changes or group.family != family_of(experiment):
        return None
    choices = Choices(preset=group.base, dataset=group.dataset)
    if experiment.name in shipped_experiments():  # its file knows what a preset leaves out
        return load_experiment(experiment.name, choices=choices)
    return experiment.choose(choices)
