"""The report's closing sections: provenance, cost, every run, other evaluations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from resnet_repro.base.plain_text import plural
from resnet_repro.report.cells import is_coarse
from resnet_repro.report.document.protocol import as_text
from resnet_repro.report.groups import BegunRun, group_of, trains_norm
from resnet_repro.report.markdown import bullets, code, literal, table
from resnet_repro.report.photo_tables import weights_note
from resnet_repro.report.results import Results
from resnet_repro.spec.dataset_names import is_generated
from resnet_repro.spec.measurements import MEASUREMENTS
from resnet_repro.spec.network_names import network_title
from resnet_repro.spec.recorded_command import recorded_again
from resnet_repro.spec.tables_figures import Views
from resnet_repro.store.models import Origin, Record, SessionRecord

__all__ = [
    "cost_section",
    "evaluations_section",
    "provenance_section",
    "runs_section",
]

MANY_VIEWS: tuple[Views, ...] = ("10-crop", "multi-scale")


def provenance_section(results: Results) -> list[str]:
    """Code, machines, versions and data behind the results, each with its number of runs.

    A run of several sessions, perhaps on several machines, counts for each of them.
    """
    if not results.begun:
        return []
    origins = [run.summary.provenance for run in results.begun]
    trained = [p.trained_by for p in origins]
    starts = sorted(p.started for p in origins)
    ends = sorted(p.ended for p in origins if p.ended)
    texts = [
        f"Trained between {literal(starts[0])} and "
        f"{literal(ends[-1]) if ends else '(not ended)'} (UTC).",
        *_counted("Code", ({_code(s.code, s.dirty) for s in run} for run in trained)),
        *_counted("Hardware", ({_hardware(s) for s in run} for run in trained)),
        *_counted("Versions", ({_pairs(s.versions) for s in run} for run in trained)),
        *_counted("Processes", ({text} for run in results.begun if (text := _processes(run)))),
        *_counted("Data", ({_dataset(p.dataset)} for p in origins)),
        *_counted("Normalisation", ({_normalisation(p.normalisation)} for p in origins)),
        *_counted("Measured after training", map(_measured, results.begun)),
        "The commands are in the runs' `summary.json` and `measurements.json`.",
    ]
    note = "A run that was trained in several places counts for each of them."
    return ["## Provenance", "", note, "", *bullets(texts)]


def _measured(run: BegunRun) -> set[str]:
    """`10-crop errors by 0.1.0+g..., AMD EPYC, cpu, bf16, 1 thread` for each measurement.

    Of one made in several places, for each of these.
    """
    there = {what for what in MEASUREMENTS if run.has(what)}
    if "afterwards" not in run.columns("gradients").get("measured", ()):
        there.discard("gradients")  # they were measured by the training itself
    made = {
        what: [f"{_code(o.code, o.dirty)}, {_hardware(o)}" for o in (origin, *origin.earlier)]
        for what, origin in run.origins.items()
    }
    unknown = ["unrecorded code"]
    return {
        f"{MEASUREMENTS[what].title} by {who}" for what in there for who in made.get(what, unknown)
    }


def _hardware(origin: Origin) -> str:
    """`AMD EPYC, cpu, bf16, 1 thread`, and `compiled` where that is so."""
    parts = [origin.hardware, origin.device, origin.precision, plural(origin.threads, "thread")]
    if isinstance(origin, SessionRecord) and origin.compiled:
        parts.append("compiled")
    return literal(", ".join(parts))


def _processes(run: BegunRun) -> str:
    """`8 together, batch normalisation over 32 images each, cifar10`.

    Of one process without trained batch normalisation it is empty.
    """
    origin = run.summary.provenance
    parts = [f"{origin.processes} together"] if origin.processes > 1 else []
    if trains_norm(run.run):
        many = f"over {origin.bn_images} images each" if origin.bn_images else "not recorded"
        parts += [f"batch normalisation {many}", literal(run.run.dataset)]
    return ", ".join(parts)


def _counted(title: str, runs: Iterable[Iterable[str]]) -> list[str]:
    """`Code: 0.1.0 (12 runs)` for each different text of the runs, in alphabetical order."""
    counts = Counter(text for texts in runs for text in texts)
    return [f"{title}: {text} ({plural(n, 'run')})" for text, n in sorted(counts.items())]


def _code(version: str, dirty: bool | None) -> str:
    states = {True: ", with uncommitted changes", False: "", None: ", commit unknown"}
    return literal(version) + states[dirty]


def _pairs(values: dict[str, Any]) -> str:
    return literal(", ".join(f"{key} {as_text(value)}" for key, value in sorted(values.items())))


def _dataset(identity: dict[str, Any]) -> str:
    """`cifar10, official copy, python version, SHA-256 3f9c...`."""
    word = "official copy" if identity.get("official") is True else "unofficial copy"
    if is_generated(str(identity.get("name"))):
        word = ""
    name, source, note = (literal(str(identity.get(k) or "")) for k in ("name", "source", "note"))
    checksum = f"SHA-256 {code(str(identity.get('sha256', 'unknown')))}"
    return ", ".join(part for part in (name, word, source, checksum, note) if part)


def _normalisation(values: dict[str, Any]) -> str:
    """`per-pixel mean of ..., channel averages 125.3 123.0 113.9, SHA-256 ...`.

    The eigenvectors of the colours are only in the runs' summaries.
    """
    parts = [literal(str(values.get("kind", "unknown")))]
    for key in ("channel_averages", "eigenvalues"):
        if key in values:
            numbers = " ".join(f"{value:.4g}" for value in values[key])
            parts.append(f"{key.replace('_', ' ')} {numbers}")
    if "eigenvectors" in values:
        parts.append("eigenvectors in `summary.json`")
    if "sha256" in values:
        parts.append(f"SHA-256 {code(str(values['sha256']))}")
    return ", ".join(parts)


def cost_section(results: Results) -> list[str]:
    """Training hours by hardware; runs shared by experiments count once."""
    hours: dict[str, float] = {}
    for run in results.begun:
        for hardware, seconds in run.summary.seconds_by_hardware().items():
            hours[hardware] = hours.get(hardware, 0.0) + seconds / 3600
    if not hours:
        return []
    rows = [[literal(hardware), f"{spent:,.2f}"] for hardware, spent in sorted(hours.items())]
    total = [["all", f"{sum(hours.values()):,.2f}"]] if len(rows) > 1 else []
    return ["## Cost", "", *table(["hardware", "training hours"], rows + total, [1])]


def runs_section(results: Results) -> list[str]:
    """Every run with its numbers, and how to repeat it."""
    if not results.begun:
        return []
    by_views = {views: results.evaluated(views).top1_error for views in MANY_VIEWS}
    evaluated = {views: errors for views, errors in by_views.items() if len(errors)}
    header = ["run", "on", "state", "test error", "train error", "best on test"]
    header += [*evaluated, "hours", "ended"]
    rows = []
    for run in results.begun:
        summary = run.summary
        trained = None if is_coarse(run) else summary.final_train_error
        own = (summary.final_test_error, trained, summary.best_test_error)
        rows.append(
            [
                code(run.id),
                f"[{results.numbers[group_of(run)]}]",
                {"done": "done", "failed": "failed"}.get(run.state, "unfinished"),
                *(_error(error) for error in own),
                *(_error(errors.get(run.id)) for errors in evaluated.values()),
                f"{summary.seconds / 3600:.2f}",
                literal(summary.provenance.ended or ""),
            ]
        )
    return [
        "## Every run",
        "",
        "Errors in percent, of the final iterate (of a run that has not ended, the latest); *best "
        "on test* is chosen with the test set and only there for comparison. In this folder, "
        "`resnet-repro run runs/<run>/config.yaml --results elsewhere` repeats one, a detector "
        "after the run that it starts from.",
        "",
        *table(header, rows, range(3, len(header) - 1)),
    ]


def evaluations_section(results: Results) -> list[str]:
    """The evaluations of others' weights, and ensembles of runs."""
    lines: list[str] = []
    for external in results.externals:
        errors = "; ".join(
            f"{row.views} top-1 {row.top1_error:.2f}, top-5 {row.top5_error:.2f}"
            for row in external.evaluations
        )
        origin = _measured_by(external, external.origins.values())
        title = network_title(external.network)
        lines.append(
            f"{title}, {literal(weights_note(external))}; not trained here, weights SHA-256 "
            f"`{external.weights_sha256}`: {errors}. Data: {_dataset(external.data)}. {origin}"
        )
    for ensemble in results.ensembles:
        members = ", ".join(f"`{member}`" for member in ensemble.members)
        origin = _measured_by(ensemble, [ensemble.origin] if ensemble.origin else [])
        lines.append(
            f"Ensemble of `{ensemble.experiment}`, {ensemble.views}: top-1 "
            f"{ensemble.top1_error:.2f}, top-5 {ensemble.top5_error:.2f} over {ensemble.images:,} "
            f"images; members {members}. Data: {_dataset(ensemble.data)}. {origin}"
        )
    return ["## Other weights and ensembles", "", *bullets(lines)] if lines else []


def _measured_by(record: Record, origins: Iterable[Origin]) -> str:
    """When, by which code and on which machines, as far as recorded."""
    made = [_code(record.code, record.dirty), *dict.fromkeys(map(_hardware, origins))]
    command = code(recorded_again(record.command))
    return f"Measured {literal(record.measured)} by {', '.join(made)}: {command}."


def _error(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
