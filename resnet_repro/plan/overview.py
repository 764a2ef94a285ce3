"""The contents of `list`, `status` and `run --dry-run`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from resnet_repro.base.durations import format_duration
from resnet_repro.base.errors import StoreError
from resnet_repro.plan.estimator import Estimator
from resnet_repro.spec.experiment import Choices, Experiment
from resnet_repro.spec.presets import PRESETS
from resnet_repro.spec.run import Run
from resnet_repro.store.measured import is_averaged, is_measured
from resnet_repro.store.store import Store
from resnet_repro.store.stored_run import StoredRun

__all__ = [
    "experiment_table",
    "list_experiments",
    "list_runs",
    "plan_measuring",
    "plan_runs",
    "run_table",
    "without_weights",
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
    runs_failed: int = 0  # which `run` leaves as they are
    without_weights: int = 0  # finished runs that cannot be measured: their weights are not here
    unmeasured: bool = False  # something of finished runs is still to be measured or averaged

    @property
    def cost(self) -> str:
        """`3/9, 1 failed, 2h10m`; `~` marks a guess."""
        if not self.runs_needed:
            return "seconds"
        if self.runs_done == self.runs_needed and not self.seconds_left:
            done = f"{self.runs_done}/{self.runs_needed} done"
            why = "no weights" if self.without_weights else "unmeasured" if self.unmeasured else ""
            return f"{done}, {why}" if why else done
        cost = f"{self.runs_done}/{self.runs_needed}"
        if self.runs_failed:
            cost += f", {self.runs_failed} failed"
        if self.seconds_left or not self.runs_failed:
            cost += f", {_time(self.seconds_left, self.estimate)}"
        return cost


@dataclass(frozen=True)
class RunLine:
    """One run: its progress, errors so far in percent, seconds left.

    Of a run that holds images out the error over these is shown, and the test set's is not: what
    is seen while one tries settings is what they are chosen by.
    """

    run: str
    state: str
    iteration: int
    iterations: int
    train_error: float | None
    held_out_error: float | None
    test_error: float | None
    seconds_left: float | None
    estimate: str
    doubt: str | None = None  # why the estimate is only a guess
    problem: str | None = None
    views: tuple[str, ...] = ()  # with which it was tested on photographs


def experiment_table(lines: Sequence[ExperimentLine]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: the cost of every experiment at each preset, `-` where it has none."""
    costs: dict[tuple[str, str], dict[str, str]] = {}
    for line in lines:
        costs.setdefault((line.experiment, line.reference), {})[line.preset] = line.cost
    header = ["experiment", "reproduces", *PRESETS]
    return header, [[*names, *(at.get(p, "-") for p in PRESETS)] for names, at in costs.items()]


def run_table(lines: Sequence[RunLine]) -> tuple[list[str], list[list[str]]]:
    """Header and rows; with columns of held-out images and of views if any run has some."""
    columns = {
        "run": [line.run for line in lines],
        "state": [line.problem or line.state for line in lines],
        "iteration": [
            f"{line.iteration:,}/{line.iterations:,}" if line.iterations else "" for line in lines
        ],
        "train %": [_percent(line.train_error) for line in lines],
        "held out %": [_percent(line.held_out_error) for line in lines],
        "test %": [_percent(line.test_error) for line in lines],
        "left": [_time(line.seconds_left, line.estimate) for line in lines],
        "views": [", ".join(line.views) for line in lines],
    }
    for optional in ("held out %", "views"):
        if not any(columns[optional]):
            del columns[optional]
    return list(columns), [list(row) for row in zip(*columns.values(), strict=True)]


def _percent(error: float | None) -> str:
    return "" if error is None else f"{error:.2f}"


def _time(seconds: float | None, estimate: str) -> str:
    """`2h10m`; `~` marks a guess."""
    if seconds is None:
        return ""
    return ("" if estimate == "measured" else "~") + format_duration(seconds)


@dataclass(frozen=True)
class MeasuringLine:
    """The measurements still to be made on one trained network: views of photographs, a surface."""

    run: str
    measurements: tuple[str, ...]
    seconds: float


def _run_line(run: Run | None, stored: StoredRun, estimator: Estimator) -> RunLine:
    summary, state = stored.summary, stored.state
    done = summary.iteration if summary else 0
    left, estimate, doubt = None, "guessed", None
    if run is not None and not stored.finished and not stored.given_up:
        going_on = _as_begun(run, stored)
        left = estimator.seconds(going_on, _goes_on_at(stored))
        doubt = estimator.doubt(going_on)
        if done > _goes_on_at(stored):
            doubt = doubt or f"{stored.id} starts over, its checkpoint is not here"
        if state == "running" and summary and summary.seconds_left is not None:
            left, doubt = summary.seconds_left, None  # measured, wherever it runs
        estimate = "guessed" if doubt else "measured"
    held_out = summary.final_validation_error if summary else None
    problem = stored.problem
    if state == "failed" and summary and summary.failure:
        problem = problem or f"failed: {summary.failure}"
    return RunLine(
        run=stored.id,
        state=state,
        iteration=done,
        iterations=run.recipe.iterations if run else summary.iterations if summary else 0,
        train_error=summary.final_train_error if summary else None,
        held_out_error=held_out,
        test_error=summary.final_test_error if summary and held_out is None else None,
        seconds_left=left,
        estimate=estimate,
        doubt=doubt,
        problem=problem,
        views=tuple(row.views for row in stored.rows("evaluations")),
    )


