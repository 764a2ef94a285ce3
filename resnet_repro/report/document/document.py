"""The report: all results beside the paper's, as Markdown.

It is a pure function of the results folder: the same results give the same text.
"""

from __future__ import annotations

from collections.abc import Sequence

from resnet_repro.base.plain_text import printable_lines
from resnet_repro.paper.claims import load_claims
from resnet_repro.report.claims.judging import Verdict, judge, main_verdicts
from resnet_repro.report.document.experiments import covers, evidence, experiment_section
from resnet_repro.report.document.missing import missing_section
from resnet_repro.report.document.opening import (
    FOUND,
    claims_section,
    groups_section,
    summary_section,
)
from resnet_repro.report.document.protocol import protocol_section
from resnet_repro.report.document.provenance import (
    cost_section,
    evaluations_section,
    provenance_section,
    runs_section,
)
from resnet_repro.report.document.rules import changes_section, power_section
from resnet_repro.report.gaps import gaps_of
from resnet_repro.report.markdown import bullets, code, literal, table
from resnet_repro.report.results import Results
from resnet_repro.report.tables import OTHERS_SOURCES_NOTE, others_table
from resnet_repro.spec.experiment import Experiment
from resnet_repro.spec.loading import load_experiment, shipped_experiments
from resnet_repro.spec.tables_figures import CostTable
from resnet_repro.store.store import Store

__all__ = ["compose_report"]

# The order of the experiments' sections; others follow.
READING_ORDER = (
    *("fig1", "fig6", "table6", "fig7", "gradients"),
    *("table2", "fig4", "signals", "table3", "table4", "table5"),
)
OTHERS_NETWORKS = (
    *("plain-20", "plain-56"),
    *("resnet-20", "resnet-32", "resnet-44", "resnet-56", "resnet-110"),
)
HEADLINES = ("fig1", "fig6")  # the first of their figures that exists opens the report
ABOVE = f"The figure stands [above](#{FOUND.lower().replace(' ', '-')})."


def compose_report(
    store: Store, experiments: Sequence[Experiment] | None = None
) -> tuple[str, list[Verdict]]:
    """The report on a results folder, which may be empty or incomplete; a verdict per claim.

    The `experiments`, by default all shipped ones, get a section each.

    Raises:
        StoreError: the folder itself cannot be read.
    """
    if experiments is None:
        experiments = [load_experiment(name) for name in shipped_experiments()]
    experiments = sorted(experiments, key=_position)
    results = Results(store)
    verdicts = judge(load_claims(), results)
    main = main_verdicts(verdicts)
    gaps = [gap for experiment in experiments for gap in gaps_of(experiment, results)]

    owned = _by_experiment(experiments, verdicts)
    by_experiment = {
        experiment.name: experiment_section(experiment, results, owned.get(experiment.name, []))
        for experiment in experiments
    }
    elsewhere = evidence(owned.get(None, []), results.numbers)  # of claims no experiment covers
    candidates = (line for name in HEADLINES for line in by_experiment.get(name, ()))
    headline = next((line for line in candidates if line.startswith("![")), None)
    found = claims_section(main, results.numbers, headline)
    if headline:  # shown once, at the top
        for lines in by_experiment.values():
            lines[:] = [ABOVE if line == headline else line for line in lines]
    sections = [
        summary_section(results, main, len(gaps)),
        found,
        groups_section(results),
        *by_experiment.values(),
        ["## Other claims", "", *elsewhere] if elsewhere else [],
        _others_section() if any(group.family == "cifar" for group in results.numbers) else [],
        missing_section(experiments, gaps, main, results.numbers),
        _problems_section(results),
        protocol_section(results.numbers),
        changes_section(),
        power_section() if results.stored else [],
        provenance_section(results),
        cost_section(results),
        runs_section(results),
        evaluations_section(results),
    ]
    text = "\n\n".join("\n".join(section) for section in sections if section) + "\n"
    return _without_paths(printable_lines(text), store), main


def _position(experiment: Experiment) -> tuple[bool, int]:
    positions = {name: position for position, name in enumerate(READING_ORDER)}
    position = positions.get(experiment.name, len(positions))
    return (isinstance(experiment.table, CostTable), position)


def _by_experiment(
    experiments: Sequence[Experiment], verdicts: Sequence[Verdict]
) -> dict[str | None, list[Verdict]]:
    """The verdicts by the first experiment that covers their claim; under None those of none."""
    found: dict[str | None, list[Verdict]] = {}
    for verdict in verdicts:
        owner = next((e.name for e in experiments if covers(e, verdict.claim)), None)
        found.setdefault(owner, []).append(verdict)
    return found


def _others_section() -> list[str]:
    """The reproductions as a section of the report, with links."""
    found = others_table(OTHERS_NETWORKS)
    *columns, _ = found.columns
    rows = [
        [f"[{row['name']}]({row['link']})", *(str(row.get(c.key, "")) for c in columns[1:])]
        for row in found.rows
    ]
    numbers = [index for index, column in enumerate(columns) if column.number]
    lines = table([column.header for column in columns], rows, numbers)
    return ["## What others got", "", *lines, "", OTHERS_SOURCES_NOTE]


def _problems_section(results: Results) -> list[str]:
    texts = [
        f"{code(run.id)}: {literal(run.problem)}; left out" for run in results.stored if run.problem
    ]
    for run in results.begun:
        if run.state == "failed":
            reason = (run.summary.failure or "").strip() or "no reason recorded"
            texts.append(f"{code(run.id)}: failed: {literal(reason.splitlines()[0][:200])}")
    return ["## Problems", "", *bullets(texts)] if texts else []


def _without_paths(text: str, store: Store) -> str:
    """The text with the results folder's path replaced by `results`."""
    for path in sorted({str(store.root.resolve()), str(store.root)}, key=len, reverse=True):
        if "/" in path or "\\" in path:
            text = text.replace(path, "results")
    return text
