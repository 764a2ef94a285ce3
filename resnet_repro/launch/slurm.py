"""`--launcher slurm`: an array job with a task per run, which saves and requeues itself in time."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from resnet_repro.base.durations import parse_duration
from resnet_repro.base.errors import ConfigError, ReproError, plain
from resnet_repro.base.files import writable, write_atomically
from resnet_repro.base.machine import SPOILING, usable_cores
from resnet_repro.base.stop import StopFlag
from resnet_repro.launch.pool import LOCK_PATIENCE, Watcher
from resnet_repro.launch.where import Where
from resnet_repro.launch.worker import Order, import_variables
from resnet_repro.plan.progress import make_progress
from resnet_repro.runner.options import Outcome
from resnet_repro.runner.runner import Runner
from resnet_repro.spec.run import Run
from resnet_repro.store.store import Store

if TYPE_CHECKING:
    from submitit import Executor, Job
    from submitit.helpers import DelayedSubmission

__all__ = ["SlurmTask", "job_number", "slurm_parameters", "submit_job", "train_by_slurm"]

SIGNAL = "USR1"  # Slurm's warning before a task's time is up, or before it is preempted
os.environ["SUBMITIT_PREEMPT_SIGNAL"] = SIGNAL  # before submitit is loaded

DEFAULT_MINUTES = 240  # of a task before it is saved and requeued
SIGNAL_DELAY = 90  # seconds between Slurm's warning and the end of a task's time
MAX_TIMEOUTS = 10_000  # how often a task may be requeued; one without progress ends sooner
LOOK_EVERY = 1.0  # seconds between two checks of the results while waiting
WHOLE_NUMBERS = ("cpus_per_task", "gpus_per_node", "array_parallelism", "signal_delay_s")

WARNING_PATIENCE = 5.0  # seconds after SIGTERM in which Slurm's warning may follow
MAX_IDLE = 3  # sessions in a row without an iteration before a task fails


def submit_job(where: Where, runner: Runner, runs: Sequence[Run]) -> dict[str, Job[str]]:
    """Submit the runs that are to be trained as one array job; returns its tasks by run id.

    `slurm-local` runs the same tasks on this machine, all at once, to try it without Slurm.

    Raises:
        ConfigError: there is no Slurm here, or it refuses the options.
    """
    store, options = runner.store, runner.options
    todo = runner.todo(runs)
    if not todo:
        return {}
    store.check_writable()
    executor = _executor(where, store)
    threads = where.cpus_per_run
    if where.kind == "slurm-local" and threads is None:
        threads = max(1, usable_cores() // len(todo))
    tasks = []
    for run in todo:
        order = Order.of(run, store, options, runner.replaces(run))
        tasks.append(SlurmTask(order.with_whole_paths().to_json(), where.time_budget, threads))
    try:
        jobs = executor.submit_array(tasks)
    except (OSError, ValueError, RuntimeError) as error:
        last = str(error).strip().splitlines() or ["no reason given"]
        raise ConfigError(f"Slurm refuses the job: {last[-1][:300]}") from error
    return {run.id: job for run, job in zip(todo, jobs, strict=True)}


def job_number(jobs: Mapping[str, Job[str]]) -> str | None:
    """The number of an array job; None if nothing was submitted."""
    return next((job.job_id.split("_")[0] for job in jobs.values()), None)


def _executor(where: Where, store: Store) -> Executor:
    from submitit import LocalExecutor, SlurmExecutor

    folder = _private_folder(store.root.resolve() / ".slurm")  # scripts, logs, pickled tasks
    parameters = slurm_parameters(where)
    if where.kind == "slurm-local":
        settings = [f"{name}={value}" for name, value in import_variables().items()]
        python = shlex.join(["env", *settings, sys.executable])
        local = LocalExecutor(folder, max_num_timeout=MAX_TIMEOUTS, python=python)
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
    slurm = SlurmExecutor(folder, max_num_timeout=MAX_TIMEOUTS)
    slurm.update_parameters(**parameters)
    return slurm


def _private_folder(path: Path) -> Path:
    """A folder only for this user, ignored by git: scripts may hold secrets from `setup`."""
    write_atomically(path / ".gitignore", "*\n", durable=False)
    with writable(path):
        path.chmod(0o700)
    return path


def slurm_parameters(where: Where) -> dict[str, Any]:
    """The parameters for submitit's Slurm executor; it passes unknown options on to sbatch.

    Raises:
        ConfigError: a time or a number is invalid.
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
    for name in [name for name in WHOLE_NUMBERS if name in given]:
        if re.fullmatch(r"[0-9]{1,9}", given[name]):
            given[name] = int(given[name])
        elif name != "gpus_per_node" or where.kind == "slurm-local":  # Slurm's may have a type
            typed = f"{name.replace('_', '-')}={plain(given[name], 40)}"
            raise ConfigError(f"--slurm {typed}: should be a whole number")
    known = SlurmExecutor._valid_parameters()
    others = {name: value for name, value in given.items() if name not in known}
    parameters |= {name: value for name, value in given.items() if name in known}
    delay = parameters.setdefault("signal_delay_s", SIGNAL_DELAY)
    if cpus := parameters.get("cpus_per_task"):  # srun has not taken it over since 22.05
        parameters["srun_args"] = [f"--cpus-per-task={cpus}", *parameters.get("srun_args", [])]
    parameters["additional_parameters"] = others | {"signal": f"{SIGNAL}@{delay}", "requeue": True}
    # Jobs may not inherit the environment, and their steps not that of the script.
    variables = {"SUBMITIT_PREEMPT_SIGNAL": SIGNAL, "SLURM_EXPORT_ENV": "ALL"} | import_variables()
    exports = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    # Tasks import torch before a line of ours; what is unset may come from a `module load`.
    parameters["setup"] = [*exports, *given.get("setup", []), f"unset {' '.join(SPOILING)}"]
    return parameters


