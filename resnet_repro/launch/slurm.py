"""`--launcher slurm`: one array job whose tasks are runs, saved and requeued before they end."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_repro.base.durations import parse_duration
from resnet_repro.base.errors import ConfigError
from resnet_repro.base.files import unwritable, write_atomically
from resnet_repro.base.machine import usable_cores
from resnet_repro.base.provenance import utc_now
from resnet_repro.base.stop import StopFlag
from resnet_repro.launch.messages import TrainOrder, as_line, options_elsewhere
from resnet_repro.launch.slurm_task import SIGNAL, SlurmTask
from resnet_repro.launch.where import Where
from resnet_repro.runner.options import Options, Outcome, Progress
from resnet_repro.spec.run import Run
from resnet_repro.store.models import Summary
from resnet_repro.store.store import Store

if TYPE_CHECKING:
    from submitit import Executor, Job

os.environ["SUBMITIT_PREEMPT_SIGNAL"] = SIGNAL.removeprefix("SIG")  # before it is loaded

__all__ = ["SlurmLauncher", "Submission", "slurm_parameters", "submit_job"]

DEFAULT_MINUTES = 240  # of a task before it is saved and requeued
SIGNAL_DELAY = 90  # seconds before a task's time is up at which it is warned
MOST_TIMEOUTS = 10_000  # how often a task may be requeued; one that gets nowhere ends sooner
LOOKING = 1.0  # seconds between two looks at the results while waiting
ASKING = 60.0  # seconds between two questions to Slurm meanwhile
WHOLE_NUMBERS = ("cpus_per_task", "gpus_per_node", "array_parallelism", "signal_delay_s")


@dataclass(frozen=True)
class Submission:
    """An array job: its id, its runs and submitit's jobs, one for each run."""

    job_id: str
    runs: tuple[Run, ...]
    jobs: tuple[Job[str], ...]


def slurm_parameters(where: Where, runs: int) -> dict[str, Any]:
    """What submitit's Slurm executor is told; options that it doesn't know go to sbatch as such.

    Raises:
        ConfigError: a time that is none.
    """
    from submitit import SlurmExecutor

    given: dict[str, Any] = dict(where.slurm)
    parameters: dict[str, Any] = {"job_name": "resnet-repro", "time": DEFAULT_MINUTES}
    if where.cpus_per_run is not None:
        parameters["cpus_per_task"] = where.cpus_per_run
    if where.gpus_per_run:
        parameters["gpus_per_node"] = int(where.gpus_per_run)
    if "time" in given:
        given["time"] = _minutes(given["time"])
    for name in WHOLE_NUMBERS:
        if str(given.get(name, "")).isdigit():
            given[name] = int(given[name])
    if not isinstance(given.get("array_parallelism", runs), int):
        raise ConfigError("--slurm array-parallelism: a whole number")
    known = SlurmExecutor._valid_parameters()
    others = {name: value for name, value in given.items() if name not in known}
    parameters |= {name: value for name, value in given.items() if name in known}
    delay = parameters.setdefault("signal_delay_s", SIGNAL_DELAY)
    signalled = {"signal": f"{SIGNAL.removeprefix('SIG')}@{delay}", "requeue": True}
    parameters["additional_parameters"] = others | signalled
    # A job that does not take over the environment has to know the signal as well.
    name = f"export SUBMITIT_PREEMPT_SIGNAL={SIGNAL.removeprefix('SIG')}"
    parameters["setup"] = [name, *given.get("setup", [])]
    return parameters


