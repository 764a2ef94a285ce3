"""What there is and how far it is: the texts of `list`, `status` and `run --dry-run`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from resnet_repro.durations import format_duration
from resnet_repro.estimate import Estimator
from resnet_repro.recipe import PRESETS
from resnet_repro.spec import Choices, Experiment, Run
from resnet_repro.store import Store, StoredRun

__all__ = [
    "ExperimentLine",
    "RunLine",
    "list_experiments",
    "list_runs",
    "plan_runs",
    "project_experiments",
]


@dataclass(frozen=True)
class ExperimentLine:
    """One experiment at one preset: runs done and needed, seconds left here."""

    experiment: str
    reference: str
    title: str
    preset: str
    dataset: str
    runs_done: int
    runs_needed: int
    seconds_left: float
    estimate: str  # "measured" here, or "guessed"

    @property
    def cost(self) -> str:
        """`3/9, 2h10m left`; `~` marks a guess."""
        if not self.runs_needed:
            return "seconds"
        if self.runs_done == self.runs_needed:
            return f"{self.runs_done}/{self.runs_needed} done"
        about = "" if self.estimate == "measured" else "~"
        return f"{self.runs_done}/{self.runs_needed}, {about}{format_duration(self.seconds_left)}"


@dataclass(frozen=True)
class RunLine:
    """One run: how far it is, its errors so far in percent, seconds left."""

    run: str
    state: str
    iteration: int
    iterations: int
    train_error: float | None
    test_error: float | None
    seconds_left: float | None
    estimate: str
    problem: str | None = None

    def cells(self) -> list[str]:
        """What a table shows of it."""
        about = "" if self.estimate == "measured" else "~"
        left = ""
        if self.seconds_left is not None and self.state not in ("done", "failed"):
            left = about + format_duration(self.seconds_left)
        return [
            self.run,
            self.problem or self.state,
            f"{self.iteration:,}/{self.iterations:,}",
            "" if self.train_error is None else f"{self.train_error:.2f}",
            "" if self.test_error is None else f"{self.test_error:.2f}",
            left,
        ]

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def _run_line(run: Run | None, stored: StoredRun, estimator: Estimator) -> RunLine:
    summary, state = stored.summary, stored.state
    done = summary.iteration if summary else 0
    left, estimate = None, "guessed"
    if run is not None and state != "done":
        left = estimator.seconds(run, done)
        estimate = "measured" if estimator.measured else "guessed"
        if summary and done and state in ("running", "stopped"):
            left = (summary.iterations - done) * summary.seconds / done
            estimate = "measured"
    problem = stored.problem
    if state == "failed" and summary and summary.failure:
        problem = problem or f"failed: {summary.failure}"
    return RunLine(
        run=stored.id,
        state=state,
        iteration=done,
        iterations=run.recipe.iterations if run else summary.iterations if summary else 0,
        train_error=summary.final_train_error if summary else None,
        test_error=summary.final_test_error if summary else None,
        seconds_left=left,
        estimate=estimate,
        problem=problem,
    )


def list_runs(store: Store, runs: Sequence[Run] | None) -> list[RunLine]:
    """The state of the given runs, or of every run folder."""
    stored = store.all_runs()
    estimator = Estimator(store)
    if runs is None:
        return [_run_line(s.run, s, estimator) for s in stored]
    return [_run_line(run, store.get(run), estimator) for run in runs]


def plan_runs(store: Store, runs: Sequence[Run], device: str, force: bool) -> list[RunLine]:
    """What `run` would do, with the time that each run still needs; touches nothing."""
    estimator = Estimator(store, device)
    lines = []
    for run in runs:
        line = _run_line(run, store.get(run), estimator)
        if force:
            seconds = estimator.seconds(run)
            estimate = "measured" if estimator.measured else "guessed"
            line = RunLine(run.id, "again", 0, run.recipe.iterations, None, None, seconds, estimate)
        lines.append(line)
    return lines


def project_experiments(store: Store, experiments: Sequence[Experiment]) -> list[list[str]]:
    """(experiment, time at each preset) from nothing, on this machine."""
    estimator = Estimator(store)
    about = "" if estimator.measured else "~"
    rows = []
    for experiment in experiments:
        row = [experiment.name]
        for preset in PRESETS:
            runs = experiment.choose(Choices(preset=preset)).resolve()
            seconds = sum(estimator.seconds(run) for run in runs)
            row.append(about + format_duration(seconds) if runs else "seconds")
        rows.append(row)
    return rows


def list_experiments(store: Store, experiments: Sequence[Experiment]) -> list[ExperimentLine]:
    """Every experiment at every preset: what is done and what the rest would cost here."""
    stored = store.all_runs()
    finished = {s.id for s in stored if s.finished}
    begun = {s.id: s.summary.iteration for s in stored if s.summary}
    estimator = Estimator(store)
    lines = []
    for experiment in experiments:
        for preset in PRESETS:
            chosen = experiment.choose(Choices(preset=preset))
            runs = chosen.resolve()
            missing = [r for r in runs if r.id not in finished]
            lines.append(
                ExperimentLine(
                    experiment=experiment.name,
                    reference=experiment.reference,
                    title=experiment.title,
                    preset=preset,
                    dataset=chosen.dataset,
                    runs_done=len(runs) - len(missing),
                    runs_needed=len(runs),
                    seconds_left=sum(estimator.seconds(r, begun.get(r.id, 0)) for r in missing),
                    estimate="measured" if estimator.measured else "guessed",
                )
            )
    return lines
