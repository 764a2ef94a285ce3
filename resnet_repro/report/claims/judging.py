"""The paper's claims judged by the results at hand.

A rule becomes one or more conditions, and a claim is worth what its weakest condition is worth.

With two seeds or more on every side, the 95% confidence interval decides: the condition is
*confirmed* if all of the interval satisfies it, *contradicted* if none of it does. Otherwise it is
*consistent* if the mean satisfies it by more than the rule's margin, and *undecided* if not. With a
single seed on a side it is at most *consistent*, and *contradicted* if it is missed by more than
the margin. Where seeds failed, it is at most *consistent* as well: the survivors may be the lucky
ones.

Reduced runs say nothing about the paper's protocol: they are *consistent* if they show the trend,
otherwise *undecided*, and marked if they clearly show the opposite; claims about a number are left
alone, and so are claims that a preset cannot judge for a reason of its own (`unfit`). Other changes
to the protocol count the same. What a network costs is exact and needs no run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from resnet_repro.paper.claims import (
    Claim,
    CostRule,
    EnsembleRule,
    LimitRule,
    SameRule,
    ThroughoutRule,
)
from resnet_repro.report.claims.conditions import (
    Condition,
    Outcome,
    conditions_of,
    signed,
    weakest,
    within,
)
from resnet_repro.report.claims.quantities import measure, share_above
from resnet_repro.report.document.estimates import contrast
from resnet_repro.report.groups import Group
from resnet_repro.report.results import Cell, Sample, collect, groups_in, network_title
from resnet_repro.spec.dataset_names import dataset_title
from resnet_repro.store.models import EnsembleResult
from resnet_repro.store.stored_run import StoredRun

__all__ = ["MARKS", "OPPOSITE", "Verdict", "VerdictWord", "evaluate", "judge", "main_verdicts"]

VerdictWord = Literal["confirmed", "consistent", "contradicted", "undecided", "not run"]
Cells = Mapping[str, Cell]
Costs = Mapping[str, Mapping[str, Any]]  # network -> parameters, multiply_adds

# Before the words, so that they are told apart at a glance, without colours as well.
MARKS: dict[VerdictWord, str] = {
    "confirmed": "✓✓",
    "consistent": "✓",
    "undecided": "?",
    "contradicted": "✗",
    "not run": "–",
}
OPPOSITE = "✗?"  # undecided, but the numbers clearly show the opposite at a reduced protocol


@dataclass(frozen=True)
class Verdict:
    """What one group of runs says about a claim."""

    claim: Claim
    word: VerdictWord
    group: Group | None  # None if no group has the runs
    numbers: str  # the evidence, or why there is none
    runs: tuple[str, ...] = ()  # ids of the runs behind it
    missing: tuple[str, ...] = ()  # networks that would have to be run
    opposed: bool = False  # whether a condition of the rule is clearly missed
    unfit: str = ""  # why this preset cannot judge it, whatever the numbers

    @property
    def trend_only(self) -> bool:
        """Whether it speaks of a trend at another protocol than the paper's."""
        judged = self.word != "not run" and not self.unfit
        return judged and self.group is not None and not self.group.faithful

    @property
    def mark(self) -> str:
        """The sign that goes before the label."""
        return OPPOSITE if self.word == "undecided" and self.opposed else MARKS[self.word]

    @property
    def label(self) -> str:
        """The word, marked where it speaks of a trend only, and where that is the opposite."""
        if self.unfit:
            return f"{self.word} (preset unfit)"
        if not self.trend_only:
            return self.word
        return f"{self.word} (opposite trend)" if self.opposed else f"{self.word} (trend)"


