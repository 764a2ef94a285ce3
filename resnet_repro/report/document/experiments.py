"""An experiment's section of the report: its table, its figures, its verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from resnet_repro.paper.claims import Claim
from resnet_repro.paper.exact import ExactRule
from resnet_repro.paper.quantities import QUANTITIES
from resnet_repro.report.claims.judging import Verdict
from resnet_repro.report.document.rules import numbered_changes
from resnet_repro.report.figures.figures import figure_mark, figure_names
from resnet_repro.report.groups import Group
from resnet_repro.report.markdown import literal
from resnet_repro.report.rendering import Table, render_table
from resnet_repro.report.results import Results
from resnet_repro.report.tables import make_table
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.tables_figures import CostTable, ErrorTable

__all__ = ["covers", "evidence", "experiment_section"]

SUFFIXES = ("png", "svg")  # of figures that a page can show
MOST_HASHES = 6  # runs behind a verdict that are listed one by one
MOST_SPARE = 3  # columns with a higher `spare` repeat the method or Table 1
GroupNumbers = Mapping[Group, int]


def covers(experiment: Experiment, claim: Claim) -> bool:
    """Whether an experiment trains and measures, or counts, everything that a claim needs."""
    if isinstance(claim.rule, ExactRule):
        return isinstance(experiment.table, CostTable)
    if claim.command or not experiment.runs:
        return False
    needed = QUANTITIES[claim.rule.quantity].measured
    measured = needed is None or needed in experiment.measure
    return measured and set(claim.networks) <= set(experiment.networks)


def experiment_section(
    experiment: Experiment, results: Results, verdicts: Sequence[Verdict]
) -> list[str]:
    """The section as lines, none if nothing was run; `verdicts` are those for this section."""
    parts = [_table(experiment, results), _figures(experiment, results)]
    if shown := evidence(verdicts, results.numbers):
        who = "counting says" if isinstance(experiment.table, CostTable) else "the runs say"
        lead = f"What {who} of the paper's claims:"
        parts.append([lead, "", *shown])
    lines = [f"## {literal(experiment.reference or experiment.name)} (`{experiment.name}`)"]
    if experiment.table is None:
        lines += ["", f"**{literal(experiment.title)}**"]
    for part in parts:
        if part:
            lines += ["", *part]
    return lines if any(parts) else []


def _table(experiment: Experiment, results: Results) -> list[str]:
    """The table, if anything in it was measured or its runs have at least begun.

    A table of errors has only the networks that were run, unless it repeats a table of the paper.
    """
    if experiment.table is None:
        return []
    made = make_table(experiment, results, others=True)
    rows = [*made.rows, *(made.below.rows if made.below else ())]
    if not any({"where", "agrees"} & row.keys() for row in rows):
        return []
    if isinstance(experiment.table, ErrorTable) and not experiment.table.literature:
        run = {row["network"] for row in made.rows if "where" in row}
        made = replace(made, rows=[row for row in made.rows if row["network"] in run])
    return render_table(_shared(made), "md").strip().splitlines()


def _shared(made: Table) -> Table:
    """A table without notes that the report has already, and without the least needed columns."""
    columns = [column for column in made.columns if column.spare <= MOST_SPARE]
    notes = made.notes if made.own is None else made.own
    below = made.below and _shared(made.below)
    return replace(made, columns=columns, notes=notes, below=below)


def _figures(experiment: Experiment, results: Results) -> list[str]:
    """The figures of these results, the main one first, or the command that draws them."""
    if experiment.plot is None:
        return []
    names = figure_names(experiment, results)
    shown: dict[Group | None, str] = {}
    outdated = False
    for name, group in names.items():
        if group in shown:
            continue
        mark = figure_mark(experiment, results, group).encode()
        for path in (f"figures/{name}.{suffix}" for suffix in SUFFIXES):
            content = results.store.read_figure(path)
            if content is not None and mark in content:
                shown[group] = path
                break
            outdated |= content is not None
    parts = []
    for group, path in shown.items():
        text = ". ".join([experiment.heading, *([group.caption] if group else [])])
        parts.append(f"![{literal(text)}]({path})")
    draws = f"`resnet-repro plot {experiment.name}`"
    if outdated:
        parts.append(f"A picture there was drawn from other results: {draws} draws it anew.")
    elif names and not parts and experiment.runs:
        parts.append(f"Not drawn yet: {draws}")
    return "\n\n".join(parts).splitlines()


def evidence(verdicts: Sequence[Verdict], numbers: GroupNumbers) -> list[str]:
    """Each claim that was judged once with its rule, below it the verdict of each group of runs."""
    lines, judged = [], [verdict for verdict in verdicts if verdict.judged]
    for claim in dict.fromkeys(verdict.claim for verdict in judged):
        lines.append(f"- {claim.sentence} ({claim.source})")
        lines.append(f"  - rule: {claim.rule.words()}{numbered_changes(claim)}")
        lines += [f"  - {_verdict(v, numbers)}" for v in judged if v.claim == claim]
    return lines


def _verdict(verdict: Verdict, numbers: GroupNumbers) -> str:
    """`**consistent** on [2]: numbers. Runs 3f9c2a71, 0d920dd4.`, by the hash in their ids."""
    where = f" on [{numbers[verdict.group]}]" if verdict.group else ""
    hashes = ", ".join(run.rpartition("-")[2] for run in verdict.runs)
    if len(verdict.runs) > MOST_HASHES:
        hashes = f"all {len(verdict.runs)} of these networks, [listed below](#every-run)"
    text = f"**{verdict.mark} {verdict.label}**{where}: {verdict.numbers}."
    return f"{text} Runs: {hashes}." if hashes else text
