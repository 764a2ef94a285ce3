"""Which runs an experiment needs, which are done; trains the rest, one after another."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import filelock
import torch

from resnet_repro import data, provenance
from resnet_repro.analysis import measure_responses
from resnet_repro.data import Dataset
from resnet_repro.errors import DataError, ReproError, StoreError
from resnet_repro.observe import (
    EventFiles,
    GradientRecord,
    Observer,
    has_events,
    measure_afterwards,
    write_events,
)
from resnet_repro.spec import Run
from resnet_repro.stop import StopFlag
from resnet_repro.store import CurveRow, Provenance, RunFolder, Store, StoredRun, Summary
from resnet_repro.training import (
    Backend,
    CheckpointError,
    DivergenceError,
    Trainer,
    build_for,
    check_fits,
    choose_backend,
    hardware_name,
    pack,
    unpack,
)

__all__ = ["Options", "Outcome", "Progress", "Runner"]

HEARTBEAT = 5.0  # seconds between two notes of how far a run is

Outcome = Literal["done", "failed", "stopped", "locked"]


@dataclass(frozen=True)
class Options:
    """How to run, as opposed to what."""

    data_dir: Path
    device: str = "auto"
    force: bool = False
    fail_fast: bool = False
    checkpoint_every: float = 60.0  # seconds
    command: str = "resnet-repro run"
    observe_gradients: frozenset[str] = frozenset()  # ids of runs to measure while they train
    tensorboard: bool = False


class Progress(Protocol):
    """Who is told how the work goes."""

    def started(self, run: Run, iteration: int) -> None:
        """A run starts, or continues after `iteration`."""

    def advanced(self, run: Run, summary: Summary, rate: float, seconds_left: float) -> None:
        """A run has got further; told a few times a second at most."""

    def ended(self, run: Run, outcome: Outcome, summary: Summary | None) -> None:
        """A run ended or was left to another process."""

    def note(self, text: str) -> None:
        """Something the user should know."""


class Runner:
    """Trains runs into a store until they are done or it is told to stop."""

    def __init__(self, store: Store, options: Options, stop: StopFlag, progress: Progress) -> None:
        self.store, self.options, self.stop, self.progress = store, options, stop, progress
        self._datasets: dict[str, Dataset] = {}
        self._told_locked: set[str] = set()

    def run_all(self, runs: Sequence[Run]) -> dict[str, Outcome]:
        """Train what is missing; returns the outcome of every run that was looked at.

        Runs that another process is at work on are left to it and looked at again at the end.

        Raises:
            DataError: the data set is not there.
            StoreError: results cannot be written.
            ConfigError: the device is not there, or a recipe does not fit the data set.
        """
        outcomes: dict[str, Outcome] = {}
        waiting = list(runs)
        while waiting:
            locked = []
            for run in waiting:
                if self.stop.reason:
                    return outcomes
                outcome = outcomes[run.id] = self._run_one(run)
                if outcome == "locked":
                    locked.append(run)
                if outcome == "stopped" or (outcome == "failed" and self.options.fail_fast):
                    return outcomes
            if len(locked) == len(waiting):
                break
            waiting = locked
        return outcomes

    def _run_one(self, run: Run) -> Outcome:
        stored = self.store.get(run)
        if not self.options.force and (known := self._already(run, stored)):
            return known
        # Nothing is written before data and device are known to be there.
        check_fits(run, self.dataset(run.dataset))
        choose_backend(self.options.device, run.precision)
        folder = self.store.folder(run)
        folder.make()
        lock = filelock.FileLock(folder.lock, timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            if run.id not in self._told_locked:
                self._told_locked.add(run.id)
                self.progress.ended(run, "locked", stored.summary)
            return "locked"
        except OSError as error:
            raise StoreError(f"cannot lock {folder.lock}: {error.strerror}") from error
        try:
            folder.sweep()
            stored = self.store.get(run)  # another process may have finished it meanwhile
            if self.options.force:
                folder.clear()
                stored = self.store.get(run)
            elif known := self._already(run, stored):
                return known
            return self._train(run, folder, stored)
        finally:
            lock.release()

    def _already(self, run: Run, stored: StoredRun) -> Outcome | None:
        """The outcome of a run that needs no training, or that must not be touched, or None."""
        if stored.problem and not stored.repairable:
            return self._unusable(run, stored)
        if stored.finished:
            self.progress.ended(run, "done", stored.summary)
            return "done"
        if stored.summary and stored.summary.state == "failed":
            self.progress.note(f"{run.id} failed before; --force trains it again")
            self.progress.ended(run, "failed", stored.summary)
            return "failed"
        return None

    def _unusable(self, run: Run, stored: StoredRun) -> Outcome:
        self.progress.note(f"{run.id}: {stored.problem}; --force trains it again")
        self.progress.ended(run, "failed", None)
        return "failed"

    def _train(self, run: Run, folder: RunFolder, stored: StoredRun) -> Outcome:
        dataset = self.dataset(run.dataset)
        begun = bool(stored.summary and stored.summary.iteration) or bool(folder.checkpoints())
        trainer = self._resume(run, folder, dataset)
        if trainer is None and stored.problem and stored.holds_result:
            return self._unusable(run, stored)
        if stored.problem:
            self._say_repaired(run, folder, stored)
        if trainer is None:
            if begun:
                self.progress.note(f"{run.id}: no usable checkpoint, starting over")
            trainer = Trainer(run, dataset, choose_backend(self.options.device, run.precision))
        session = _Session(self, run, folder, trainer, dataset, self._observers(run, folder))
        self.progress.started(run, trainer.iteration)
        session.begin()
        outcome: Literal["done", "stopped", "failed"]
        try:
            outcome = "done" if trainer.train(session) else "stopped"
            session.end(outcome)
        except DivergenceError as error:
            outcome = "failed"
            session.end(outcome, str(error))
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise ReproError(
                f"{run.id}: not enough memory on {trainer.backend.device}; it continues from the "
                "last checkpoint when there is more"
            ) from error
        self.progress.ended(run, outcome, session.summary)
        return outcome

    def _say_repaired(self, run: Run, folder: RunFolder, stored: StoredRun) -> None:
        """Tell what the training is about to write anew; torn measurements are made anew."""
        self.progress.note(f"{run.id}: {stored.problem}; written anew")
        for path, read in (
            (folder.responses, stored.responses),
            (folder.gradients, stored.gradients),
        ):
            try:
                read()
            except StoreError:
                folder.remove(path)

    def _observers(self, run: Run, folder: RunFolder) -> list[Observer]:
        """Who looks on while this run is trained."""
        observers: list[Observer] = []
        if run.id in self.options.observe_gradients:
            observers.append(GradientRecord(folder))
        if self.options.tensorboard:
            observers.append(EventFiles(folder.tensorboard))
        return observers

    def _resume(self, run: Run, folder: RunFolder, dataset: Dataset) -> Trainer | None:
        """A trainer that continues from the newest good checkpoint, or None if there is none.

        Raises:
            StoreError: no checkpoint is good, and one could not be read: it may be good.
        """
        backend = choose_backend(self.options.device, run.precision)
        trainer, damaged, unreadable = None, [], None
        for path in folder.checkpoints():
            try:
                trainer = self._continue(run, dataset, backend, unpack(path.read_bytes()))
            except CheckpointError as error:
                self.progress.note(f"{run.id}: {path.name} is not used: {error}")
                damaged.append(path)
            except OSError as error:
                unreadable = StoreError(f"cannot read {path}: {error.strerror}")
            else:
                break
        if trainer is None and unreadable:
            raise unreadable
        for path in damaged:
            folder.set_aside(path)
        return trainer

    def _continue(
        self, run: Run, dataset: Dataset, backend: Backend, state: dict[str, Any]
    ) -> Trainer:
        """A trainer that goes on from a checkpoint's state, in its precision.

        Raises:
            DataError: the run was begun on another copy of the data set.
        """
        if state.get("data", dataset.identity.sha256) != dataset.identity.sha256:
            raise DataError(
                f"{run.id} was begun on another copy of {run.dataset} than the one here; "
                "bring that copy back, or train it again with --force"
            )
        precision = state.get("precision")
        if precision in ("fp32", "bf16") and precision != backend.precision:
            self.progress.note(f"{run.id} was begun in {precision} and continues in {precision}")
            backend = replace(backend, precision=precision)
        trainer = Trainer(run, dataset, backend)
        trainer.load_state(state)
        return trainer

    def dataset(self, name: str) -> Dataset:
        """The data set, loaded once."""
        if name not in self._datasets:
            self._datasets[name] = data.load(name, self.options.data_dir)
        return self._datasets[name]

    def measure_responses(self, runs: Sequence[Run]) -> list[str]:
        """Measure the layer responses of finished runs that have none yet (Fig. 7).

        Returns the ids of finished runs whose weights are not here.
        """
        without_weights = []
        for run in runs:
            if self.stop.reason:
                break
            stored = self.store.get(run)
            if not stored.finished or (stored.folder.responses.exists() and not self.options.force):
                continue
            trainer = self._trained(run, stored)
            if trainer is None:
                without_weights.append(run.id)
                continue
            rows = measure_responses(
                trainer.network, trainer.test[0], trainer.mean, trainer.backend.autocast
            )
            stored.folder.write_responses(rows)
            self.progress.note(f"{run.id}: responses of {len(rows)} layers measured")
        return without_weights

    def measure_gradients(self, runs: Sequence[Run]) -> list[str]:
        """Measure what finished runs lack of their signals and gradients at the start and end.

        Returns the ids of finished runs whose weights are not here.
        """
        without_weights = []
        for run in runs:
            if self.stop.reason:
                break
            stored = self.store.get(run)
            if not stored.finished:
                continue
            rows = stored.gradients()
            if {0, run.recipe.iterations} <= {row.iteration for row in rows}:
                continue
            trainer = self._trained(run, stored)
            if trainer is None:
                without_weights.append(run.id)
                continue
            stored.folder.write_gradients(measure_afterwards(trainer, rows))
            self.progress.note(f"{run.id}: signals and gradients measured at the start and end")
        return without_weights

    def write_events(self, runs: Sequence[Run]) -> None:
        """Write TensorBoard's event file of finished runs that have none."""
        for run in runs:
            stored = self.store.get(run)
            if stored.finished and not has_events(stored.folder.tensorboard):
                write_events(stored.folder.tensorboard, stored.curve())

    def _trained(self, run: Run, stored: StoredRun) -> Trainer | None:
        """A trainer that holds a finished run's weights, or None if they are not here.

        Raises:
            DataError: the data set here is not the one that it was trained on.
        """
        weights = self._trained_network(run, stored)
        if weights is None:
            return None
        dataset = self.dataset(run.dataset)
        assert stored.summary is not None
        if dataset.identity.sha256 != stored.summary.provenance.dataset.get("sha256"):
            raise DataError(
                f"{run.id} was trained on another copy of {run.dataset} than the one here"
            )
        backend = choose_backend(self.options.device, stored.summary.provenance.precision)
        trainer = Trainer(run, dataset, backend)
        trainer.network.load_state_dict(weights)
        return trainer

    def _trained_network(self, run: Run, stored: StoredRun) -> dict[str, torch.Tensor] | None:
        """The final weights of a finished run, or None if its checkpoint is not here."""
        for path in stored.folder.checkpoints():
            try:
                state = unpack(path.read_bytes())
                if state["iteration"] == run.recipe.iterations and state["run"] == run.id:
                    build_for(run, 10).load_state_dict(state["network"])
                    weights: dict[str, torch.Tensor] = state["network"]
                    return weights
            except (CheckpointError, KeyError, TypeError, RuntimeError, OSError) as error:
                self.progress.note(f"{run.id}: {path.name} is not used: {error}")
        return None


