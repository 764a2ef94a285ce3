"""One session of training: stores its state and results, and decides when to stop."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal, Protocol

from resnet_repro.base import provenance
from resnet_repro.base.stop import StopFlag
from resnet_repro.plan.progress import Progress
from resnet_repro.runner.options import Options
from resnet_repro.runner.resuming import SESSIONS, Resumed
from resnet_repro.runner.together import Agreement
from resnet_repro.store.models import Provenance, SessionRecord, Summary
from resnet_repro.store.run_folder import RunFolder
from resnet_repro.training.checkpoint import pack
from resnet_repro.training.device import origin_here
from resnet_repro.training.trainer import Trainer

__all__ = ["Observer", "Session"]

HEARTBEAT = 5.0  # seconds between two updates of the summary, and of the claim on the run


class Observer(Protocol):
    """Observes a training without changing its result."""

    def begin(self, trainer: Trainer) -> None:
        """The training begins, or continues after `trainer.iteration`."""

    def on_point(self, trainer: Trainer) -> None:
        """The curve has a new point."""

    def save(self) -> None:
        """Store what was observed so far: a checkpoint is written next, or the session ends."""

    def end(self) -> None:
        """The session is over."""


class Session:
    """The training's hooks in the process that stores its results."""

    def __init__(
        self,
        options: Options,
        stop: StopFlag,
        progress: Progress,
        folder: RunFolder,
        resumed: Resumed,
        before: Summary | None,
        observers: Sequence[Observer],
        *,
        changed: bool = False,
    ) -> None:
        """`before`: the previous session's summary, if there is one that can be read.

        Of one that somebody `changed` only dates and speed are taken, which stand nowhere else.
        Where nothing is left to train, this is no session of its own: the last one's files are
        written again.
        """
        trainer = resumed.trainer
        self.options, self.progress = options, progress
        self.run, self.folder, self.trainer = trainer.run, folder, trainer
        self.agreement = Agreement(trainer.processes, stop)
        self.observers = observers
        self.last_checkpoint = self.last_note = self.last_claim = time.monotonic()
        self.training_seconds_before = trainer.training_seconds
        self.again = trainer.complete
        self.speed_before = before.images_per_second if before else None
        self.provenance = self._origin(resumed, before.provenance if before else None, changed)
        self.summary = self._summarize("running")

    def begin(self) -> None:
        """Record the run and this process in the run's folder."""
        self.folder.claim()
        self.folder.write_config(self.run)
        self._write_curve()
        self.folder.write_summary(self.summary)
        for observer in self.observers:
            observer.begin(self.trainer)

    def end(self, state: Literal["done", "failed", "stopped"], failure: str | None = None) -> None:
        """Store the last state; the summary is written last, so `done` means that all is stored."""
        if state != "failed":
            self._save()
        self._write_curve()
        for observer in self.observers:
            observer.end()
        ended = self.provenance.ended or provenance.utc_now()
        seen = self._bn_images(self.trainer.bn_sizes_so_far)
        self.provenance = self.provenance.model_copy(update={"ended": ended, "bn_images": seen})
        self.summary = self._summarize(state, failure)
        self.folder.write_summary(self.summary)

    def should_stop(self) -> bool:
        """Whether any of the processes got a signal or has used up its time.

        It is called during long tests, too, so here the claim on the run is renewed.
        """
        now = time.monotonic()
        if now - self.last_claim >= HEARTBEAT:
            self.folder.claim()
            self.last_claim = now
        due = now - self.last_checkpoint >= self.options.checkpoint_every
        return self.agreement.should_stop(due)

    def on_iteration(self, trainer: Trainer) -> None:
        """Save and report when it is due."""
        if self.agreement.save_is_due:
            self._save()
        if time.monotonic() - self.last_note >= HEARTBEAT:
            self._report()

    def on_point(self, trainer: Trainer) -> None:
        """Store the curve with its new point."""
        self._write_curve()
        for observer in self.observers:
            observer.on_point(trainer)
        self._report()

    def _origin(self, resumed: Resumed, before: Provenance | None, changed: bool) -> Provenance:
        """The provenance of the session that begins now, or of the last one if it had ended."""
        trainer, trained_by = resumed.trainer, resumed.sessions
        counted = len(trained_by) if before is None or changed else before.sessions
        if self.again:
            trained_by = trained_by if before is None or changed else before.trained_by
        else:
            here = origin_here(trainer.backend, self.options.command, trainer.processes.count)
            now = SessionRecord(
                **here.model_dump(),
                first_iteration=trainer.iteration,
                first_second=round(trainer.seconds, 3),
                backbone=resumed.backbone,
                compiled=trainer.compiled,
            )
            trained_by = (*trained_by, now)
        *earlier, last = trained_by
        return Provenance(
            **dict(last) | {"precision": trainer.backend.precision},  # it goes on in that
            dataset=trainer.feed.identity.to_dict(),
            normalisation=trainer.normalisation,
            started=before.started if before else provenance.utc_now(),
            ended=before.ended if before and self.again else None,
            sessions=counted + (not self.again),
            bn_images=self._bn_images(trainer.bn_sizes_so_far if self.again else trainer.bn_sizes),
            earlier=tuple(earlier),
        )

    def _bn_images(self, sizes: Sequence[int]) -> int | None:
        """The fewest images that batch normalisation saw; None where it is not trained."""
        return min(sizes) if self.trainer.trains_norm else None

    def _save(self) -> None:
        for observer in self.observers:
            observer.save()
        sessions = [session.model_dump() for session in self.provenance.trained_by]
        state = self.trainer.state()  # all processes take part in it
        if self.trainer.iteration:  # else the next session is the first, which loads the backbone
            self.folder.write_checkpoint(pack({**state, SESSIONS: sessions}))
        self.last_checkpoint = time.monotonic()

    def _write_curve(self) -> None:
        self.folder.write_curve(self.trainer.points, self.trainer.objective.row)

    def _report(self) -> None:
        self.summary = self._summarize("running")
        self.folder.write_summary(self.summary, durable=False)
        self.last_note = time.monotonic()
        self.progress.advanced(self.run, self.summary)

    def _summarize(
        self, state: Literal["running", "stopped", "done", "failed"], failure: str | None = None
    ) -> Summary:
        trainer, points = self.trainer, self.trainer.points
        last = points[-1] if points else None
        summary = Summary(
            id=self.folder.path.name,
            network=self.run.network,
            dataset=self.run.dataset,
            preset=self.run.preset,
            seed=self.run.seed,
            state=state,
            iteration=trainer.iteration,
            iterations=self.run.recipe.iterations,
            parameters=trainer.parameters,
            final_train_loss=last.train_loss if last else None,
            **trainer.objective.outcome(points),
            warmup_end=trainer.warmup_end,
            lr_divisions=list(trainer.divisions) if self.run.recipe.plateau else None,
            failure=failure,
            seconds=round(trainer.seconds, 3),
            provenance=self.provenance,
        )
        return summary.model_copy(update={"images_per_second": self._speed(summary)})

    def _speed(self, summary: Summary) -> float | None:
        """Images per second of training without tests; of this session, if it is long enough."""
        made, seconds = summary.iteration, self.trainer.training_seconds
        if self.again and self.speed_before:
            return self.speed_before
        if summary.pace_counts and not self.again:
            made -= self.provenance.first_iteration
            seconds -= self.training_seconds_before
        return round(made * self.run.recipe.batch_size / seconds, 1) if seconds else None
