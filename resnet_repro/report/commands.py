"""The commands that a reader is told to type."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_repro.spec import Experiment, shipped_experiments

__all__ = ["run_command"]


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
