"""Judging the paper's claims by the results.

A rule becomes one or more conditions; the verdict on a claim is that on its weakest condition.

With two seeds or more on every side, the 95% confidence interval decides: the condition is
*confirmed* if all of the interval satisfies it, *contradicted* if none of it does. Otherwise, or
with a single seed on a side, it is *consistent* if the mean satisfies it by more than the rule's
margin, *contradicted* if the mean misses it by more than that and so does, by whatever amount,
every choice of one seed of each network, and else *undecided*: no verdict is weaker by further
seeds that agree. It is at most *consistent* if seeds failed, since the others may have been lucky.

Runs of reduced or otherwise changed protocols say nothing about the paper's: they are *consistent*
if they show the trend, otherwise *undecided*, and marked if they clearly show the opposite. They do
not judge claims about a number, nor claims for which their preset is `unfit`, nor by networks that
have hardly learned. Margins are wider there. Claims about costs are judged exactly, by counting,
and need no runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from statistics import fmean
from typing import Any, Literal

from resnet_repro.paper.claims import Claim
from resnet_repro.paper.estimates import Judgement, weakest
from resnet_repro.paper.exact import ExactRule
from resnet_repro.paper.papers import THE_PAPER, papers_on
from resnet_repro.paper.quantities import QUANTITIES
from resnet_repro.paper.rules import EnsembleRule, RunRule
from resnet_repro.paper.samples import NetworkRuns, means
from resnet_repro.report.cells import Cell
from resnet_repro.report.claims.quantities import (
    TOGETHER,
    classes_of,
    comparable,
    counts,
    measured,
)
from resnet_repro.report.groups import Group
from resnet_repro.report.results import Results
from resnet_repro.spec.dataset_names import dataset_title
from resnet_repro.spec.network_names import network_title, parse_network
from resnet_repro.store.models import EnsembleResult

__all__ = ["MARKS", "OPPOSITE", "Verdict", "VerdictWord", "judge", "main_verdicts"]

VerdictWord = Literal["confirmed", "consistent", "contradicted", "undecided", "not run"]

# Marks before the words, to distinguish verdicts at a glance and without colours.
MARKS: dict[VerdictWord, str] = {
    "confirmed": "✓✓",
    "consistent": "✓",
    "undecided": "?",
    "contradicted": "✗",
    "not run": "–",
}
UNMEASURED = "this measurement"
# Twice what the same box in the middle of every image has on five classes of PASCAL VOC
# (`benchmarks/blind_detector.py`: 4.99 with a standard deviation of 1.05).
GUESSED_PRECISION = 10.0
OPPOSITE = "✗?"  # undecided, but at a reduced protocol the numbers clearly miss the prediction


@dataclass(frozen=True)
class Verdict:
    """What one group of runs says about a claim."""

    claim: Claim
    word: VerdictWord
    numbers: str  # the evidence, or why there is none
    group: Group | None = None  # None where it is not about runs
    runs: tuple[str, ...] = ()  # ids of the runs behind it
    missing: tuple[str, ...] = ()  # networks that would have to be run
    trend_only: bool = False  # whether it is about a trend at another protocol than the paper's
    opposed: bool = False  # whether a condition of the rule is clearly missed
    unfit: bool = False  # whether this preset cannot judge it, whatever the numbers
    partly: str = ""  # of one not judged: the numbers of those networks that were run

    @property
    def judged(self) -> bool:
        """Whether it says anything."""
        return self.word != "not run"

    @property
    def counted(self) -> bool:
        """Whether counting layers gives it; nothing was trained for it."""
        return isinstance(self.claim.rule, ExactRule)

    @property
    def mark(self) -> str:
        """The sign that goes before the label."""
        return OPPOSITE if self.word == "undecided" and self.opposed else MARKS[self.word]

    @property
    def label(self) -> str:
        """The word, with a mark if it is only about a trend, or about another than the claim's."""
        if self.counted:
            return f"{self.word} (counted)"
        if self.unfit:
            return f"{self.word} (preset unfit)"
        if not self.trend_only:
            return self.word
        return f"{self.word} (other trend)" if self.opposed else f"{self.word} (trend)"


