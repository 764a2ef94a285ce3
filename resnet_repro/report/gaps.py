"""What is missing in the results folder, with the commands that add it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from resnet_repro.base.errors import ConfigError
from resnet_repro.report.commands import as_trained, run_command
from resnet_repro.report.experiment_groups import at_group, family_of
from resnet_repro.report.groups import BegunRun, Group
from resnet_repro.report.results import Results
from resnet_repro.report.surfaces import surfaces_of
from resnet_repro.spec.dataset_names import dataset_title
from resnet_repro.spec.experiment import Choices, Experiment
from resnet_repro.spec.measurements import MEASUREMENTS
from resnet_repro.spec.network_names import network_title
from resnet_repro.spec.recorded_command import chosen_fields
from resnet_repro.spec.run import Run
from resnet_repro.store.lines import other_end_moved
from resnet_repro.store.store import Store

__all__ = ["Gap", "gaps_at_first", "gaps_of"]


@dataclass(frozen=True)
class Gap:
    """Something that an experiment lacks at one preset."""

    experiment: str
    where: str  # preset and data set
    what: str
    command: str


def gaps_of(experiment: Experiment, results: Results) -> list[Gap]:
    """What an experiment lacks at the presets that are used in this folder.

    In a folder without runs, that is the experiment's own preset. Runs that experiments share are
    missing in each. Families of networks without any runs have no gaps.
    """
    if not experiment.runs:
        return []
    groups = results.numbers
    if groups and family_of(experiment) not in {group.family for group in groups}:
        return []
    variants = {(v.preset, *v.datasets): v for group in groups if (v := _at(experiment, group))}
    every = variants.values() or [experiment.choose(Choices())]
    return [gap for variant in every for gap in _gaps_at(variant, results)]


def gaps_at_first(experiment: Experiment, groups: Iterable[Group], results: Results) -> list[Gap]:
    """What an experiment's chosen networks lack at the first of `groups` that is its own.

    Where none is, what they lack as the file has it.
    """
    own = (variant for group in groups if (variant := _at(experiment, group)))
    variant = next(own, None) or experiment.choose(Choices())
    chosen = [name for name in variant.networks if name in experiment.shown_networks]
    if len(chosen) < len(variant.networks):
        try:
            variant = variant.choose(Choices(networks=chosen)) if chosen else None
        except ConfigError:  # none of them is of the ensemble
            variant = None
    return _gaps_at(variant, results) if variant else []


def _at(experiment: Experiment, group: Group) -> Experiment | None:
    """The experiment `at_group`, with all the data sets that its file has."""
    variant = at_group(experiment, group)
    if variant and len(experiment.datasets) > 1:
        whole = experiment.source.whole.choose(Choices(preset=variant.preset))
        return whole if group.dataset in whole.datasets else variant
    return variant


def _gaps_at(variant: Experiment, results: Results) -> list[Gap]:
    found = _missing_runs(variant, results) + _missing_measurements(variant, results)
    return found or _missing_ensemble(variant, results)


def _missing_runs(experiment: Experiment, results: Results) -> list[Gap]:
    finished = results.finished
    failed = {run.run.id: run for run in results.every_begun if run.summary.state == "failed"}
    needed, gaps = experiment.resolve(), []
    unfinished = [run for run in needed if run.id not in finished]
    if lacking := [run for run in unfinished if run.id not in failed]:
        what = f"{len(lacking)} of {len(needed)} runs: {_by_network(lacking)}"
        ids = {run.id for run in lacking}
        wanted = [run for run in needed if not ids.isdisjoint((run.id, run.recipe.starts_from))]
        # Without those that detectors start from, which have a recipe of their own.
        there = [finished[run.id] for run in experiment.measured_runs if run.id in finished]
        command = _command(experiment, wanted) + as_trained(experiment, there)
        gaps.append(Gap(experiment.name, _where(experiment), what, command))
    root = results.store.root
    if root.is_absolute() and results.published:
        root = Path(root.name)  # where it lies on this machine is nobody else's business
    for run in (run for run in unfinished if run.id in failed):
        what, command = f"{_by_network([run])}, which failed", failed[run.id].command_again(root)
        gaps.append(Gap(experiment.name, _where(experiment), what, command))
    return gaps


def _missing_measurements(experiment: Experiment, results: Results) -> list[Gap]:
    """What was not measured on finished runs, and would not be by training the missing ones."""
    finished = results.finished
    every, needed = experiment.measured_runs, experiment.resolve()
    lacking = {run.id for run in needed} - set(finished)
    trained = {r.network for r in needed if not lacking.isdisjoint((r.id, r.recipe.starts_from))}
    measured = [run for run in every if run.network not in trained]
    made = {run.id: as_trained(experiment, [finished[run.id]]) for run in measured}
    # By the options with which the same command is for all.
    unmeasured: dict[tuple[str, tuple[Run, ...]], list[str]] = {}
    for name in experiment.measure:
        without = [run for run in measured if not _has(finished[run.id], name, results.store)]
        for how in dict.fromkeys(made[run.id] for run in without):
            alike = tuple(run for run in without if made[run.id] == how)
            unmeasured.setdefault((how, alike), []).append(MEASUREMENTS[name].title)
    if not unmeasured:
        return []
    there = [finished[run.id] for run in every if run.id in finished]
    options = _measured_with(experiment, there)
    return [
        Gap(
            experiment.name,
            _where(experiment),
            f"{' and '.join(titles)} of {_by_network(without)}",
            " ".join([_command(experiment, without) + how, *options]),
        )
        for (how, without), titles in unmeasured.items()
    ]


def _has(run: BegunRun, name: str, store: Store) -> bool:
    """Whether a run has a measurement, of a surface all planes in its file, of a line its end."""
    if name == "path" and other_end_moved(store, run):
        return False
    seeds = {row.directions for row in run.rows("surface")} if name == "surface" else set()
    return run.has(name) and (not seeds or len(surfaces_of(run)) == len(seeds))


def _measured_with(experiment: Experiment, runs: Sequence[BegunRun]) -> list[str]:
    """The options with which some runs were measured, so that the rest can be compared with them.

    `--set surface.images=2000`; of each measurement, none unless all who have it had the same.
    """
    options: list[str] = []
    for name in experiment.measure:
        commands = [run.origins[name].command for run in runs if name in run.origins]
        settings = {_settings(name, command) for command in commands}
        options += settings.pop() if len(settings) == 1 else ()
    return options


def _settings(measurement: str, command: str) -> tuple[str, ...]:
    """A measurement's settings in the command that made it, without a run that it was to reach."""
    fields = chosen_fields(command) or ()
    own = [field for field in fields if field.startswith(f"{measurement}.")]
    return tuple(f"--set {shlex.quote(f)}" for f in own if not f.startswith("path.to="))


