"""The report: everything that was measured, beside what the paper says, as Markdown.

A pure function of the results folder: the same results give the same text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from resnet_repro.errors import StoreError
from resnet_repro.paper import load_claims
from resnet_repro.report.claims import Verdict, VerdictWord, evaluate, main_verdicts
from resnet_repro.report.experiments import covers, experiment_section
from resnet_repro.report.groups import Group, group_of
from resnet_repro.report.markdown import bullets, plural, table
from resnet_repro.report.missing import Gap, gaps_of
from resnet_repro.report.provenance import (
    cost_section,
    protocol_section,
    provenance_section,
    runs_section,
)
from resnet_repro.spec import Experiment
from resnet_repro.store import Store, StoredRun

__all__ = ["write_report"]

WORDS: tuple[VerdictWord, ...] = (
    "confirmed",
    "consistent",
    "undecided",
    "contradicted",
    "not run",
)
LEGEND = (
    "*confirmed*: the 95% interval over seeds lies where the claim predicts; *consistent*: the "
    "numbers agree, but there is one seed only, the interval is too wide, seeds failed, or the "
    "protocol is not the paper's (*trend*); *undecided*: they neither agree nor clearly disagree; "
    "*contradicted*: they clearly disagree. The rules were written down before the results: "
    "`resnet_repro/paper/claims.yaml`."
)


def write_report(store: Store, experiments: Sequence[Experiment]) -> str:
    """The report on a results folder, empty and partial ones included.

    Raises:
        StoreError: the folder itself, or the CSV of a cost table, cannot be read.
    """
    runs = [_checked(run) for run in store.all_runs()]
    verdicts = evaluate(load_claims(), runs)
    main = main_verdicts(verdicts)
    groups = _groups(runs)
    gaps = [gap for experiment in experiments for gap in gaps_of(experiment, store, runs)]
    owner = _owners(experiments)
    sections = [_summary(runs, groups, main, len(gaps)), _claims_section(main)]
    for experiment in experiments:
        own = [v for v in verdicts if owner.get(v.claim.id) == experiment.name]
        sections.append(experiment_section(experiment, store, runs, own))
    sections += [
        protocol_section(groups),
        provenance_section(runs),
        cost_section(runs),
        _missing_section(gaps, main),
        _problems_section(runs),
        runs_section(runs),
    ]
    text = "\n\n".join("\n".join(section) for section in sections if section) + "\n"
    return _without_paths(text, store)


def _owners(experiments: Sequence[Experiment]) -> dict[str, str]:
    """Claim -> the first experiment that covers it, in whose section it is told."""
    owners: dict[str, str] = {}
    for experiment in experiments:
        for claim in load_claims():
            if covers(experiment, claim):
                owners.setdefault(claim.id, experiment.name)
    return owners


def _checked(run: StoredRun) -> StoredRun:
    """A finished run, set aside with its problem if a file of its measurements is damaged."""
    if not run.finished:
        return run
    for name, read in (("curve.csv", run.curve), ("responses.csv", run.responses)):
        try:
            read()
        except StoreError:
            return replace(run, problem=f"{name} is torn or unreadable")
    return run


def _groups(runs: Sequence[StoredRun]) -> list[Group]:
    groups = {group for run in runs if run.finished and (group := group_of(run)) is not None}
    return sorted(groups, key=lambda group: group.order)


def _summary(
    runs: Sequence[StoredRun],
    groups: Sequence[Group],
    verdicts: Sequence[Verdict],
    gaps: int,
) -> list[str]:
    """One screen: what was run, on what, how the claims stand."""
    lines = ["# Deep Residual Learning for Image Recognition, reproduced", ""]
    if not groups:
        lines += ["**No run has finished yet.**", ""]
    elif not any(group.faithful for group in groups):
        lines += [
            "**No run here follows the paper's full protocol on CIFAR-10.** No number below can be "
            "held against the paper's; claims are judged as trends at most.",
            "",
        ]
    lines += bullets([_run_counts(runs), *_hardware(runs), _verdict_counts(verdicts)])
    if gaps:
        lines += bullets([f"Missing: {plural(gaps, 'item')}, see [below](#what-is-missing)."])
    if groups:
        rows = [_group_row(group, runs) for group in groups]
        header = ["protocol and data", "networks", "runs", "training hours"]
        lines += ["", *table(header, rows, [2, 3])]
    return lines


def _run_counts(runs: Sequence[StoredRun]) -> str:
    """`Runs: 12 finished, 1 failed`."""
    names = ("finished", "failed", "unfinished", "not begun", "unusable")
    counts = Counter(_state(run) for run in runs)
    texts = [f"{counts[name]} {name}" for name in names if counts[name] or name == "finished"]
    return f"Runs: {', '.join(texts)}."


def _state(run: StoredRun) -> str:
    if run.problem:
        return "unusable"
    states = {"done": "finished", "failed": "failed", "missing": "not begun"}
    return states.get(run.state, "unfinished")


def _hardware(runs: Sequence[StoredRun]) -> list[str]:
    machines = sorted({r.summary.provenance.hardware for r in runs if r.summary and not r.problem})
    return [f"Hardware: {'; '.join(machines)}."] if machines else []


def _verdict_counts(verdicts: Sequence[Verdict]) -> str:
    counts = Counter(verdict.word for verdict in verdicts)
    trends = sum(verdict.trend_only for verdict in verdicts)
    texts = [f"{counts[word]} {word}" for word in WORDS if counts[word]]
    note = f" ({plural(trends, 'verdict')} on a trend only)" if trends else ""
    return f"Claims of the paper: {', '.join(texts)}{note}."


def _group_row(group: Group, runs: Sequence[StoredRun]) -> list[str]:
    members = [run for run in runs if run.finished and group_of(run) == group and run.summary]
    networks = sorted({run.summary.network for run in members if run.summary}, key=_by_depth)
    hours = sum(run.summary.seconds for run in members if run.summary) / 3600
    return [group.caption, ", ".join(networks), str(len(members)), f"{hours:.2f}"]


def _by_depth(network: str) -> tuple[str, int, str]:
    kind, _, rest = network.partition("-")
    return (kind, int(rest.split("-")[0]), rest)


def _claims_section(verdicts: Sequence[Verdict]) -> list[str]:
    rows = [
        [v.claim.sentence, v.claim.source, v.label, v.group.caption if v.group and v.runs else ""]
        for v in verdicts
    ]
    header = ["claim", "source", "verdict", "judged on"]
    return ["## Claims", "", *table(header, rows), "", LEGEND]


def _missing_section(gaps: Sequence[Gap], verdicts: Sequence[Verdict]) -> list[str]:
    unjudged = [verdict for verdict in verdicts if verdict.word == "not run"]
    lines = ["## What is missing", ""]
    if gaps:
        rows = [[gap.experiment, gap.what, f"`{gap.command}`"] for gap in gaps]
        lines += table(["experiment", "missing", "command"], rows)
    if unjudged:
        lines += ["", "Claims that nothing here can judge:", ""]
        lines += bullets(_why_not(verdict) for verdict in unjudged)
    return lines if gaps or unjudged else []


def _why_not(verdict: Verdict) -> str:
    command = f" (`{verdict.claim.command}`)" if verdict.claim.command else ""
    return f"{verdict.claim.sentence} *{verdict.numbers}{command}*"


def _problems_section(runs: Sequence[StoredRun]) -> list[str]:
    texts = [f"`{run.id}`: {run.problem}; left out" for run in runs if run.problem]
    for run in runs:
        if not run.problem and run.state == "failed" and run.summary:
            texts.append(f"`{run.id}`: failed: {_first_line(run.summary.failure)}")
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
