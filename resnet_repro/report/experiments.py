"""An experiment's section of the report: its table, its figures, its verdicts."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_repro.paper import Claim
from resnet_repro.report.claims import Verdict
from resnet_repro.report.commands import run_command
from resnet_repro.report.figures import drawable_cells, figure_names
from resnet_repro.report.groups import Group
from resnet_repro.report.markdown import bullets
from resnet_repro.report.rendering import render_table
from resnet_repro.report.tables import cost_table, error_table
from resnet_repro.spec import CostTable, Experiment
from resnet_repro.store import Store, StoredRun

__all__ = ["covers", "experiment_section"]

SUFFIXES = ("png", "svg")  # what a page can show


def covers(experiment: Experiment, claim: Claim) -> bool:
    """Whether an experiment trains, and measures, all that a claim needs."""
    if claim.command or claim.unavailable or not experiment.runs:
        return False
    measured = claim.rule.quantity != "mean_response" or "responses" in experiment.measure
    return measured and set(claim.networks) <= set(experiment.networks)


def experiment_section(
    experiment: Experiment, store: Store, runs: Sequence[StoredRun], verdicts: Sequence[Verdict]
) -> list[str]:
    """The section as lines; `verdicts` are those to be told here."""
    lines = [f"## {experiment.name}", ""]
    if experiment.table is None:
        reference = f"{experiment.reference}: " if experiment.reference else ""
        lines += [f"**{reference}{experiment.title}**"]
    elif isinstance(experiment.table, CostTable):
        lines += render_table(cost_table(experiment, store), "md").splitlines()
    else:
        lines += render_table(error_table(experiment, runs), "md").splitlines()
    if experiment.plot is not None:
        lines += _figures(experiment, store, runs)
    judged = [verdict for verdict in verdicts if verdict.word != "not run"]
    if judged:
        lines += ["", "Claims that these runs judge:", ""]
        lines += bullets(_verdict(verdict) for verdict in judged)
    return lines


def _figures(experiment: Experiment, store: Store, runs: Sequence[StoredRun]) -> list[str]:
    """The figures there are, the main one first, or the command that draws them."""
    names = figure_names(experiment, drawable_cells(experiment, runs))
    if not names:
        return ["", f"No figure: nothing to draw yet. `{run_command(experiment)}`"]
    shown: dict[Group, str] = {}
    for name, group in names.items():
        suffix = next((s for s in SUFFIXES if store.figure_path(name, s).is_file()), None)
        if suffix and group not in shown:
            shown[group] = f"figures/{name}.{suffix}"
    if not shown:
        return ["", f"Not drawn yet: `resnet-repro plot {experiment.name}`"]
    pictures = [
        f"![{experiment.reference or experiment.name}, {group.caption}]({path})"
        for group, path in shown.items()
    ]
    return [line for picture in pictures for line in ("", picture)]


def _verdict(verdict: Verdict) -> str:
    """`**confirmed**: sentence (source). Numbers. Judged on: group; runs`."""
    claim, group = verdict.claim, verdict.group
    judged_on = f" Judged on: {group.caption}." if group else ""
    ids = ", ".join(f"`{run}`" for run in verdict.runs)
    return (
        f"**{verdict.label}**: {claim.sentence} ({claim.source}) {verdict.numbers}.{judged_on} "
        f"Runs: {ids}."
    )
