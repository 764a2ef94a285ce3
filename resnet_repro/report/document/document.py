"""The report: everything that was measured, beside what the paper says, as Markdown.

A pure function of the results folder: the same results give the same text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from resnet_repro.base.plain_text import printable_lines
from resnet_repro.paper.claims import load_claims
from resnet_repro.report.claims.judging import Verdict, evaluate, main_verdicts
from resnet_repro.report.document.experiments import covers, evidence, experiment_section
from resnet_repro.report.document.missing import gaps_of, missing_section
from resnet_repro.report.document.power import power_section
from resnet_repro.report.document.protocol import protocol_section
from resnet_repro.report.document.provenance import (
    cost_section,
    evaluations_section,
    provenance_section,
    runs_section,
)
from resnet_repro.report.document.summary import (
    FOUND,
    claims_section,
    groups_section,
    summary_section,
)
from resnet_repro.report.groups import Group
from resnet_repro.report.markdown import bullets, code, literal
from resnet_repro.report.others import others_section
from resnet_repro.report.results import Results
from resnet_repro.report.tables import read_costs
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.shows import CostTable
from resnet_repro.store.store import Store
from resnet_repro.store.stored_run import StoredRun

__all__ = ["report_and_verdicts", "write_report"]

# The order in which one reads them.
ARGUMENT = (
    *("fig1", "fig6", "table6", "fig7", "gradients"),
    *("table2", "fig4", "signals", "table3", "table4", "table5"),
)

HEADLINES = ("fig1", "fig6")  # of their figures, the first that is there opens the report


def write_report(store: Store, experiments: Sequence[Experiment]) -> str:
    """The report on a results folder, empty and partial ones included.

    Raises:
        StoreError: the folder itself, or the CSV of a cost table, cannot be read.
    """
    return report_and_verdicts(store, experiments)[0]


def report_and_verdicts(
    store: Store, experiments: Sequence[Experiment]
) -> tuple[str, list[Verdict]]:
    """The report, and one verdict per claim as it gives them; raises as `write_report`."""
    experiments = sorted(experiments, key=_reading_order)
    results = Results(store)
    runs, numbers = results.stored, results.numbers
    counted = [read_costs(e, store) for e in experiments if isinstance(e.table, CostTable)]
    costs = {network: row for found in counted for network, row in found.items()}
    verdicts = evaluate(load_claims(), results, costs)
    main = main_verdicts(verdicts)
    gaps = [gap for e in experiments for gap in gaps_of(e, store, runs, numbers)]
    owner = _owners(experiments)
    told: dict[str, list[str]] = {}
    for experiment in experiments:
        own = [v for v in verdicts if owner.get(v.claim.id) == experiment.name]
        told[experiment.name] = experiment_section(experiment, results, own)
    headline = _headline(told)
    found = claims_section(main, numbers, headline)
    if found and headline:  # shown once, where one looks first
        above = f"The figure stands [above](#{FOUND.lower().replace(' ', '-')})."
        for lines in told.values():
            lines[:] = [above if line == headline else line for line in lines]
    sections = [
        summary_section(runs, numbers, main, len(gaps)),
        found,
        groups_section(runs, numbers),
        *told.values(),
    ]
    elsewhere = [v for v in verdicts if v.claim.id not in owner]
    sections += [
        _elsewhere_section(elsewhere, numbers),
        others_section() if any(group.family == "cifar" for group in numbers) else [],
        missing_section(gaps, main, experiments, numbers),
        _problems_section(runs),
        protocol_section(numbers),
        power_section() if runs else [],
        provenance_section(runs),
        cost_section(runs),
        runs_section(runs, numbers),
        evaluations_section(results.externals, results.ensembles),
    ]
    text = "\n\n".join("\n".join(section) for section in sections if section) + "\n"
    return _without_paths(printable_lines(text), store), main


def _headline(told: Mapping[str, Sequence[str]]) -> str | None:
    """The figure that shows the most, as the section of its experiment has it."""
    figures = (line for name in HEADLINES for line in told.get(name, ()) if line[:2] == "![")
    return next(figures, None)


def _elsewhere_section(verdicts: Sequence[Verdict], numbers: Mapping[Group, int]) -> list[str]:
    """The evidence for claims that no single experiment covers."""
    judged = [verdict for verdict in verdicts if verdict.word != "not run"]
    return ["## Other claims", "", *evidence(judged, numbers)] if judged else []


def _reading_order(experiment: Experiment) -> tuple[bool, int]:
    known = ARGUMENT.index(experiment.name) if experiment.name in ARGUMENT else len(ARGUMENT)
    return (isinstance(experiment.table, CostTable), known)


def _owners(experiments: Sequence[Experiment]) -> dict[str, str]:
    """Claim -> the first experiment that covers it, in whose section it is told."""
    owners: dict[str, str] = {}
    for experiment in experiments:
        for claim in load_claims():
            if covers(experiment, claim):
                owners.setdefault(claim.id, experiment.name)
    return owners


def _problems_section(runs: Sequence[StoredRun]) -> list[str]:
    texts = [f"{code(run.id)}: {literal(run.problem)}; left out" for run in runs if run.problem]
    for run in runs:
        if not run.problem and run.state == "failed" and run.summary:
            texts.append(f"{code(run.id)}: failed: {literal(_first_line(run.summary.failure))}")
    return ["## Problems", "", *bullets(texts)] if texts else []


def _first_line(text: str | None) -> str:
    lines = (text or "no reason recorded").strip().splitlines()
    return lines[0][:200] if lines else "no reason recorded"


def _without_paths(text: str, store: Store) -> str:
    """The text with the results folder's place on this machine replaced by `results`."""
    for path in sorted({str(store.root.resolve()), str(store.root)}, key=len, reverse=True):
        if "/" in path or "\\" in path:
            text = text.replace(path, "results")
    return text