def evaluate(
    claims: Iterable[Claim],
    runs: Sequence[StoredRun],
    costs: Costs | None = None,
    ensembles: Sequence[EnsembleResult] = (),
) -> list[Verdict]:
    """A verdict per claim and group that has the runs, or one `not run` where none has.

    Args:
        claims: to be judged.
        runs: every run of the results folder.
        costs: network -> what `table1` counted of it, where that was run.
        ensembles: every ensemble that was measured.

    Raises:
        StoreError: a run's curve or what was measured on it cannot be read.
    """
    claims = tuple(claims)
    networks = dict.fromkeys(network for claim in claims for network in claim.networks)
    cells = collect(networks, runs)
    verdicts: list[Verdict] = []
    for claim in claims:
        match claim.rule:
            case CostRule():
                verdicts.append(_judge_cost(claim, claim.rule, costs or {}))
            case EnsembleRule():
                verdicts.append(_judge_ensemble(claim, claim.rule, cells, ensembles))
            case _:
                verdicts += judge(claim, cells)
    return verdicts


def main_verdicts(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """One verdict per claim, that of the most faithful group; the order of claims is kept."""
    first: dict[str, Verdict] = {}
    for verdict in verdicts:
        first.setdefault(verdict.claim.id, verdict)
    return list(first.values())


def judge(claim: Claim, cells: Sequence[Cell]) -> list[Verdict]:
    """The verdicts on one claim, the most faithful group first."""
    wanted = [cell for cell in cells if cell.network in claim.networks]
    verdicts: list[Verdict] = []
    partial: list[Verdict] = []
    for group in groups_in(wanted):
        verdict = _judge_group(claim, group, wanted)
        (verdicts if verdict.word != "not run" else partial).append(verdict)
    if verdicts:
        return verdicts
    nearest = min(partial, key=lambda verdict: len(verdict.missing), default=None)
    if nearest is not None:
        return [nearest]
    needed = ", ".join(network_title(network) for network in claim.networks)
    return [Verdict(claim, "not run", None, f"needs {needed}", missing=claim.networks)]


def _judge_group(claim: Claim, group: Group, cells: Sequence[Cell]) -> Verdict:
    if not group.faithful and claim.reduced == "not judged":
        data = dataset_title(claim.dataset)
        reason = f"a number of the paper: only the paper preset on {data} can be held against it"
        return Verdict(claim, "not run", group, reason, missing=claim.networks)
    members = {cell.network: cell for cell in cells if cell.group == group}
    changed: Cells = {}
    rule = claim.rule
    changes = rule.changes if isinstance(rule, SameRule | LimitRule) else ()
    if changes:
        other = replace(group, changes=tuple(sorted((*group.changes, *changes))))
        changed = {cell.network: cell for cell in cells if cell.group == other}
    samples, changed_samples = _samples(claim, members), _samples(claim, changed)
    if isinstance(rule, LimitRule) and changes:
        samples = changed_samples
    missing = [network for network in claim.networks if network not in samples]
    if missing and not changes:
        reason = f"lacks {', '.join(_lacking(network, members) for network in missing)}"
        return Verdict(claim, "not run", group, reason, missing=tuple(missing))
    if missing or (changes and not set(claim.networks) <= changed_samples.keys()):
        titles = ", ".join(map(network_title, claim.networks))
        reason = f"needs {titles} with {', '.join(changes)}"
        return Verdict(claim, "not run", group, reason, missing=claim.networks)
    used = (
        [*changed.values()]
        if samples is changed_samples
        else [*members.values(), *changed.values()]
    )
    conditions = conditions_of(rule, samples, changed_samples)
    unfit = "" if group.faithful else claim.unfit.get(group.base, "")
    word = _word(conditions, group, any(cell.failed for cell in used))
    behind = [run for cell in used for run in cell.done]
    ids = tuple(run.id for run in behind if _counts(claim, run))
    opposed = any(condition.outcome == "contradicted" for condition in conditions)
    texts = [c.text for c in conditions if c.text]
    numbers = "; ".join([*texts, *_left_out(used, ids), *([unfit] if unfit else [])])
    if unfit:
        return Verdict(claim, "undecided", group, numbers, ids, unfit=unfit)
    return Verdict(claim, word, group, numbers, ids, opposed=opposed)


def _judge_cost(claim: Claim, rule: CostRule, costs: Costs) -> Verdict:
    """What a network costs is exact: it is below the others, or it is not."""
    if rule.network not in costs:
        reason = "needs the counts of every network: `resnet-repro run table1`"
        return Verdict(claim, "not run", None, reason, missing=claim.networks)
    count = costs[rule.network][rule.quantity]
    texts = [
        f"{'below' if count < other else 'not below'} {name}'s {other:,.0f}"
        for name, other in rule.below.items()
    ]
    holds = all(count < other for other in rule.below.values())
    numbers = f"{network_title(rule.network)} {count:,}: {', '.join(texts)}"
    return Verdict(claim, "confirmed" if holds else "contradicted", None, numbers)


def _judge_ensemble(
    claim: Claim, rule: EnsembleRule, cells: Sequence[Cell], ensembles: Sequence[EnsembleResult]
) -> Verdict:
    """An ensemble of runs of the full protocol, held against the paper's number."""
    done = {run.id: cell.group for cell in cells for run in cell.done}
    for result in ensembles:
        groups = {done.get(member) for member in result.members}
        group = next(iter(groups))
        if result.experiment == rule.experiment and group and len(groups) == 1 and group.faithful:
            difference = contrast([(1, Sample((result.top5_error,)))], offset=-rule.value)
            numbers = (
                f"{len(result.members)} networks {result.top5_error:.2f}, paper {rule.value:.2f}: "
                f"difference {signed(difference)}, band ±{rule.band:g}"
            )
            word = within(difference, rule.band, rule.margin)
            return Verdict(claim, word, group, numbers, result.members)
    reason = "needs an ensemble of runs of the full protocol"
    return Verdict(claim, "not run", None, reason, missing=claim.networks)


def _samples(claim: Claim, cells: Cells) -> dict[str, Sample]:
    """Network -> the quantity over its seeds, where there is any."""
    if isinstance(claim.rule, ThroughoutRule):
        low, high = claim.rule.pair
        if low not in cells or high not in cells:
            return {}
        shares = Sample(tuple(share_above(cells[low].done, cells[high].done).values()))
        return {low: shares, high: shares} if shares.count else {}
    quantity = claim.rule.quantity
    samples = {n: cell.sample(lambda run: measure(quantity, run)) for n, cell in cells.items()}
    return {network: sample for network, sample in samples.items() if sample.count}


def _counts(claim: Claim, run: StoredRun) -> bool:
    """Whether a finished run is behind the numbers of a claim."""
    return isinstance(claim.rule, ThroughoutRule) or measure(claim.rule.quantity, run) is not None


def _word(conditions: Sequence[Condition], group: Group, failures: bool) -> Outcome:
    word = weakest([condition.outcome for condition in conditions])
    if word == "confirmed" and failures:
        word = "consistent"
    if not group.faithful:
        word = "consistent" if word in ("confirmed", "consistent") else "undecided"
    return word


def _lacking(network: str, members: Cells) -> str:
    """`plain-32`, `ResNet-56 (2 failed)` or `ResNet-20 (3 trained, without this measurement)`."""
    cell = members.get(network)
    states = []
    if cell and cell.done:
        states.append(f"{len(cell.done)} trained, without this measurement")
    if cell and cell.failed:
        states.append(f"{len(cell.failed)} failed")
    return network_title(network) + (f" ({', '.join(states)})" if states else "")


def _left_out(used: Sequence[Cell], ids: Collection[str]) -> Iterator[str]:
    """Which seeds are not among those behind the numbers, and why."""
    failed = [len(cell.failed) for cell in used]
    lacking = [sum(run.id not in ids for run in cell.done) for cell in used]
    reasons = {"failed seeds left out": failed, "seeds without this measurement": lacking}
    for reason, counts in reasons.items():
        pairs = zip(used, counts, strict=True)
        if texts := [f"{network_title(cell.network)} ({n})" for cell, n in pairs if n]:
            yield f"{reason}: {', '.join(texts)}"
