"""What the results say of each claim, one line a claim in plain words, for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from resnet_repro.report.claims.judging import Verdict
from resnet_repro.report.groups import Group
from resnet_repro.report.markdown import plural

__all__ = ["findings"]

NARROWEST = 60  # columns; narrower terminals get lines of this length


def findings(verdicts: Iterable[Verdict], width: int | None = None) -> list[str]:
    """The judged claims, those of each protocol under its name, with the numbers behind them.

    Args:
        verdicts: one per claim, the most important first.
        width: of the terminal, into which lines are broken; None leaves them whole.

    Returns:
        Lines, an empty one before each protocol.
    """
    verdicts = list(verdicts)
    protocols: dict[Group | None, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.word != "not run":
            protocols.setdefault(verdict.group, []).append(verdict)
    lines: list[str] = []
    for group, judged in protocols.items():
        lines += ["", f"{group.caption if group else 'Counted, not trained'}:"]
        column = max(len(_in_words(verdict)) for verdict in judged)
        for verdict in judged:
            start = f"  {_in_words(verdict):{column}}  "
            text = f"{verdict.claim.sentence} {verdict.numbers}"
            lines += _hanging(start, text, width)
    left = len(verdicts) - sum(map(len, protocols.values()))
    if left:
        lines += ["", f"{plural(left, 'other claim' if lines else 'claim')} not judged yet"]
    return lines


def _in_words(verdict: Verdict) -> str:
    """What a verdict comes to; a protocol that is not the paper's can show a trend at most."""
    if verdict.trend_only and verdict.opposed:
        return "opposite trend"
    same = "trend as in the paper" if verdict.trend_only else "as in the paper"
    words = {
        "confirmed": f"{same}, confirmed",
        "consistent": same,
        "contradicted": "not as in the paper",
    }
    return words.get(verdict.word, verdict.label)


def _hanging(start: str, text: str, width: int | None) -> list[str]:
    if width is None:
        return [start + text]
    indent = " " * len(start)
    return textwrap.wrap(
        text, max(width, NARROWEST), initial_indent=start, subsequent_indent=indent,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