def _minutes(text: str) -> int:
    """Minutes, at least one, of a time in Slurm's form (D-HH:MM:SS and shorter) or ours (4h)."""
    match = re.fullmatch(r"(?:(\d{1,3})-)?(\d{1,6}(?::\d{1,2}){0,2})", text.strip())
    if match is None:
        seconds = parse_duration(text)
    else:
        days, numbers = match[1], [int(part) for part in match[2].split(":")]
        units = (3600, 60, 1) if days or len(numbers) == 3 else (60, 1)
        parts = zip(numbers, units, strict=False)
        seconds = 86400 * int(days or 0) + sum(number * unit for number, unit in parts)
    if seconds < 60:
        raise ConfigError(f"--slurm time={text}: at least a minute")
    return int(seconds // 60)


@dataclass
class SlurmTask:
    """Trains a run; submitit pickles it and calls it in the job and after every requeue."""

    order: str  # as JSON
    time_budget: float | None  # seconds of a session
    threads: int | None
    idle: int = 0  # sessions in a row without an iteration, before this one

    def __call__(self) -> str:
        """Train until it is time to save, or to the end.

        Returns the outcome: "done", "failed", "locked" or "stopped".

        After SIGUSR1, or when the time budget is used up, the task saves and is requeued. After
        SIGTERM alone, as from scancel, it ends.

        Raises:
            ReproError: several sessions made no progress, or as `Runner.run_all`.
        """
        order = Order.from_json(self.order)
        before = _iteration(order)
        with StopFlag(self.time_budget) as stop:
            outcome = self._train(order, stop)
        if outcome not in ("stopped", None):
            return str(outcome)
        self.idle = 0 if _iteration(order) > before else self.idle + 1
        if self.idle >= MAX_IDLE:
            raise ReproError(
                f"{order.run.id}: {MAX_IDLE} sessions without an iteration; give it more time"
            )
        # submitit's handlers are in place again: the handler of this signal requeues and exits.
        if stop.signalled == "SIGTERM":
            time.sleep(WARNING_PATIENCE)
        elif stop.reason:
            signal.raise_signal(getattr(signal, f"SIG{SIGNAL}"))
        return "stopped"

    def _train(self, order: Order, stop: StopFlag) -> Outcome | None:
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        deadline = time.monotonic() + LOCK_PATIENCE
        with make_progress() as progress:
            while True:
                outcome = order.train(stop, progress)
                if outcome != "locked" or time.monotonic() > deadline or stop.reason:
                    return outcome
                time.sleep(10.0)

    def checkpoint(self) -> DelayedSubmission:
        """The task that submitit stores to requeue it; the run's own state is in its checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _iteration(order: Order) -> int:
    """How far the run is; 0 while a result is there that is still to be replaced."""
    summary = Store(order.results).get(order.run).summary
    return summary.iteration if summary and not order.is_forced else 0


def train_by_slurm(where: Where, runner: Runner, runs: Sequence[Run]) -> dict[str, Outcome]:
    """Submit runs as one array job and wait until all of its tasks have ended.

    Ctrl-C ends the waiting, not Slurm's job.

    Raises:
        ConfigError: as `submit_job`.
    """
    store, progress = runner.store, runner.progress
    watcher = Watcher(store, progress)
    for run in runs:
        watcher.expect(run)
    jobs = submit_job(where, runner, runs)
    number = job_number(jobs)
    if jobs:
        progress.news(f"job {number}: {len(jobs)} runs")
    outcomes: dict[str, Outcome] = {}
    for run in runs:
        if run.id not in jobs:  # another process may be training it anew by now
            outcomes[run.id] = runner.known_outcome(run, store.get(run)) or runner.report_locked(
                run
            )
    while waiting := [run for run in runs if run.id not in outcomes]:
        if runner.stop.reason:
            if where.kind == "slurm":  # a terminal's Ctrl-C reaches slurm-local's tasks as well
                progress.note(f"job {number} goes on; scancel {number} ends it, saved")
            break
        for run in waiting:
            over = jobs[run.id].done()  # before the results are looked at
            watcher.look(run)
            if over:
                begun = not runner.options.force or run.id in watcher.begun
                outcomes[run.id] = _outcome(run, jobs[run.id], runner, begun)
                progress.ended(run, outcomes[run.id], store.get(run).summary)
        time.sleep(LOOK_EVERY)
    return outcomes


def _outcome(run: Run, job: Job[str], runner: Runner, begun: bool) -> Outcome:
    """The outcome of a run whose task has ended; if it has not `begun`, what is there is older."""
    if begun and runner.store.get(run).finished:
        return "done"
    with contextlib.suppress(Exception):  # whatever it was, it is in the log
        told = job.result()
        if told in ("done", "failed", "stopped", "locked"):
            return told  # type: ignore[return-value]
    runner.progress.note(f"{run.id}: its task ended without a result; see {job.paths.stderr}")
    return "failed"
