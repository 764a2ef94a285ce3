"""The paper's claims judged by the results at hand.

A rule becomes one or more conditions, and a claim is worth what its weakest condition is worth.

With two seeds or more on every side, the 95% confidence interval decides: the condition is
*confirmed* if all of the interval satisfies it, *contradicted* if none of it does; otherwise
*consistent* if the mean satisfies it, *undecided* if not. With a single seed on a side it is at
most *consistent*, and *contradicted* only if it is missed by more than the rule's margin. Where
seeds failed, it is at most *consistent* as well: the survivors may be the lucky ones.

Reduced runs say nothing about the paper's protocol: they are *consistent* if they show the trend,
otherwise *undecided*, and marked if they clearly show the opposite; claims about a number are left
alone. Other changes to the protocol count the same.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from resnet_repro.names import dataset_title
from resnet_repro.paper import Claim, Quantity, SameRule
from resnet_repro.report.conditions import Condition, Outcome, conditions_of, weakest
from resnet_repro.report.groups import Group
from resnet_repro.report.quantities import measure
from resnet_repro.report.results import Cell, Sample, collect, groups_in, network_title
from resnet_repro.store import StoredRun

__all__ = ["MARKS", "OPPOSITE", "Verdict", "VerdictWord", "evaluate", "judge", "main_verdicts"]

VerdictWord = Literal["confirmed", "consistent", "contradicted", "undecided", "not run"]
Cells = Mapping[str, Cell]

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

    @property
    def trend_only(self) -> bool:
        """Whether it speaks of a trend at another protocol than the paper's."""
        return self.word != "not run" and self.group is not None and not self.group.faithful

    @property
    def mark(self) -> str:
        """The sign that goes before the label."""
        return OPPOSITE if self.word == "undecided" and self.opposed else MARKS[self.word]

    @property
    def label(self) -> str:
        """The word, marked where it speaks of a trend only, and where that is the opposite."""
        if not self.trend_only:
            return self.word
        return f"{self.word} (opposite trend)" if self.opposed else f"{self.word} (trend)"


def evaluate(claims: Iterable[Claim], runs: Sequence[StoredRun]) -> list[Verdict]:
    """A verdict per claim and group that has the runs, or one `not run` where none has.

    Raises:
        StoreError: a run's responses cannot be read.
    """
    claims = tuple(claims)
    networks = dict.fromkeys(network for claim in claims for network in claim.networks)
    cells = collect(networks, runs)
    return [verdict for claim in claims for verdict in judge(claim, cells)]


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
    if isinstance(claim.rule, SameRule):
        changes = tuple(sorted((*group.changes, *claim.rule.changes)))
        other = replace(group, changes=changes)
        changed = {cell.network: cell for cell in cells if cell.group == other}
    samples = _samples(claim.rule.quantity, members)
    changed_samples = _samples(claim.rule.quantity, changed)
    missing = [network for network in claim.networks if network not in samples]
    if missing:
        reason = f"lacks {', '.join(_lacking(network, members) for network in missing)}"
        return Verdict(claim, "not run", group, reason, missing=tuple(missing))
    if isinstance(claim.rule, SameRule) and claim.rule.network not in changed_samples:
        reason = f"needs {network_title(claim.rule.network)} with {', '.join(claim.rule.changes)}"
        return Verdict(claim, "not run", group, reason, missing=claim.networks)
    used = [*members.values(), *changed.values()]
    conditions = conditions_of(claim.rule, samples, changed_samples)
    word = _word(conditions, group, any(cell.failed for cell in used))
    behind = [run for cell in used for run in cell.done]
    ids = tuple(run.id for run in behind if measure(claim.rule.quantity, run) is not None)
    opposed = any(condition.outcome == "contradicted" for condition in conditions)
    numbers = "; ".join([*(c.text for c in conditions), *_left_out(used, ids)])
    return Verdict(claim, word, group, numbers, ids, opposed=opposed)


def _samples(quantity: Quantity, cells: Cells) -> dict[str, Sample]:
    """Network -> the quantity over its seeds, where there is any."""
    samples = {n: cell.sample(lambda run: measure(quantity, run)) for n, cell in cells.items()}
    return {network: sample for network, sample in samples.items() if sample.count}


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
