"""Training the runs that are not done, one after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Literal, get_args

from resnet_repro.base.errors import StoreError
from resnet_repro.base.files import DiskFullError
from resnet_repro.base.stop import StopFlag, Stopped
from resnet_repro.measure.gradients import GradientObserver
from resnet_repro.measure.tensorboard import EventFiles
from resnet_repro.paper.papers import FAMILIES
from resnet_repro.paper.recipes import by_a_papers_recipe
from resnet_repro.plan.progress import Progress
from resnet_repro.runner.backbones import load_backbone, read_backbone
from resnet_repro.runner.measuring import Measurer
from resnet_repro.runner.options import Options, Outcome, to_replace
from resnet_repro.runner.resuming import Resumed, refuse_other_data, resume
from resnet_repro.runner.session import Observer, Session
from resnet_repro.runner.sources import Sources, memory_advice
from resnet_repro.runner.together import TrainTask, in_every_process, refuse_different_data
from resnet_repro.spec.network_names import parse_network
from resnet_repro.spec.run import Precision, Resolved, Run
from resnet_repro.store.models import Summary
from resnet_repro.store.store import Store
from resnet_repro.store.stored_run import StoredRun
from resnet_repro.training.checkpoint import matches_result
from resnet_repro.training.feed import check_fits
from resnet_repro.training.memory import enough_memory
from resnet_repro.training.processes import ALONE, Processes
from resnet_repro.training.subject import check_compiled
from resnet_repro.training.trainer import DivergenceError

__all__ = ["Runner"]


class Runner:
    """Trains runs into a store until they are done or it is time to stop.

    If several processes train together, this is in the first of them; the others `follow` it.
    """

    def __init__(
        self,
        store: Store,
        options: Options,
        stop: StopFlag,
        progress: Progress,
        processes: Processes = ALONE,
    ) -> None:
        self.store, self.options, self.stop, self.progress = store, options, stop, progress
        self.processes = processes
        self.sources = Sources(options, stop, processes)
        self._reported_locked: set[str] = set()
        self._replaced: dict[str, str | None] = {}  # by run id

    @cached_property
    def measurer(self) -> Measurer:
        """Makes measurements on the trained networks."""
        return Measurer(self.store, self.sources, self.progress)

    def run_all(self, runs: Sequence[Run]) -> dict[str, Outcome]:
        """Train the runs that are not done; returns the outcomes of all that were considered.

        Runs that another process is training are skipped and checked again at the end.

        Raises:
            DataError: as `check`.
            StoreError: results cannot be written.
            ConfigError: as `check`.
        """
        if not self.check(runs):
            return {}
        outcomes: dict[str, Outcome] = {}
        waiting = list(runs)
        while waiting:
            locked = []
            for run in waiting:
                outcome = self.blocked_outcome(run, outcomes) or self._run_one(run)
                if outcome is None:
                    continue  # others may be done already
                outcomes[run.id] = outcome
                if outcome == "locked":
                    locked.append(run)
                if outcome == "stopped" or (outcome == "failed" and self.options.fail_fast):
                    return outcomes
            if len(locked) == len(waiting):
                break
            waiting = locked
        return outcomes

    def replaces(self, run: Run) -> str | None:
        """What `to_replace` said of a run when first asked: by `check`, before all training."""
        if run.id not in self._replaced:
            self._replaced[run.id] = to_replace(run, self.store, self.options.force)
        return self._replaced[run.id]

    def settled(self, run: Run, stored: StoredRun | None = None) -> Outcome | None:
        """The outcome of a run that needs no training or must not be changed; otherwise None."""
        replaced = self.replaces(run)
        stored = self.store.get(run) if stored is None else stored
        return None if stored.last_session == replaced else stored.settled

    def todo(self, runs: Sequence[Run]) -> list[Run]:
        """Those of the runs that are to be trained."""
        return [run for run in runs if not self.settled(run)]

    def check(self, runs: Sequence[Run], elsewhere: bool = False) -> bool:
        """Refuse runs that could not begin here, before hours of training the others.

        What `--force` replaces is what is there now, before data sets are looked through and other
        processes train. Nothing is written. Weights of a run that is still to be trained are not
        looked for. False if it was time to stop while a data set was looked through. Of runs that
        are trained `elsewhere`, with data and devices of other machines, only results that are
        there are compared with the folder that the command names, if it is here.

        Raises:
            DataError: a data set, or what a detector starts from, is not there or is something
                else; or a run was trained on another copy of the data set.
            ConfigError: the device is not there, or a recipe does not fit the data set or
                `--compile`.
        """
        try:
            self._check(runs, elsewhere)
        except Stopped:
            return False
        return True

    def _check(self, runs: Sequence[Run], elsewhere: bool) -> None:
        todo = {run.id: run for run in self.todo(runs)}  # first, since it asks what is replaced
        force = self.options.force
        there = {run.id: self.store.get(run) for run in runs}
        unfinished = {name for name, stored in there.items() if force or not stored.finished}
        for run in () if elsewhere else todo.values():
            check_fits(run, self.sources.dataset(run.dataset), self.processes.count)
            begins = force or not there[run.id].folder.checkpoints()
            if begins and run.recipe.starts_from not in unfinished:
                read_backbone(run, self.store, self.options.data_dir)
            device = self.sources.backend("fp32").device
            if self.options.compiled:
                check_compiled(run, device)
        for run in runs:
            stored = there[run.id]
            if force or stored.problem or stored.summary is None:
                continue
            if run.id in todo:
                compared = not elsewhere and bool(stored.folder.checkpoints())
            else:
                named = self.options.folders.get(run.dataset.partition(":")[2])
                compared = named is not None and (named.exists() or not elsewhere)
            if compared:
                here = self.sources.dataset(run.dataset).identity.sha256
                refuse_other_data(stored, stored.summary.provenance.dataset.get("sha256"), here)

    def _run_one(self, run: Run) -> Outcome | None:
        """The outcome of a run; None if it is time to stop before it begins."""
        stored = self.store.get(run)
        if known := self.known_outcome(run, stored):
            return known
        if self.stop.reason:
            return None
        folder = self.store.folder(run)
        folder.make()
        with folder.locked() as held:
            if not held:
                return self.report_locked(run)
            folder.sweep()
            stored = self.store.get(run)  # another process may have finished it meanwhile
            if known := self.known_outcome(run, stored):
                return known
            if stored.last_session == self.replaces(run):
                folder.clear()
                stored = self.store.get(run)
            try:
                with enough_memory(
                    lambda: f"{run.id}: not enough memory to begin or to continue it"
                ):
                    return self._train(run, stored)
            except Stopped:  # while photographs were decoded, before the training began
                self.progress.ended(run, "stopped", stored.summary)
                return "stopped"

    def known_outcome(self, run: Run, stored: StoredRun) -> Outcome | None:
        """As `settled`, and reported: if it failed, with the reason."""
        if not self.settled(run, stored):
            return None
        if stored.given_up:
            return self._failed(run, stored.given_up, stored.summary)
        self.progress.ended(run, "done", stored.summary)
        return "done"

    def blocked_outcome(self, run: Run, outcomes: Mapping[str, Outcome]) -> Outcome | None:
        """The outcome of a detector that cannot begin, since what it starts from is not done.

        None for all other runs. `outcomes` are those of the runs before it.
        """
        source = run.recipe.starts_from
        outcome = outcomes.get(source) if source else None
        if outcome not in ("failed", "locked", "stopped"):
            return None
        stored = self.store.get(run)
        if not self.options.force and (stored.finished or stored.folder.checkpoints()):
            return None
        if outcome == "locked":
            return self.report_locked(run)
        if outcome == "stopped":  # as by scancel, which leaves this process at work
            return outcome
        return self._failed(run, f"{run.id} starts from {source}, which failed: not trained")

    def report_locked(self, run: Run) -> Outcome:
        """Report, once for each run, that it is left to another process."""
        if run.id not in self._reported_locked:
            self._reported_locked.add(run.id)
            self.progress.ended(run, "locked", self.store.get(run).summary)
        return "locked"

    def _failed(self, run: Run, note: str, summary: Summary | None = None) -> Outcome:
        self.progress.note(note)
        self.progress.ended(run, "failed", summary)
        return "failed"

    def _train(self, run: Run, stored: StoredRun) -> Outcome:
        folder = stored.folder
        begun = bool(stored.summary and stored.summary.iteration) or bool(folder.checkpoints())
        resumed = resume(run, stored, self.sources, self.progress.note)
        if stored.problem and stored.holds_result and not _can_be_rewritten(resumed, stored):
            if resumed:
                resumed.trainer.feed.close()
            return self._failed(run, f"{run.id}: {stored.problem}; {stored.train_again}")
        if stored.problem:
            # Training writes its files again; torn measurements are made again.
            self.progress.note(f"{run.id}: {stored.problem}; written anew")
            stored.discard_torn_measurements()
        if resumed is None:
            if begun:
                self.progress.note(f"{run.id}: no usable checkpoint, starting over")
            backend = self.sources.backend(run.precision)
            self._tell_of_the_same(run, backend.precision)
            # Other processes get this one's weights when they connect.
            new = self.sources.trainer(run, backend)
            data_dir, note = self.options.data_dir, self.progress.note
            backbone = load_backbone(run, new.network, self.store, data_dir, note)
            resumed = Resumed(new, backbone=backbone)
        trainer = resumed.trainer
        try:
            self.processes.broadcast(TrainTask(run, trainer.backend.precision, resumed.checkpoint))
            in_every_process(self.sources, lambda: trainer.feed.prepare(self.sources.should_stop))
            refuse_different_data(self.processes, trainer.feed.identity)
            if not trainer.iteration:
                folder.clear_measurements()  # those of a training that is given up
            with enough_memory(lambda: memory_advice(trainer)):
                return self._session(resumed, stored)
        except DiskFullError as error:
            if not folder.checkpoints():
                raise
            raise StoreError(f"{error}, it continues from the last checkpoint") from error
        finally:
            trainer.feed.close()

    def _tell_of_the_same(self, run: Run, precision: Resolved) -> None:
        """Note a run that differs in how it came to its precision, so that it trains the same."""
        named = [run.model_copy(update={"precision": p}) for p in get_args(Precision)]
        for other in (one for one in named if one.precision != run.precision):
            summary = self.store.get(other).summary
            if summary and summary.provenance.precision == precision:
                self.progress.note(
                    f"{run.id}: {other.id}, at iteration {summary.iteration:,}, trains the same, "
                    f"in {precision} as well (--precision {other.precision})"
                )

    def _session(self, resumed: Resumed, stored: StoredRun) -> Outcome:
        """Train until the end or until it is time to stop, and store the results."""
        trainer = resumed.trainer
        run, folder = trainer.run, stored.folder
        summary = stored.summary if trainer.iteration else None
        observers: list[Observer] = []
        if run.id in self.options.observe_gradients and not trainer.complete:
            observers.append(GradientObserver(folder))
        if self.options.tensorboard:
            observers.append(EventFiles(folder.tensorboard))
        session = Session(
            self.options,
            self.stop,
            self.progress,
            folder,
            resumed,
            summary,
            observers,
            changed="summary" in stored.damaged,
        )
        self.progress.started(run, trainer.iteration)
        papers = FAMILIES[parse_network(run.network).family].bn_images
        if by_a_papers_recipe(run) and trainer.trains_norm and trainer.bn_images < papers:
            self.progress.note(
                f"{run.id}: batch normalisation sees {trainer.bn_images} images at a time, the "
                f"paper's saw {papers}: no result at the paper's protocol, which takes as many "
                "from the first iteration on"
            )
        session.begin()
        outcome: Literal["done", "stopped", "failed"]
        try:
            outcome = "done" if trainer.train(session) else "stopped"
            session.end(outcome)
        except DivergenceError as error:
            outcome = "failed"
            session.end(outcome, str(error))
        self.progress.ended(run, outcome, session.summary)
        return outcome


def _can_be_rewritten(resumed: Resumed | None, stored: StoredRun) -> bool:
    """Whether a damaged result can be written again: its own training is there, to the end."""
    if resumed is None:
        return False
    trainer = resumed.trainer
    points = [point._asdict() for point in trainer.points]
    return trainer.complete and matches_result(stored, points, trainer.backend.precision)
