"""The section on what is missing in the results folder, with the commands that add it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from resnet_repro.paper.papers import FAMILIES
from resnet_repro.report.claims.judging import Verdict
from resnet_repro.report.document.rules import numbered_changes
from resnet_repro.report.experiment_groups import family_of
from resnet_repro.report.gaps import Gap
from resnet_repro.report.groups import Group
from resnet_repro.report.markdown import table
from resnet_repro.spec.dataset_names import dataset_title
from resnet_repro.spec.experiment import Experiment

__all__ = ["missing_section"]

NOT_BUILT = (
    "Of the paper this tool has no experiments on what the appendices add to the baseline of "
    "detection (box refinement, context, several scales, ensembles: Table 9), on VOC 2012's test "
    "(Table 11), whose boxes are not public, and on ImageNet's detection and localisation."
)


def missing_section(
    experiments: Sequence[Experiment],
    gaps: Sequence[Gap],
    verdicts: Sequence[Verdict],
    groups: Collection[Group],
) -> list[str]:
    """The gaps with the commands that fill them, and the claims that could not be judged."""
    unjudged = [verdict for verdict in verdicts if not verdict.judged]
    lines = ["## What is missing"]
    if gaps:
        rows = [[gap.experiment, gap.where, gap.what, f"`{gap.command}`"] for gap in gaps]
        lines += ["", *table(["experiment", "at", "missing", "command that fills it"], rows)]
        lines += [
            "",
            "The commands are for a folder called `results`; for another add "
            "`--results FOLDER`. "
            "Runs that experiments share are trained once; `--dry-run` tells the cost. What is "
            "measured on trained networks needs their weights, which are not published: where they "
            "are not, `--force` trains the networks again.",
        ]
    lines += [*_untouched(experiments, groups), "", NOT_BUILT]
    if unjudged:
        rows = []
        for verdict in unjudged:
            command = f": `{verdict.claim.command}`" if verdict.claim.command else ""
            why = f"{verdict.numbers}{command}{numbered_changes(verdict.claim)}"
            rows.append([verdict.claim.sentence, why])
        lines += ["", "Claims that could not be judged:", "", *table(["claim", "why"], rows)]
    return lines


def _untouched(experiments: Sequence[Experiment], groups: Collection[Group]) -> list[str]:
    """What was not begun at all, or not at the paper preset, of each family of networks."""
    lines: list[str] = []
    for family in FAMILIES:
        presets = {group.preset for group in groups if group.family == family}
        if not groups or "paper" in presets:
            continue
        names: dict[str, list[str]] = {}  # by what they are on
        for one in experiments:
            if one.runs and family_of(one) == family:
                names.setdefault(one.datasets[0], []).append(one.name)
        for dataset, own in names.items():
            command, data = f"`resnet-repro run {' '.join(own)}`", dataset_title(dataset)
            if presets:
                text = f"At the paper preset nothing was run on {data}: {command}"
            else:
                text = f"Of the experiments on {data} nothing was run: {command}"
            if family == "imagenet" and not presets:
                text += "; at reduced scale with `--preset short --dataset imagenette`"
            if family == "detection" and not presets:
                text += "; at reduced scale: docs/detection.md"
            lines += ["", text]
    return lines
