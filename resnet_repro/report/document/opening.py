"""The report's opening sections with the main findings, and their lines for the terminal."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from resnet_repro.base.plain_text import plural
from resnet_repro.paper.papers import PAPERS, THE_PAPER
from resnet_repro.report.claims.judging import MARKS, OPPOSITE, Verdict, VerdictWord
from resnet_repro.report.groups import BegunRun, Group, group_of
from resnet_repro.report.markdown import bullets, literal, table
from resnet_repro.report.results import Results
from resnet_repro.report.table_parts import (
    DIFFERENCE_NOTES,
    ERRORS_NOTE,
    OTHERS_NOTE,
    REDUCED_NOTE,
)
from resnet_repro.spec.dataset_names import dataset_title
from resnet_repro.spec.network_names import network_title, parse_network
from resnet_repro.store.stored_run import StoredRun

__all__ = ["FOUND", "claims_section", "findings", "groups_section", "summary_section"]

FOUND = "What was found"
WORDS: tuple[VerdictWord, ...] = ("confirmed", "consistent", "undecided", "contradicted")
LEGEND = (
    f"{MARKS['confirmed']} confirmed: several seeds, and the 95% interval over them lies where the "
    "claim predicts.",
    f"{MARKS['consistent']} consistent: the numbers agree, but there is one seed only, the "
    "interval is too wide, seeds failed, or the protocol is not the paper's (*trend*).",
    f"{MARKS['undecided']} undecided: they neither agree nor clearly disagree, or the "
    "protocol is unfit to judge the claim (*preset unfit*, with the reason).",
    f"{OPPOSITE} undecided (other trend): they clearly disagree (the opposite or, where the claim "
    "says how much, much more or less), but the protocol is not the paper's.",
    f"{MARKS['contradicted']} contradicted: they clearly disagree, at the paper's protocol, by "
    "more than the rule allows for seeds. One is enough for that, though not to confirm.",
    "counted: of what networks cost, by arithmetic; exact, and nothing was trained.",
)
RULES_NOTE = (
    "The rules stand with the numbers below. Those about errors at the paper's protocol were "
    "written down before the first run ended there. What was changed or added once results were "
    "known is dated, [below](#changes-of-rules) and, where it concerns nearly every rule, at the "
    "top of `resnet_repro/paper/claims_cifar10.yaml`. On 2026-11-30 the rule for when several "
    "seeds contradict changed as well; no verdict did. A rule's margin is what the noise of single "
    "seeds may explain, roughly; a difference within it is undecided."
)
STATES = ("finished", "failed", "unfinished", "not begun", "unusable")
NARROWEST, USUAL = 60, 100  # columns of lines: at least, and where there is no terminal


def summary_section(results: Results, verdicts: Sequence[Verdict], gaps: int) -> list[str]:
    """A summary of one screen; `gaps` is the number of missing items."""
    lines = ["# Reproducing “Deep Residual Learning for Image Recognition”: report", ""]
    finished = [run for run in results.begun if run.finished]
    if not finished:
        lines += [
            "**No run has finished yet.** Start with `resnet-repro run fig1 --preset demo` "
            "(minutes, no data set needed) or see [what is missing](#what-is-missing).",
            "",
        ]
    full = sum(bool(group_of(run).papers) for run in finished)
    if finished and not full:
        lines += [
            "**No run here follows the paper's full protocol on its data sets.** No number below "
            "compares with the paper's; claims about training are judged as trends at most.",
            "",
        ]
    counts = Counter(map(_state, results.stored))
    states = [f"{counts[s]} {s}" for s in STATES if counts[s] or s == "finished"]
    counted = [verdict for verdict in verdicts if verdict.counted]
    others = [verdict for verdict in verdicts if not verdict.counted]
    texts = [_verdict_counts(paper, of) for paper, of in _by_paper(others).items()]
    texts.insert(1, f"**Claims of the paper about costs**, by counting: {_by_word(counted)}.")
    states[0] += f" ({full} at the full protocol)" if full else ""
    texts += [f"**Runs**: {', '.join(states)}.", *_uncommitted(results, finished), *_spent(results)]
    if gaps and finished:
        texts.append(f"**Missing**: {plural(gaps, 'item')}, [listed below](#what-is-missing).")
    return lines + bullets(texts)


def _by_paper(verdicts: Iterable[Verdict]) -> dict[str, list[Verdict]]:
    """Whose claims they are about -> the verdicts, in their order."""
    found: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        found.setdefault(verdict.claim.paper, []).append(verdict)
    return found


def _verdict_counts(paper: str, verdicts: Sequence[Verdict]) -> str:
    """`**Claims of the paper**: 18 of 31 judged: ✓✓ 14 confirmed, ✓ 4 consistent.`

    Questions of our own are counted apart, behind it.
    """
    own = [verdict for verdict in verdicts if verdict.claim.own]
    theirs = [verdict for verdict in verdicts if not verdict.claim.own]
    text = f"**Claims of {paper}**: {_count(theirs)}."
    return f"{text} Questions of our own: {_count(own)}." if own else text


def _count(verdicts: Sequence[Verdict]) -> str:
    """`18 of 31 judged: ✓✓ 14 confirmed, ✓ 4 consistent`.

    Behind it stands how many of these are only trends, and how many more claims were measured at a
    preset that cannot judge them.
    """
    measured = _judged(verdicts)
    judged = [verdict for verdict in measured if not verdict.unfit]
    count = f"{len(judged)} of {len(verdicts)} judged: {_by_word(judged)}"
    parts = [count if judged else f"none of {len(verdicts)} judged yet"]
    if trends := sum(verdict.trend_only for verdict in judged):
        parts.append(f"{'all' if trends == len(judged) else f'{trends} of them'} as a trend only")
    if unfit := len(measured) - len(judged):
        more = f"{unfit} more" if judged else str(unfit)
        parts.append(f"{more} measured at a preset that cannot judge them")
    return "; ".join(parts)


def _by_word(judged: Sequence[Verdict]) -> str:
    counts = Counter((verdict.mark, verdict.word) for verdict in judged)
    kinds = [(MARKS[word], word) for word in WORDS]
    kinds.insert(WORDS.index("undecided") + 1, (OPPOSITE, "undecided"))
    return ", ".join(
        f"{mark} {counts[mark, word]} {word}" + (" (other trend)" if mark == OPPOSITE else "")
        for mark, word in kinds
        if counts[mark, word]
    )


def _judged(verdicts: Iterable[Verdict]) -> list[Verdict]:
    return [verdict for verdict in verdicts if verdict.judged]


def _where(verdict: Verdict, numbers: Mapping[Group, int]) -> str:
    """`short [2]`, or `short, Imagenette [4]` where the claim is about other data."""
    if (group := verdict.group) is None:
        return ""
    same = group.dataset == verdict.claim.dataset
    data = "" if same else f", {dataset_title(group.dataset)}"
    return f"{group.preset}{data} [{numbers[group]}]"


def _state(run: StoredRun) -> str:
    if run.problem:
        return "unusable"
    states = {"done": "finished", "failed": "failed", "missing": "not begun"}
    return states.get(run.state, "unfinished")


def _uncommitted(results: Results, finished: Sequence[BegunRun]) -> list[str]:
    """`**Uncommitted code** trained 4 finished runs: [1] plain-32 (NVIDIA H100).`, if any."""
    where: dict[tuple[int, str], list[str]] = {}
    for run in finished:
        dirty = {s.hardware for s in run.summary.provenance.trained_by if s.dirty}
        if dirty:
            place = results.numbers[group_of(run)], literal(", ".join(sorted(dirty)))
            where.setdefault(place, []).append(run.run.network)
    texts = []
    for (number, hardware), networks in sorted(where.items()):
        titles = map(network_title, sorted(set(networks), key=_by_depth))
        texts.append(f"[{number}] {', '.join(titles)} ({hardware})")
    count = plural(sum(map(len, where.values())), "finished run")
    return [f"**Uncommitted code** trained {count}: {'; '.join(texts)}."] if where else []


def _spent(results: Results) -> list[str]:
    """`**Spent**: 15.2 training hours on NVIDIA H100.`"""
    summaries = [run.summary for run in results.begun]
    if not summaries:
        return []
    sessions = [session for summary in summaries for session in summary.provenance.trained_by]
    machines = "; ".join(sorted({literal(session.hardware) for session in sessions}))
    hours = sum(summary.seconds for summary in summaries) / 3600
    return [f"**Spent**: {hours:,.2f} training hours on {machines}."]


def claims_section(
    verdicts: Sequence[Verdict], numbers: Mapping[Group, int], headline: str | None = None
) -> list[str]:
    """The claims that could be judged: those at the full protocol first, then trends.

    Behind them those that the preset is unfit for, and those by counting. What could not be judged
    is in the section on what is missing.

    `headline` is the figure that shows most of it, as Markdown.
    """
    judged = _judged(verdicts)
    lines = [f"## {FOUND}", ""] + ([headline, ""] if headline else [])
    for paper, own in _by_paper(judged).items():
        rows = [
            [
                f"{v.mark} {v.label}",
                v.claim.sentence,
                v.claim.source,
                _where(v, numbers),
            ]
            for v in sorted(own, key=lambda v: (v.counted, v.unfit, v.trend_only))
        ]
        lines += [] if paper == THE_PAPER else [f"Claims of {paper}:", ""]
        lines += [PAPERS[paper].note, ""] if PAPERS[paper].note else []
        lines += [*table(["verdict", "claim", "where", "on"], rows), ""]
    lines += [*bullets(LEGEND), "", RULES_NOTE]
    if left := len(verdicts) - len(judged):
        lines += ["", f"{plural(left, 'claim')} not judged: [why](#what-is-missing)."]
    return lines


def groups_section(results: Results) -> list[str]:
    """Each protocol that was run with its number, networks and hours; how to read errors."""
    numbers = results.numbers
    if not numbers:
        return []
    rows = []
    for group, number in numbers.items():
        members = [run for run in results.begun if group_of(run) == group]
        networks = sorted({run.run.network for run in members}, key=_by_depth)
        titles = ", ".join(map(network_title, networks))
        finished = sum(run.finished for run in members)
        hours = sum(run.summary.seconds for run in members) / 3600
        row = [f"[{number}]", literal(group.caption), titles, str(finished), f"{hours:,.2f}"]
        rows.append(row)
    families = {group.family for group in numbers}
    papers = {paper for group in numbers for paper in group.papers}
    notes = [ERRORS_NOTE]
    notes += [note for paper, note in DIFFERENCE_NOTES.items() if paper in papers]
    notes += [OTHERS_NOTE] if "cifar" in families else []
    notes += [REDUCED_NOTE] if "imagenet" in families else []
    header = ["", "protocol, data, precision", "networks", "finished runs", "hours"]
    return ["## What was run", "", *table(header, rows, [3, 4]), "", *bullets(notes)]


def _by_depth(network: str) -> tuple[str, int, str]:
    name = parse_network(network)
    return (name.kind, name.depth, network)


def findings(verdicts: Sequence[Verdict], width: int | None = None) -> list[str]:
    """Lines for the terminal: one per judged claim, grouped by protocol, the most faithful first.

    An empty one stands before each protocol. `width` is the terminal's, None where there is none.
    """
    judged, room = _judged(verdicts), max(width or USUAL, NARROWEST)
    lines: list[str] = []
    groups = {verdict.group for verdict in judged}
    for group in sorted(groups, key=lambda group: group.order if group else (math.inf,)):
        caption = f"{group.caption if group else 'Counted, not trained'}:"
        lines += ["", *textwrap.wrap(caption, room)]
        own = [verdict for verdict in judged if verdict.group == group]
        column = max(len(verdict.label) for verdict in own)
        for verdict in own:
            start = f"  {verdict.label:{column}}  "
            lines += textwrap.wrap(
                f"{verdict.claim.sentence} {verdict.numbers}",
                room,
                initial_indent=start,
                subsequent_indent=" " * len(start),
                break_long_words=False,
                break_on_hyphens=False,
            )
    if left := len(verdicts) - len(judged):
        lines += ["", f"{plural(left, 'other claim' if lines else 'claim')} not judged yet"]
    return lines