def _command(experiment: Experiment, runs: Sequence[Run]) -> str:
    """What makes these of an experiment's runs, or their measurements."""
    networks = [n for n in dict.fromkeys(r.network for r in runs) if n in experiment.networks]
    everything = len(networks) == len(experiment.networks)
    return run_command(experiment, () if everything else networks)


def _missing_ensemble(experiment: Experiment, results: Results) -> list[Gap]:
    """The ensemble of an experiment whose members are all finished, if it was not measured."""
    runs = [results.finished[run.id] for run in experiment.ensemble_members]
    members = {run.id: run for run in runs}
    if not members or any(members.keys() == set(result.members) for result in results.ensembles):
        return []
    command = run_command(experiment) + as_trained(experiment, members.values())
    return [Gap(experiment.name, _where(experiment), "the ensemble", command)]


def _where(experiment: Experiment) -> str:
    return f"{experiment.preset} preset, {', '.join(map(dataset_title, experiment.datasets))}"


def _by_network(runs: Sequence[Run]) -> str:
    """`ResNet-20, ResNet-110 (seeds 1, 2)`."""
    several = len({run.dataset for run in runs}) > 1
    seeds: dict[str, list[int]] = {}
    for run in runs:
        where = f" on {dataset_title(run.dataset)}" if several else ""
        seeds.setdefault(network_title(run.network) + where, []).append(run.seed)
    texts = []
    for title, numbers in seeds.items():
        listed = f"seed{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
        texts.append(title + ("" if numbers == [0] else f" ({listed})"))
    return ", ".join(texts)
