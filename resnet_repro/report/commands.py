"""The commands that tables and reports tell a reader to run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pydantic import ValidationError

from resnet_repro.base.errors import ConfigError
from resnet_repro.paper.papers import HE_2016, PAPERS, THE_PAPER
from resnet_repro.report.groups import Group, changes_of
from resnet_repro.spec.experiment import Choices, Experiment, Source
from resnet_repro.spec.loading import load_experiment
from resnet_repro.spec.network_names import Family, parse_network
from resnet_repro.spec.presets import preset_recipe, training_differences
from resnet_repro.spec.recipe import changed_recipe

__all__ = ["at_group", "by_other_recipe", "family_of", "of_he_2016", "on_other_data", "run_command"]


def run_command(experiment: Experiment, networks: Sequence[str] = ()) -> str:
    """The command that trains the missing runs of an experiment: `resnet-repro run fig1`.

    Of some networks: of those given, or of those that were chosen of the experiment's.
    """
    source = _source_of(experiment)
    words = ["resnet-repro", "run", shlex.quote(source.text)]
    if experiment.preset != source.preset:
        words += ["--preset", experiment.preset]
    demo, dataset = experiment.preset == "demo" and source.preset != "demo", None
    if experiment.datasets != ((experiment.demo_dataset,) if demo else source.datasets):
        dataset = experiment.datasets[0]
        words += ["--dataset", dataset]
    if experiment.precision != source.precision:
        words += ["--precision", experiment.precision]
    if networks := networks or _chosen_of(experiment, source, dataset):
        words += ["--networks", ",".join(networks)]
    return " ".join(words)


def _chosen_of(experiment: Experiment, source: Source, dataset: str | None) -> tuple[str, ...]:
    """The networks of an experiment, if some are chosen of it; else none.

    All that it has, of any preset, are no choice: it is so when it was loaded, or for a data set.
    """
    own = set(experiment.networks)
    try:
        whole = load_experiment(source.text, checked=False)
        usual = whole.choose(Choices(experiment.preset, dataset=dataset))
        there = whole.on_dataset(dataset) if dataset else whole
        if own == set(usual.networks) or not own < set(there.networks):
            return ()
    except ConfigError:  # it has been moved, or --set made it what it is
        return ()
    return experiment.networks


def _source_of(experiment: Experiment) -> Source:
    """How the experiment is named on the command line, and its values without choices."""
    source = experiment.source
    assert source is not None, "it was loaded"
    return source


def family_of(experiment: Experiment) -> Family:
    """The family of an experiment's networks; CIFAR's where there are several or none."""
    families = {parse_network(network).family for network in experiment.networks}
    return families.pop() if len(families) == 1 else "cifar"


def of_he_2016(experiment: Experiment) -> bool:
    """Whether an experiment is an item of that paper, as its reference says."""
    return experiment.reference.startswith(HE_2016)


def on_other_data(experiment: Experiment, dataset: str) -> bool:
    """Whether other items of an experiment's paper are about a data set.

    Of detectors, what is of PASCAL VOC or laid out like it is not COCO's. Never of the first
    paper's classification networks, which are on one data set a family.
    """
    paper, family = HE_2016 if of_he_2016(experiment) else THE_PAPER, family_of(experiment)
    if dataset in experiment.datasets or (paper == THE_PAPER and family != "detection"):
        return False
    of_coco = experiment.of_coco or any(name.startswith("coco") for name in experiment.datasets)
    if dataset.startswith(("voc", "coco")) and dataset.startswith("coco") != of_coco:
        return True
    return dataset in PAPERS[paper].datasets.get(family, ())


def by_other_recipe(experiment: Experiment, network: str, group: Group) -> bool:
    """Whether runs of a network have nothing of what an experiment changes in a preset's recipe.

    With another value of it, as `--set` gives, they are still the experiment's.
    """
    if not experiment.recipe or not experiment.runs:
        return False
    base = preset_recipe(group.base, network, group.dataset)
    changed = {change.partition("=")[0].partition(".")[0] for change in group.changes}
    for runs in experiment.runs:
        try:
            own = changed_recipe(base, experiment.recipe, runs.recipe)
        except ValidationError:  # it does not go with this preset
            return False
        wanted = training_differences(own, base)
        if network in runs.networks and (not wanted or not changed.isdisjoint(wanted)):
            return False
    return True


def at_group(experiment: Experiment, group: Group) -> Experiment | None:
    """The experiment at a group's preset and data set.

    None if the group is not of a preset, of another family of networks, or `on_other_data`.
    Changes to the preset that the experiment itself makes are part of it.
    """
    if group.family != family_of(experiment) or on_other_data(experiment, group.dataset):
        return None
    choices = Choices(preset=group.base, dataset=group.dataset)
    try:  # its file says what each preset trains, also where one was chosen
        chosen = load_experiment(_source_of(experiment).text, choices=choices)
    except ConfigError:  # it fixes what the preset would set
        return None
    same = not group.changes or group.changes in map(changes_of, chosen.measured_runs)
    return chosen if same else None