def _goes_on_at(stored: StoredRun) -> int:
    """The iteration at which a run that has not ended goes on, here or where it is trained now."""
    if stored.summary and (stored.state == "running" or stored.folder.checkpoints()):
        return stored.summary.iteration
    return 0


def _as_begun(run: Run, stored: StoredRun) -> Run:
    """A run in the precision in which it was begun, in which it goes on."""
    if stored.summary is None or not _goes_on_at(stored):
        return run
    return run.model_copy(update={"precision": stored.summary.provenance.precision})


def list_runs(store: Store, runs: Sequence[Run] | None) -> list[RunLine]:
    """The state of the given runs, or of every run folder."""
    stored = store.all_runs()
    estimator = Estimator(store, runs=stored)
    if runs is None:
        return [_run_line(s.run, s, estimator) for s in stored]
    known = {s.id: s for s in stored}
    return [_run_line(run, known.get(run.id) or store.get(run), estimator) for run in runs]


def plan_runs(
    store: Store, runs: Sequence[Run], estimator: Estimator, force: bool
) -> list[RunLine]:
    """What `run` would do, with the time for each run; changes nothing."""
    if not force:
        return [_run_line(run, store.get(run), estimator) for run in runs]
    anew = (StoredRun(run.id, store.folder(run), run, None) for run in runs)
    lines = (_run_line(stored.run, stored, estimator) for stored in anew)
    return [replace(line, state="again") for line in lines]


def plan_measuring(
    store: Store, experiments: Sequence[Experiment], estimator: Estimator, force: bool
) -> list[MeasuringLine]:
    """The measurements that `run` would make on trained networks, without the fast ones."""
    lines: dict[str, MeasuringLine] = {}
    for experiment in experiments:
        for run in experiment.measured_runs:
            there = lines.get(run.id)
            planned = there.measurements if there else ()
            missing = [name for name in experiment.measure if name not in planned]
            if not force:
                stored, of = store.get(run), experiment.settings_of
                missing = [m for m in missing if not is_measured(store, stored, m, of(m))]
            costs = {m: estimator.measuring_seconds(run, experiment, [m]) for m in missing}
            slow = tuple(name for name, seconds in costs.items() if seconds)
            if slow:
                seconds = (there.seconds if there else 0.0) + sum(costs.values())
                lines[run.id] = MeasuringLine(run.id, (*planned, *slow), seconds)
    return list(lines.values())


def without_weights(store: Store, lines: Sequence[MeasuringLine]) -> set[str]:
    """The ids of finished runs to be measured that have no checkpoint here."""
    found = {line.run: store.named(line.run) for line in lines}
    return {i for i, run in found.items() if run.finished and not run.folder.checkpoints()}


def list_experiments(
    store: Store, experiments: Sequence[Experiment], *, anew: bool = False
) -> list[ExperimentLine]:
    """Every experiment at each of its presets: runs done, and the time for the rest here.

    `anew` counts no run as done.
    """
    every = store.all_runs()
    estimator = Estimator(store, runs=every)
    # Folders may keep older names.
    stored = {} if anew else {s.run.id if s.run else s.id: s for s in every}
    return [
        _experiment_line(store, experiment.choose(Choices(preset=preset)), stored, estimator)
        for experiment in experiments
        for preset in experiment.possible_presets
    ]


def _experiment_line(
    store: Store, chosen: Experiment, stored: Mapping[str, StoredRun], estimator: Estimator
) -> ExperimentLine:
    """One experiment at its preset; `stored` are runs by their ids."""
    runs, networks = chosen.resolve(), chosen.networks
    done, failed, seconds, without, unmeasured = 0, 0, 0.0, 0, False
    estimated: list[Run] = []
    for run in runs:
        found, going_on = stored.get(run.id), run
        left = list(chosen.measure) if run.network in networks else []
        if found and found.finished:
            done += 1
            left = [n for n in left if not is_measured(store, found, n, chosen.settings_of(n))]
            if left and not found.folder.checkpoints():
                left, without = [], without + 1
            unmeasured = unmeasured or bool(left)
        elif found and found.given_up:
            left, failed = [], failed + 1
        else:
            going_on = _as_begun(run, found) if found else run
            seconds += estimator.seconds(going_on, _goes_on_at(found) if found else 0)
        seconds += estimator.measuring_seconds(run, chosen, left)
        estimated.append(going_on)
    if done == len(runs) and not _is_averaged(store, chosen):
        unmeasured = True
        without += any(_cannot_be_scored(store, chosen, run) for run in chosen.ensemble_members)
    return ExperimentLine(
        experiment=chosen.name,
        reference=chosen.reference,
        title=chosen.title,
        preset=chosen.preset,
        dataset=", ".join(chosen.datasets),
        runs_done=done,
        runs_needed=len(runs),
        seconds_left=seconds,
        estimate=estimator.basis(*estimated),
        runs_failed=failed,
        without_weights=without,
        unmeasured=unmeasured,
    )


def _is_averaged(store: Store, experiment: Experiment) -> bool:
    try:
        return is_averaged(store, experiment)
    except StoreError:  # an unreadable record
        return False


def _cannot_be_scored(store: Store, experiment: Experiment, run: Run) -> bool:
    """Whether an ensemble's member has neither weights nor scores here."""
    assert experiment.ensemble is not None, "it has members"
    folder = store.get(run).folder
    return not (folder.checkpoints() or folder.scores(experiment.ensemble.views).exists())
