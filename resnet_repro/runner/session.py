"""One sitting of one run: stores what the trainer has got to, and asks when to stop."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal

import torch

from resnet_repro import provenance
from resnet_repro.observe import Observer
from resnet_repro.runner.agreement import Agreement
from resnet_repro.runner.options import Options, Progress
from resnet_repro.stop import StopFlag
from resnet_repro.store import CurveRow, Provenance, RunFolder, Summary
from resnet_repro.training import Trainer, hardware_name, pack

__all__ = ["Session"]

HEARTBEAT = 5.0  # seconds between two notes of how far a run is


class Session:
    """Hooks of the process that stores a training's outcome."""

    def __init__(
        self,
        options: Options,
        stop: StopFlag,
        progress: Progress,
        folder: RunFolder,
        trainer: Trainer,
        earlier: Summary | None,
        observers: Sequence[Observer],
    ) -> None:
        """`earlier` is the summary of the sittings that this one continues."""
        self.options, self.progress = options, progress
        self.run, self.folder, self.trainer = trainer.run, folder, trainer
        self.agreement = Agreement(trainer.processes, stop)
        self.observers = observers
        self.last_checkpoint = self.last_note = time.monotonic()
        self.provenance = _provenance(trainer, options, earlier)
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
        """Whether a signal came or the time is up, in any of the processes."""
        due = time.monotonic() - self.last_checkpoint >= self.options.checkpoint_every
        return self.agreement.should_stop(due)

    def on_iteration(self, trainer: Trainer, rate: float) -> None:
        """Save and tell, now and then."""
        if self.agreement.save_is_due:
            self._save()
        if time.monotonic() - self.last_note >= HEARTBEAT:
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
        self.progress.advanced(self.run, self.summary, rate, left * per_iteration)

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
            lr_divisions=list(trainer.divisions) if self.run.recipe.plateau else None,
            failure=failure,
            seconds=round(trainer.seconds, 3),
            images_per_second=round(speed, 1) if speed else None,
            provenance=self.provenance,
        )


def _provenance(trainer: Trainer, options: Options, earlier: Summary | None) -> Provenance:
    """Where the numbers of this sitting come from."""
    code, dirty = provenance.code_version()
    before = earlier.provenance if earlier else None
    return Provenance(
        code=code,
        dirty=dirty,
        command=options.command,
        device=trainer.backend.device.type,
        hardware=hardware_name(trainer.backend.device),
        precision=trainer.backend.precision,
        threads=torch.get_num_threads(),
        versions=provenance.versions(),
        dataset=trainer.feed.identity.to_dict(),
        normalisation=trainer.feed.normalisation,
        started=before.started if before else provenance.utc_now(),
        sessions=before.sessions + 1 if before else 1,
        processes=trainer.processes.count,
        # None where it was not the same all the time.
        bn_images=trainer.bn_images if len(trainer.bn_sizes) == 1 else None,
    )