def _minutes(text: str) -> int:
    """Minutes, at least one, of a time as Slurm (D-HH:MM:SS and shorter) or we write it (4h)."""
    match = re.fullmatch(r"(?:(\d{1,3})-)?(\d{1,6})(?::(\d{1,2}))?(?::(\d{1,2}))?", text.strip())
    if match is None:
        seconds = parse_duration(text)
    else:
        days, first, second, third = (int(part) if part else None for part in match.groups())
        if days is not None:
            seconds = 86400 * days + 3600 * (first or 0) + 60 * (second or 0) + (third or 0)
        elif third is not None:
            seconds = 3600 * (first or 0) + 60 * (second or 0) + third
        else:
            seconds = 60 * (first or 0) + (second or 0)
    if seconds < 60:
        raise ConfigError(f"--slurm time={text}: at least a minute")
    return int(seconds // 60)


def submit_job(
    where: Where, store: Store, options: Options, runs: Sequence[Run]
) -> Submission | None:
    """Hand over the runs that are not finished as one array job; None if there are none.

    `slurm-local` runs the same tasks on this machine, all at once: for trying, without Slurm.

    Raises:
        ConfigError: there is no Slurm here, or it refuses the options.
    """
    todo = [run for run in runs if options.force or not store.get(run).finished]
    if not todo:
        return None
    store = Store(store.root.resolve())
    store.check_writable()
    executor = _executor(where, store, len(todo))
    since = utc_now() if options.force else None
    elsewhere = replace(options_elsewhere(options), force=False)
    threads = where.cpus_per_run
    if where.kind == "slurm-local" and threads is None:
        threads = max(1, usable_cores() // len(todo))
    tasks = []
    for run in todo:
        order = TrainOrder(run=run, results=store.root, options=elsewhere, force_before=since)
        tasks.append(SlurmTask(as_line(order), where.time_budget, threads))
    try:
        jobs = executor.submit_array(tasks)
    except (OSError, ValueError, RuntimeError) as error:
        last = str(error).strip().splitlines() or ["no reason given"]
        raise ConfigError(f"Slurm refuses the job: {last[-1][:300]}") from error
    return Submission(jobs[0].job_id.split("_")[0], tuple(todo), tuple(jobs))


def _executor(where: Where, store: Store, tasks: int) -> Executor:
    from submitit import LocalExecutor, SlurmExecutor

    folder = _private_folder(store.root / ".slurm")  # scripts, logs and what is handed over
    parameters = slurm_parameters(where, tasks)
    if where.kind == "slurm-local":
        local = LocalExecutor(folder, max_num_timeout=MOST_TIMEOUTS)
        local.update_parameters(
            timeout_min=parameters["time"],
            signal_delay_s=parameters["signal_delay_s"],
            gpus_per_node=parameters.get("gpus_per_node", 0),
        )
        return local
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise ConfigError(
            "sbatch and srun are not found: --launcher slurm is for a Slurm login node "
            "(slurm-local tries the same on this machine)"
        )
    slurm = SlurmExecutor(folder, max_num_timeout=MOST_TIMEOUTS)
    slurm.update_parameters(**parameters)
    return slurm


def _private_folder(path: Path) -> Path:
    """A folder for this user alone, which git ignores: scripts hold whatever `setup` says."""
    write_atomically(path / ".gitignore", "*\n", durable=False)
    try:
        path.chmod(0o700)
    except OSError as error:
        raise unwritable(path, error) from error
    return path


class SlurmLauncher:
    """Submits runs as one array job and waits until all of its tasks have ended."""

    def __init__(
        self, where: Where, store: Store, options: Options, stop: StopFlag, progress: Progress
    ) -> None:
        self.where, self.store, self.options = where, store, options
        self.stop, self.progress = stop, progress

    def run_all(self, runs: Sequence[Run]) -> dict[str, Outcome]:
        """Train what is missing; see `Launcher.run_all`."""
        submission = submit_job(self.where, self.store, self.options, runs)
        submitted = submission.runs if submission else ()
        outcomes: dict[str, Outcome] = {}
        for run in runs:
            if run not in submitted:
                outcomes[run.id] = "done"
                self.progress.ended(run, "done", self.store.get(run).summary)
        if submission is None:
            return outcomes
        self.progress.note(f"job {submission.job_id}: {len(submitted)} runs")
        return outcomes | _Watch(self.store, submission, self.stop, self.progress).outcomes()


class _Watch:
    """Follows the runs of a submission in the results folder until all have ended."""

    def __init__(
        self, store: Store, submission: Submission, stop: StopFlag, progress: Progress
    ) -> None:
        self._store, self._submission = store, submission
        self._stop, self._progress = stop, progress
        self._shown: dict[str, Summary] = {}
        self._asked = time.monotonic()

    def outcomes(self) -> dict[str, Outcome]:
        """Wait; Ctrl-C ends the waiting, not the job."""
        outcomes: dict[str, Outcome] = {}
        pending = dict(zip(self._submission.runs, self._submission.jobs, strict=True))
        while pending:
            if self._stop.reason:
                number = self._submission.job_id
                self._progress.note(f"job {number} goes on; scancel {number} ends it, saved")
                break
            ask = time.monotonic() - self._asked > ASKING
            for run, job in list(pending.items()):
                outcome = self._look(run, job, ask)
                if outcome is not None:
                    outcomes[run.id] = outcome
                    del pending[run]
            if ask:
                self._asked = time.monotonic()
            time.sleep(LOOKING)
        return outcomes

    def _look(self, run: Run, job: Job[str], ask: bool) -> Outcome | None:
        """The outcome of a run once its task has ended; shows how far it is until then."""
        over = job.done(force_check=ask)  # before the results are looked at
        summary = self._store.get(run).summary
        if summary is not None:
            self._show(run, summary)
        if not over:
            return None
        outcome = self._result(run, job)
        self._progress.ended(run, outcome, self._store.get(run).summary)
        return outcome

    def _show(self, run: Run, summary: Summary) -> None:
        before = self._shown.get(run.id)
        if summary == before or summary.state != "running":
            return
        if before is None or before.provenance.sessions != summary.provenance.sessions:
            self._progress.started(run, summary.iteration)
        if summary.iteration:
            self._progress.advanced(run, summary)
        self._shown[run.id] = summary

    def _result(self, run: Run, job: Job[str]) -> Outcome:
        if self._store.get(run).finished:
            return "done"
        with contextlib.suppress(Exception):  # whatever it was, it is in the log
            told = job.result()
            if told in ("failed", "stopped", "locked"):
                return told  # type: ignore[return-value]
        self._progress.note(f"{run.id}: its task ended without a result; see {job.paths.stderr}")
        return "failed"
