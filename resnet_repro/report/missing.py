"""What the results folder lacks, and the commands that fill it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resnet_repro.errors import ConfigError
from resnet_repro.report.commands import run_command
from resnet_repro.report.groups import Group
from resnet_repro.report.results import collect, groups_in, network_title
from resnet_repro.spec import Choices, CostTable, Experiment, Run
from resnet_repro.store import Store, StoredRun

__all__ = ["Gap", "gaps_of"]


@dataclass(frozen=True)
class Gap:
    """Something that an experiment lacks at one preset."""

    experiment: str
    what: str
    command: str


def gaps_of(experiment: Experiment, store: Store, runs: Sequence[StoredRun]) -> list[Gap]:
    """What is missing at the experiment's own preset and at every other preset that was begun."""
    gaps = []
    uncounted = not store.csv_path(experiment.name).is_file()
    if isinstance(experiment.table, CostTable) and uncounted:
        gaps.append(Gap(experiment.name, "the counts", run_command(experiment)))
    finished = {run.id: run for run in runs if run.finished}
    for variant in (experiment, *_begun(experiment, runs)):
        gaps += _missing_runs(variant, finished)
    return gaps


def _begun(experiment: Experiment, runs: Sequence[StoredRun]) -> list[Experiment]:
    """The experiment at each other preset and data set for which there are results."""
    done = [cell for cell in collect(experiment.networks, runs) if cell.done]
    wanted = {(experiment.preset, experiment.dataset)}
    variants = []
    for group in groups_in(done):
        variant = _at(experiment, group)
        if variant is not None and (variant.preset, variant.dataset) not in wanted:
            wanted.add((variant.preset, variant.dataset))
            variants.append(variant)
    return variants


def _at(experiment: Experiment, group: Group) -> Experiment | None:
    """The experiment with a group's protocol, or None if it has no such preset."""
    if group.changes or group.dataset not in ("cifar10", "synthetic"):
        return None
    dataset = "cifar10" if group.dataset == "cifar10" else "synthetic"
    try:
        return experiment.choose(Choices(preset=group.base, dataset=dataset))
    except ConfigError:
        return None


def _missing_runs(experiment: Experiment, finished: dict[str, StoredRun]) -> list[Gap]:
    needed = experiment.resolve()
    lacking = [run for run in needed if run.id not in finished]
    where = f"{experiment.preset} preset, {experiment.dataset}"
    gaps = []
    if lacking:
        what = f"{len(lacking)} of {len(needed)} runs ({where}): {_by_network(lacking)}"
        networks = list(dict.fromkeys(run.network for run in lacking))
        everything = len(networks) == len(experiment.networks)
        command = run_command(experiment, () if everything else networks)
        gaps.append(Gap(experiment.name, what, command))
    elif "responses" in experiment.measure:
        unmeasured = [r for r in needed if not finished[r.id].folder.responses.exists()]
        if unmeasured:
            what = f"layer responses ({where}): {_by_network(unmeasured)}"
            gaps.append(Gap(experiment.name, what, run_command(experiment)))
    return gaps


def _by_network(runs: Sequence[Run]) -> str:
    """`ResNet-20, ResNet-110 (seeds 1, 2)`."""
    seeds: dict[str, list[int]] = {}
    for run in runs:
        seeds.setdefault(run.network, []).append(run.seed)
    texts = []
    for network, numbers in seeds.items():
        listed = f"seed{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
        texts.append(network_title(network) + ("" if numbers == [0] else f" ({listed})"))
    return ", ".join(texts)
