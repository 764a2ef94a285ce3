"""The report's first sections: how many of the paper's claims stand, which, and what was run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from resnet_repro.report.claims.judging import MARKS, OPPOSITE, Verdict, VerdictWord
from resnet_repro.report.groups import Group, group_of
from resnet_repro.report.markdown import bullets, literal, plural, table
from resnet_repro.report.table_parts import (
    DIFFERENCE_NOTE,
    ERRORS_NOTE,
    OTHERS_NOTE,
    REDUCED_NOTE,
)
from resnet_repro.spec.network_names import network_title
from resnet_repro.store.stored_run import StoredRun

__all__ = ["FOUND", "claims_section", "groups_section", "summary_section"]

Numbers = Mapping[Group, int]
FOUND = "What was found"
WORDS: tuple[VerdictWord, ...] = ("confirmed", "consistent", "undecided", "contradicted")
LEGEND = (
    f"{MARKS['confirmed']} confirmed: several seeds, and the 95% interval over them lies where the "
    "claim predicts.",
    f"{MARKS['consistent']} consistent: the numbers agree, but there is one seed only, the "
    "interval is too wide, seeds failed, or the protocol is not the paper's (*trend*).",
    f"{MARKS['undecided']} undecided: they neither agree nor clearly disagree, or the "
    "protocol is unfit to judge the claim (*preset unfit*, with the reason).",
    f"{OPPOSITE} undecided (opposite trend): they clearly disagree, but the protocol is not the "
    "paper's.",
    f"{MARKS['contradicted']} contradicted: they clearly disagree.",
)
RULES_NOTE = (
    "The rules were written down before the results (`resnet_repro/paper/claims_*.yaml`, where "
    "what was added later is marked) and stand with the numbers below."
)


def summary_section(
    runs: Sequence[StoredRun], numbers: Numbers, verdicts: Sequence[Verdict], gaps: int
) -> list[str]:
    """One screen, from the answer to the details."""
    lines = ["# Reproducing “Deep Residual Learning for Image Recognition”: report", ""]
    finished = [run for run in runs if run.finished]
    if not finished:
        lines += [
            "**No run has finished yet.** Start with `resnet-repro run fig1 --preset demo` "
            "(minutes, no data set needed) or see [what is missing](#what-is-missing).",
            "",
        ]
    elif not any(group_of(run) in _faithful(numbers) for run in finished):
        lines += [
            "**No run here follows the paper's full protocol on its data sets.** No number below "
            "can be held against the paper's; claims about training are judged as trends at most.",
            "",
        ]
    texts = [_verdict_counts(verdicts), _run_counts(runs), *_spent(runs)]
    if gaps and finished:
        texts.append(f"**Missing**: {plural(gaps, 'item')}, [listed below](#what-is-missing).")
    return lines + bullets(texts)


def groups_section(runs: Sequence[StoredRun], numbers: Numbers) -> list[str]:
    """What was run: each protocol with its number, networks and hours, and how to read errors."""
    lines: list[str] = []
    if numbers:
        rows = [_group_row(group, number, runs) for group, number in numbers.items()]
        header = ["", "protocol, data, precision", "networks", "finished runs", "hours"]
        families = {group.family for group in numbers}
        notes = [ERRORS_NOTE]
        notes += [DIFFERENCE_NOTE] if any(group.faithful for group in numbers) else []
        notes += [OTHERS_NOTE] if "cifar" in families else []
        notes += [REDUCED_NOTE] if "imagenet" in families else []
        lines = ["## What was run", "", *table(header, rows, [3, 4]), "", *bullets(notes)]
    return lines


def _faithful(numbers: Numbers) -> list[Group]:
    return [group for group in numbers if group.faithful]


def _verdict_counts(verdicts: Sequence[Verdict]) -> str:
    """`**Claims of the paper**: 18 of 31 judged: ✓✓ 14 confirmed, ✓ 4 consistent.`

    How many of these are trends only stands behind it.
    """
    judged = [verdict for verdict in verdicts if verdict.word != "not run"]
    if not judged:
        return f"**Claims of the paper**: none of {len(verdicts)} judged yet."
    counts = Counter((verdict.mark, verdict.word) for verdict in judged)
    kinds = [(MARKS[word], word) for word in WORDS]
    kinds.insert(WORDS.index("undecided") + 1, (OPPOSITE, "undecided"))
    texts = [
        f"{mark} {counts[mark, word]} {word}" + (" (opposite trend)" if mark == OPPOSITE else "")
        for mark, word in kinds
        if counts[mark, word]
    ]
    trends = sum(verdict.trend_only for verdict in judged)
    notes = [f"{'all' if trends == len(judged) else trends} on a trend only"] if trends else []
    unfit = sum(bool(verdict.unfit) for verdict in judged)
    notes += [f"{unfit} undecided because the preset is unfit"] if unfit else []
    note = f"; {', '.join(notes)}" if notes else ""
    told = f"{len(judged)} of {len(verdicts)} judged: {', '.join(texts)}{note}"
    return f"**Claims of the paper**: {told}."


def _run_counts(runs: Sequence[StoredRun]) -> str:
    """`**Runs**: 12 finished, 1 failed.`"""
    names = ("finished", "failed", "unfinished", "not begun", "unusable")
    counts = Counter(_state(run) for run in runs)
    texts = [f"{counts[name]} {name}" for name in names if counts[name] or name == "finished"]
    return f"**Runs**: {', '.join(texts)}."


def _state(run: StoredRun) -> str:
    if run.problem:
        return "unusable"
    states = {"done": "finished", "failed": "failed", "missing": "not begun"}
    return states.get(run.state, "unfinished")


def _spent(runs: Sequence[StoredRun]) -> list[str]:
    """`**Spent**: 15.2 training hours on NVIDIA H100.`"""
    summaries = [run.summary for run in runs if run.summary and not run.problem]
    if not summaries:
        return []
    sessions = [session for summary in summaries for session in summary.provenance.trained_by]
    machines = "; ".join(sorted({literal(session.hardware) for session in sessions}))
    hours = sum(summary.seconds for summary in summaries) / 3600
    return [f"**Spent**: {hours:,.2f} training hours on {machines}."]


def _group_row(group: Group, number: int, runs: Sequence[StoredRun]) -> list[str]:
    members = [run.summary for run in runs if group_of(run) == group and run.summary]
    done = [run.summary for run in runs if group_of(run) == group and run.finished and run.summary]
    networks = sorted({summary.network for summary in members}, key=_by_depth)
    hours = sum(summary.seconds for summary in members) / 3600
    titles = ", ".join(network_title(network) for network in networks)
    return [f"[{number}]", literal(group.caption), titles, str(len(done)), f"{hours:,.2f}"]


def _by_depth(network: str) -> tuple[str, int, str]:
    kind, _, rest = network.partition("-")
    return (kind, int(rest.split("-")[0]), rest)


def claims_section(
    verdicts: Sequence[Verdict], numbers: Numbers, headline: str | None = None
) -> list[str]:
    """The claims that could be judged; what became of the others stands under what is missing.

    `headline` is the figure that shows most of it, as Markdown.
    """
    judged = [verdict for verdict in verdicts if verdict.word != "not run"]
    if not judged:
        return []
    rows = [
        [
            f"{v.mark} {v.label}",
            v.claim.sentence,
            v.claim.source,
            f"[{numbers[v.group]}]" if v.group else "",
        ]
        for v in judged
    ]
    figure = [headline, ""] if headline else []
    header = ["verdict", "claim", "where", "on"]
    lines = [f"## {FOUND}", "", *figure, *table(header, rows), "", *bullets(LEGEND), "", RULES_NOTE]
    left = len(verdicts) - len(judged)
    if left:
        lines += ["", f"{plural(left, 'claim')} not judged: [why](#what-is-missing)."]
    return lines
