"""The report's closing sections: protocol, where the numbers come from, cost, every run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from resnet_repro.recipe import open_choices
from resnet_repro.report.groups import Group, group_of
from resnet_repro.report.markdown import bullets, plural, table
from resnet_repro.store import StoredRun, Summary

__all__ = ["cost_section", "protocol_section", "provenance_section", "runs_section"]


def protocol_section(groups: Mapping[Group, int]) -> list[str]:
    """The recipe's assumptions and deviations, and how each group differs from the paper."""
    rows = [
        [f"`{field}`", kind, f"`{_plain(value)}`", reason]
        for field, kind, value, reason in open_choices()
    ]
    lines = [
        "## Protocol, assumptions and deviations",
        "",
        "The `paper` preset is section 4.2; the other presets change its length. What the paper "
        "leaves open (assumption) or has otherwise (deviation) affects every result here.",
        "",
        *table(["field", "kind", "default", "why"], rows),
    ]
    differing = [
        f"[{number}] {group.caption}"
        for group, number in groups.items()
        if not group.faithful or not group.official or group.resolved != "fp32"
    ]
    if differing:
        lines += ["", "Results here that differ further from the paper:", "", *bullets(differing)]
    return lines


def _plain(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, str) else value


def provenance_section(runs: Sequence[StoredRun]) -> list[str]:
    """Code, machines, versions and data behind the results, each with its number of runs."""
    summaries = [run.summary for run in runs if run.summary and not run.problem]
    if not summaries:
        return []
    origins = [s.provenance for s in summaries]
    starts = sorted(p.started for p in origins)
    ends = sorted(p.ended for p in origins if p.ended)
    lines = ["## Provenance", ""]
    lines += bullets(
        [
            f"Trained between {starts[0]} and {ends[-1] if ends else '(not ended)'} (UTC).",
            *_counted("Command", (f"`{_without_folders(p.command)}`" for p in origins)),
            *_counted("Code", (f"{p.code}{_dirt(p.dirty)}" for p in origins)),
            *_counted(
                "Hardware",
                (f"{p.hardware}, {p.device}, {p.precision}, {p.threads} threads" for p in origins),
            ),
            *_counted("Versions", (_pairs(p.versions) for p in origins)),
            *_counted("Data", (_dataset(p.dataset) for p in origins)),
            *_counted("Normalisation", (_pairs(p.normalisation) for p in origins)),
        ]
    )
    return lines


def _counted(title: str, texts: Iterable[str]) -> list[str]:
    """`Code: 0.1.0 (12 runs)` for each different text, in alphabetical order."""
    counts: dict[str, int] = {}
    for text in texts:
        counts[text] = counts.get(text, 0) + 1
    return [f"{title}: {text} ({plural(n, 'run')})" for text, n in sorted(counts.items())]


def _without_folders(command: str) -> str:
    """A command as typed, its paths cut down to their last part."""
    return " ".join(word.rstrip("/").rpartition("/")[2] for word in command.split())


def _dirt(dirty: bool | None) -> str:
    return {True: ", with uncommitted changes", False: "", None: ", commit unknown"}[dirty]


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {_plain(value)}" for key, value in sorted(values.items()))


def _dataset(identity: dict[str, Any]) -> str:
    """`cifar10, official copy, python version, SHA-256 3f9c...`."""
    word = "official copy" if identity.get("official") is True else "unofficial copy"
    if identity.get("name") == "synthetic":
        word = ""
    checksum = f"SHA-256 `{identity.get('sha256', 'unknown')}`"
    parts = (identity.get("name"), word, identity.get("source"), checksum, identity.get("note"))
    return ", ".join(str(part) for part in parts if part)


def cost_section(runs: Sequence[StoredRun]) -> list[str]:
    """Training hours by hardware; runs shared by experiments count once."""
    hours: dict[str, float] = {}
    for run in runs:
        if run.summary and not run.problem:
            hardware = run.summary.provenance.hardware
            hours[hardware] = hours.get(hardware, 0.0) + run.summary.seconds / 3600
    if not hours:
        return []
    rows = [[hardware, f"{spent:,.2f}"] for hardware, spent in sorted(hours.items())]
    total = [["all", f"{sum(hours.values()):,.2f}"]] if len(rows) > 1 else []
    return ["## Cost", "", *table(["hardware", "training hours"], rows + total, [1])]


def runs_section(runs: Sequence[StoredRun], numbers: Mapping[Group, int]) -> list[str]:
    """Every run with its numbers, and how to repeat it."""
    summaries = [(run, run.summary) for run in runs if run.summary and not run.problem]
    if not summaries:
        return []
    header = ["run", "on", "state", "test error", "train error", "best on test", "hours", "ended"]
    rows = [_run_row(run, summary, numbers) for run, summary in summaries]
    return [
        "## Every run",
        "",
        "Errors in percent, of the final iterate; *best on test* is chosen with the test set and "
        "only there for comparison. Each can be repeated with "
        "`resnet-repro run results/runs/<run>/config.yaml --results elsewhere`.",
        "",
        *table(header, rows, [3, 4, 5, 6]),
    ]


def _run_row(run: StoredRun, summary: Summary, numbers: Mapping[Group, int]) -> list[str]:
    group = group_of(run)
    state = {"done": "done", "failed": "failed"}.get(run.state, "unfinished")
    return [
        f"`{run.id}`",
        f"[{numbers[group]}]" if group else "",
        state,
        _error(summary.final_test_error),
        _error(summary.final_train_error),
        _error(summary.best_test_error),
        f"{summary.seconds / 3600:.2f}",
        summary.provenance.ended or "",
    ]


def _error(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
