"""Which groups of runs are an experiment's: by family, data set and recipe."""

from __future__ import annotations

from pydantic import ValidationError

from resnet_repro.base.errors import ConfigError
from resnet_repro.paper.papers import HE_2016, PAPERS, THE_PAPER
from resnet_repro.paper.recipes import changes_of
from resnet_repro.report.groups import Group
from resnet_repro.spec.experiment import Choices, Experiment
from resnet_repro.spec.network_names import Family, parse_network
from resnet_repro.spec.presets import preset_recipe, training_differences
from resnet_repro.spec.recipe import changed_recipe

__all__ = ["at_group", "by_other_recipe", "family_of", "of_he_2016", "on_other_data"]


def family_of(experiment: Experiment) -> Family:
    """The family of an experiment's networks; CIFAR's where there are several or none."""
    families = {parse_network(network).family for network in experiment.networks}
    return families.pop() if len(families) == 1 else "cifar"


def of_he_2016(experiment: Experiment) -> bool:
    """Whether an experiment is an item of that paper, as its reference says."""
    return experiment.reference.startswith(HE_2016)


def on_other_data(experiment: Experiment, dataset: str) -> bool:
    """Whether a data set is that of other items of the experiment's paper.

    Of detectors, PASCAL VOC (and what is laid out like it) and COCO are told apart. The first
    paper's classification networks have one data set a family, so it is never so for them.
    """
    paper, family = HE_2016 if of_he_2016(experiment) else THE_PAPER, family_of(experiment)
    if dataset in experiment.datasets or (paper == THE_PAPER and family != "detection"):
        return False
    of_coco = experiment.of_coco or experiment.dataset.startswith("coco")
    if dataset.startswith(("voc", "coco")) and dataset.startswith("coco") != of_coco:
        return True
    return dataset in PAPERS[paper].datasets.get(family, ())


def by_other_recipe(experiment: Experiment, network: str, group: Group) -> bool:
    """Whether a network's runs in a group lack what the experiment changes in a preset's recipe.

    With another value of the changed field, as `--set` gives, they are still the experiment's.
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
    """The experiment, as its file has it, at a group's preset and data set.

    None if the group is of another family of networks or `on_other_data`, or if it differs from
    its preset in more than what the experiment itself changes.
    """
    if group.family != family_of(experiment) or on_other_data(experiment, group.dataset):
        return None
    source = experiment.source  # which has all that its presets train, also where some was chosen
    if source.fixes_iterations and group.base != source.whole.preset:
        return None
    try:
        chosen = source.whole.choose(Choices(preset=group.base, dataset=group.dataset))
        runs = chosen.measured_runs
    except (ConfigError, ValidationError):  # it does not go with this preset or data set
        return None
    same = not group.changes or group.changes in map(changes_of, runs)
    return chosen if same else None