def judge(claims: Iterable[Claim], results: Results) -> list[Verdict]:
    """A verdict per claim and group that has the runs; one `not run` if no group has.

    Raises:
        StoreError: the results folder, or an ensemble's record, cannot be read.
    """
    claims = tuple(claims)
    cells = results.cells(dict.fromkeys(n for claim in claims for n in claim.networks))
    verdicts: list[Verdict] = []
    for claim in claims:
        match claim.rule:
            case ExactRule():
                found = claim.rule.conditions(counts)
                text = "; ".join(condition.text for condition in found)
                verdicts.append(Verdict(claim, weakest(found), text))
            case EnsembleRule():
                verdicts.append(_judge_ensemble(claim, claim.rule, results.ensembles, cells))
            case _:
                verdicts += _judge(claim, claim.rule, results, cells)
    return verdicts


def main_verdicts(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """One verdict per claim, that of the most faithful group; the order of claims is kept.

    For a claim about reduced trainings, which full ones cannot judge, that of a group that can.
    """
    first: dict[str, Verdict] = {}
    for verdict in verdicts:
        kept = first.setdefault(verdict.claim.id, verdict)
        if kept.unfit and not verdict.unfit and "paper" in verdict.claim.unfit:
            first[verdict.claim.id] = verdict
    return list(first.values())


def _judge_ensemble(
    claim: Claim, rule: EnsembleRule, ensembles: Iterable[EnsembleResult], cells: Iterable[Cell]
) -> Verdict:
    """Judge by the first ensemble of just these networks, all runs of the full protocol."""
    cells = tuple(cells)
    done = {run.id: cell.group for cell in cells for run in cell.done}
    network_of = {run.id: cell.network for cell in cells for run in cell.done}
    for ensemble in ensembles:
        (group, *others) = {done.get(member) for member in ensemble.members}
        networks = sorted(network_of.get(member, "") for member in ensemble.members)
        whole = networks == sorted(rule.members) and ensemble.experiment == rule.experiment
        if whole and not others and group and group.faithful:
            found = rule.condition(len(ensemble.members), ensemble.top5_error)
            return Verdict(claim, found.outcome, found.text, group, ensemble.members)
    reason = "needs its ensemble of runs of the full protocol"
    return Verdict(claim, "not run", reason, missing=claim.networks)


def _judge(claim: Claim, rule: RunRule, results: Results, every: Sequence[Cell]) -> list[Verdict]:
    """The verdicts on a claim about runs, that of the most faithful group first."""
    changes = {change for subject in rule.subjects for change in subject.changes}
    cells = [cell for cell in every if cell.network in claim.networks]
    known = {_without(cell.group, changes) for cell in cells if _concerns(claim, cell.group)}
    protocols = sorted(known, key=lambda protocol: _distance(claim, protocol))
    found = [_judge_at(protocol, claim, rule, results, cells) for protocol in protocols]
    if judged := [verdict for verdict in found if verdict.judged]:
        closer = takewhile(lambda verdict: not verdict.judged, found)
        texts = [judged[0].numbers, *(verdict.partly for verdict in closer)]
        return [replace(judged[0], numbers="; ".join(filter(None, texts))), *judged[1:]]
    if found:
        return [min(found, key=lambda verdict: len(verdict.missing))]
    needed = ", ".join(map(network_title, claim.networks))
    return [Verdict(claim, "not run", f"needs {needed}", missing=claim.networks)]


def _judge_at(
    protocol: Group, claim: Claim, rule: RunRule, results: Results, every: Sequence[Cell]
) -> Verdict:
    """Judge by the runs of a protocol; changes that the rule itself names are ignored."""
    faithful = _faithful(claim, protocol)
    if not faithful and claim.reduced == "not judged":
        data = dataset_title(claim.dataset)
        reason = f"only the full protocol of {claim.paper} on {data} can judge it"
        return Verdict(claim, "not run", reason, missing=claim.networks)
    subjects = {(s.network, _with(protocol, s.changes)): s for s in rule.subjects}
    there = ((subjects.get((cell.network, cell.group)), cell) for cell in every)
    cells = {subject: cell for subject, cell in there if subject}
    numbers, way = comparable(results, rule.quantity, cells.values())
    without = _without_number(results, rule.quantity, cells.values(), numbers)
    samples = _samples(rule, results, numbers, cells)
    missing = [subject for subject in rule.subjects if subject not in samples]
    if rule.quantity in TOGETHER:  # of which all have it or none
        begun = {subject for subject, cell in cells.items() if cell.done}
        missing = [subject for subject in missing if subject not in begun] or missing
    if missing:
        networks = tuple(dict.fromkeys(subject.network for subject in missing))
        other = {
            subjects.get((c.network, replace(c.group, precision=protocol.precision))): c
            for c in every
            if c.done and c.group.precision != protocol.precision
        }
        lacking, partly = _lacking(missing, cells, without, other), ""
        lacking += f"; the others are {way}" if way else ""
        if len(samples) > 1:
            by_depth = sorted(samples, key=lambda subject: parse_network(subject.network).depth)
            has = means(samples, by_depth, QUANTITIES[rule.quantity].infinite)
            partly = f"preset {protocol.preset}, nearer to the paper's, {lacking} and has {has}"
        return Verdict(claim, "not run", lacking, missing=networks, partly=partly)
    wider = ""
    if not faithful and rule.reduced_margin != rule.margin:
        rule = rule.model_copy(update={"margin": rule.reduced_margin})
        wider = f"margin {rule.margin:g} at this protocol"
    conditions = rule.conditions(samples)
    runs = [run.id for cell in cells.values() for run in cell.done]
    if rule.quantity not in TOGETHER:
        runs = [run for run in runs if run in numbers]
    unfit = claim.unfit_at(protocol.scale, protocol.dataset)
    unfit = unfit or _guessing(rule, results, protocol, cells)
    texts = [condition.text for condition in conditions]
    texts += [way, wider, *_left_out(cells, runs, without), unfit]
    return Verdict(
        claim,
        "undecided" if unfit else _word(weakest(conditions), faithful, cells.values()),
        "; ".join(filter(None, texts)),
        protocol if protocol in results.numbers else cells[rule.subjects[0]].group,
        tuple(runs),
        trend_only=not faithful and not unfit,
        opposed=not unfit and any(c.outcome == "contradicted" for c in conditions),
        unfit=bool(unfit),
    )


def _samples(
    rule: RunRule,
    results: Results,
    numbers: Mapping[str, float],
    cells: Mapping[NetworkRuns, Cell],
) -> dict[NetworkRuns, list[float]]:
    """The values of the rule's quantity over the seeds of each cell, if there are any."""
    if together := TOGETHER.get(rule.quantity):
        every = [cells[subject] for subject in rule.subjects if subject in cells]
        found = together(results, every) if len(every) == len(rule.subjects) else []
        return dict.fromkeys(rule.subjects, found) if found else {}
    return _by_cell(numbers, cells)


def _by_cell(
    numbers: Mapping[str, float], cells: Mapping[NetworkRuns, Cell]
) -> dict[NetworkRuns, list[float]]:
    """Numbers by run id as those of each cell's seeds, without cells that have none."""
    found = {
        subject: [numbers[run.id] for run in cell.done if run.id in numbers]
        for subject, cell in cells.items()
    }
    return {subject: values for subject, values in found.items() if values}


def _guessing(
    rule: RunRule, results: Results, protocol: Group, cells: Mapping[NetworkRuns, Cell]
) -> str:
    """Why the numbers say nothing: networks that have hardly learned, or an empty text.

    One is enough at the scale of `quarter` and `short`, where more iterations might have let it
    learn. At the paper's it is a finding unless several are compared and all are such networks; and
    `demo` is to show on generated images that a deep plain network does not even begin to learn.
    """
    task = QUANTITIES[rule.quantity].task
    if task == "detection":
        found = _by_cell(measured(results, "voc_ap"), cells)
        average = {subject: fmean(values) for subject, values in found.items()}
        poor = {subject: mean for subject, mean in average.items() if mean < GUESSED_PRECISION}
        blind = "twice that of a detector that sees no image, on five classes"
        reason = f"mAP below {GUESSED_PRECISION:g}, {blind}"
    elif task == "classification":
        errors = {r.id: r.summary.final_train_error for c in cells.values() for r in c.done}
        found = _by_cell({id_: e for id_, e in errors.items() if e is not None}, cells)
        average = {subject: fmean(values) for subject, values in found.items()}
        classes = classes_of(next(run for cell in cells.values() for run in cell.done))
        right = min(200 / classes, 50 + 50 / classes)
        poor = {subject: mean for subject, mean in average.items() if mean > 100 - right}
        better = "twice what guessing gives" if classes > 2 else "half way from guessing to all"
        reason = f"right in less than {right:g}% of training images, {better}"
    else:
        return ""
    one_decides = protocol.scale in ("quarter", "short") and rule.quantity != "ap_follows_error"
    if len(poor) < (1 if one_decides else max(2, len(average))):
        return ""
    names = ", ".join(f"{subject.title} ({mean:.2f})" for subject, mean in poor.items())
    return f"hardly learned: {names}; {reason}"


def _faithful(claim: Claim, group: Group) -> bool:
    """Whether a group follows the whole protocol of the paper that makes the claim, on its data."""
    return claim.paper in group.papers and group.dataset == claim.dataset


def _distance(claim: Claim, group: Group) -> tuple[Any, ...]:
    """Sorts the groups that judge a claim, those most like the protocol of its paper first."""
    later = claim.paper != THE_PAPER and not group.trained_as_in(claim.paper)
    return not _faithful(claim, group), later, group.order


def _concerns(claim: Claim, group: Group) -> bool:
    """Whether a group can judge a claim: not on another data set of the papers, nor COCO on VOC."""
    alike = group.dataset.startswith("coco") == claim.dataset.startswith("coco")
    return group.dataset == claim.dataset or (alike and not papers_on(group.family, group.dataset))


def _word(word: Judgement, faithful: bool, cells: Iterable[Cell]) -> Judgement:
    """The judgement, weaker if seeds failed or the protocol is not the paper's."""
    if not faithful:
        return "consistent" if word in ("confirmed", "consistent") else "undecided"
    failed = any(cell.failed for cell in cells)
    return "consistent" if word == "confirmed" and failed else word


def _without_number(
    results: Results, quantity: str, cells: Iterable[Cell], compared: Collection[str]
) -> dict[str, str]:
    """Runs that were measured, but so that it gives no number -> what a number needs."""
    known = QUANTITIES[quantity]
    if not known.needs:
        return {}
    left = [run for cell in cells for run in cell.done if run.id not in compared]
    runs = [run for run in left if known.measured is None or run.has(known.measured)]
    single = runs and quantity not in TOGETHER
    numbers = measured(results, quantity) if single else {}  # also of those measured otherwise
    return {run.id: known.needs for run in runs if run.id not in numbers}


def _lacking(
    missing: Sequence[NetworkRuns],
    cells: Mapping[NetworkRuns, Cell],
    without: Mapping[str, str],
    elsewhere: Mapping[NetworkRuns | None, Cell],
) -> str:
    """`lacks plain-32, ResNet-56 (2 failed), ResNet-20 (3 trained, without this measurement)`.

    Those that are `elsewhere` were trained in another precision: `plain-20 (trained in fp32)`.
    """
    changed = [subject for subject in missing if subject.changes]
    texts = []
    for subject in changed or missing:
        cell, states = cells.get(subject), []
        needs = Counter(without.get(run.id, UNMEASURED) for run in cell.done) if cell else {}
        states += [f"{count} trained, without {what}" for what, count in needs.items()]
        if cell and cell.failed:
            states.append(f"{len(cell.failed)} failed")
        if not cell and subject in elsewhere:
            states.append(f"trained in {elsewhere[subject].group.precision}")
        title = subject.title + (f" with {', '.join(subject.changes)}" if changed else "")
        texts.append(title + (f" ({', '.join(states)})" if states else ""))
    return f"{'needs' if changed else 'lacks'} {', '.join(texts)}"


def _left_out(
    cells: Mapping[NetworkRuns, Cell], runs: Collection[str], without: Mapping[str, str]
) -> list[str]:
    """The seeds that do not contribute to the numbers, and why."""
    reasons: dict[str, Counter[NetworkRuns]] = {
        "failed seeds left out": Counter({s: len(cell.failed) for s, cell in cells.items()})
    }
    for subject, cell in cells.items():
        for run in cell.done:
            if run.id not in runs:
                reason = f"seeds without {without.get(run.id, UNMEASURED)}"
                reasons.setdefault(reason, Counter())[subject] += 1
    texts = {
        reason: ", ".join(f"{subject.title} ({n})" for subject, n in counts.items() if n)
        for reason, counts in reasons.items()
    }
    return [f"{reason}: {text}" for reason, text in texts.items() if text]


def _without(group: Group, changes: Collection[str]) -> Group:
    """The protocol of a group without these changes to the recipe."""
    return replace(group, changes=tuple(c for c in group.changes if c not in changes))


def _with(group: Group, changes: Collection[str]) -> Group:
    return replace(group, changes=tuple(sorted((*group.changes, *changes))))