class _Session:
    """One sitting of one run: stores what the trainer has got to, and asks when to stop."""

    def __init__(
        self,
        runner: Runner,
        run: Run,
        folder: RunFolder,
        trainer: Trainer,
        dataset: Dataset,
        observers: Sequence[Observer],
    ) -> None:
        self.runner, self.run, self.folder, self.trainer = runner, run, folder, trainer
        self.observers = observers
        self.last_checkpoint = self.last_note = time.monotonic()
        earlier = runner.store.get(run).summary if trainer.iteration else None
        code, dirty = provenance.code_version()
        self.provenance = Provenance(
            code=code,
            dirty=dirty,
            command=runner.options.command,
            device=trainer.backend.device.type,
            hardware=hardware_name(trainer.backend.device),
            precision=trainer.backend.precision,
            threads=torch.get_num_threads(),
            versions=provenance.versions(),
            dataset=dataset.identity.to_dict(),
            normalisation=trainer.normalisation,
            started=earlier.provenance.started if earlier else provenance.utc_now(),
            sessions=earlier.provenance.sessions + 1 if earlier else 1,
        )
        self.summary = self._summarize("running")

    def begin(self) -> None:
        """Say what is trained here and by whom."""
        self.folder.claim()
        self.folder.write_config(self.run)
        self._write_curve()
        self.folder.write_summary(self.summary)
        for observer in self.observers:
            observer.begin(self.trainer)

    def end(self, state: Literal["done", "failed", "stopped"], failure: str | None = None) -> None:
        """Store the last state; the summary comes last, so that `done` means that all is there."""
        if state != "failed":
            self._save()
        self._write_curve()
        for observer in self.observers:
            observer.end()
        self.provenance = self.provenance.model_copy(update={"ended": provenance.utc_now()})
        self.summary = self._summarize(state, failure)
        self.folder.write_summary(self.summary)

    def should_stop(self) -> bool:
        """Whether a signal came or the time is up."""
        return self.runner.stop.reason is not None

    def on_iteration(self, trainer: Trainer, rate: float) -> None:
        """Save and tell, now and then."""
        now = time.monotonic()
        if now - self.last_checkpoint >= self.runner.options.checkpoint_every:
            self._save()
        if now - self.last_note >= HEARTBEAT:
            self._tell(rate)

    def on_point(self, trainer: Trainer) -> None:
        """Store the curve with its new point."""
        self._write_curve()
        for observer in self.observers:
            observer.on_point(trainer)
        self._tell(trainer.points[-1].lr)

    def _save(self) -> None:
        self.folder.write_checkpoint(pack(self.trainer.state()))
        self.last_checkpoint = time.monotonic()

    def _write_curve(self) -> None:
        self.folder.write_curve([CurveRow(**asdict(point)) for point in self.trainer.points])

    def _tell(self, rate: float) -> None:
        self.summary = self._summarize("running")
        self.folder.write_summary(self.summary, durable=False)
        self.folder.claim()
        self.last_note = time.monotonic()
        left = self.run.recipe.iterations - self.trainer.iteration
        per_iteration = self.trainer.seconds / max(1, self.trainer.iteration)
        self.runner.progress.advanced(self.run, self.summary, rate, left * per_iteration)

    def _summarize(
        self, state: Literal["running", "stopped", "done", "failed"], failure: str | None = None
    ) -> Summary:
        trainer, points = self.trainer, self.trainer.points
        last = points[-1] if points else None
        best = min(points, key=lambda p: p.test_error) if points else None
        done = trainer.iteration * self.run.recipe.batch_size
        speed = done / trainer.training_seconds if trainer.training_seconds else None
        return Summary(
            id=self.run.id,
            network=self.run.network,
            dataset=self.run.dataset,
            preset=self.run.preset,
            seed=self.run.seed,
            state=state,
            iteration=trainer.iteration,
            iterations=self.run.recipe.iterations,
            parameters=trainer.parameters,
            final_train_loss=last.train_loss if last else None,
            final_train_error=last.train_error if last else None,
            final_test_error=last.test_error if last else None,
            final_validation_error=last.validation_error if last else None,
            best_test_error=best.test_error if best else None,
            best_test_iteration=best.iteration if best else None,
            warmup_end=trainer.warmup_end,
            failure=failure,
            seconds=round(trainer.seconds, 3),
            images_per_second=round(speed, 1) if speed else None,
            provenance=self.provenance,
        )
