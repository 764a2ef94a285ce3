"""Making a trainer that continues a run from its checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from resnet_repro.base.errors import DataError, StoreError
from resnet_repro.runner.sources import Sources
from resnet_repro.spec.run import Run
from resnet_repro.store.models import BackboneRecord, SessionRecord, follow_each_other
from resnet_repro.store.stored_run import StoredRun
from resnet_repro.training.checkpoint import CheckpointError, newest
from resnet_repro.training.trainer import Trainer

__all__ = ["SESSIONS", "Resumed", "refuse_other_data", "resume"]

SESSIONS = "sittings"  # their key in a checkpoint, which the first checkpoints had

UNKNOWN = SessionRecord(  # a session that a checkpoint does not describe
    code="unknown",
    dirty=None,
    command="unknown",
    device="unknown",
    hardware="unknown",
    precision="unknown",
    threads=0,
    versions={},
)
ROUNDING = 0.001  # seconds: a session that did less may have done nothing
_SESSIONS = TypeAdapter(tuple[SessionRecord, ...])


class Resumed(NamedTuple):
    """A training to be begun or continued, and its origin."""

    trainer: Trainer
    checkpoint: bytes | None = None  # that it continues from
    sessions: tuple[SessionRecord, ...] = ()  # that trained it so far
    backbone: BackboneRecord | None = None  # whose weights were put into it just now


def resume(
    run: Run, stored: StoredRun, sources: Sources, note: Callable[[str], None]
) -> Resumed | None:
    """A trainer that continues from the newest good checkpoint; None if there is none.

    Bad checkpoints are renamed, unless the run cannot be continued because one is unreadable.

    Raises:
        StoreError: no checkpoint is good, but one that cannot be read may be.
        DataError: the run was begun on another copy of the data set.
        Stopped: it was time to stop before the data were read.
    """

    def use(content: bytes, state: dict[str, Any]) -> Resumed:
        refuse_other_data(stored, state.get("data"), sources.dataset(run.dataset).identity.sha256)
        trainer = _continued(run, sources, state, note)
        return Resumed(trainer, content, _sessions(state.get(SESSIONS), trainer))

    folder = stored.folder
    found, failures = newest(folder.checkpoints(), use)
    for path, error in failures:
        if isinstance(error, CheckpointError):
            note(f"{run.id}: {path.name} is not used: {error}")
        elif found is None:
            raise StoreError(f"cannot read {path}: {error.strerror}") from error
        else:
            note(f"{run.id}: {path.name} cannot be read ({error.strerror}), an older one is used")
    for path, error in failures:
        if isinstance(error, CheckpointError):
            folder.set_aside(path)
    return found


def refuse_other_data(stored: StoredRun, before: object, here: str) -> None:
    """Raise DataError if a run was begun on data whose checksum is not that of those here."""
    if before not in (None, here):
        data = stored.run.dataset if stored.run else "its data"
        raise DataError(
            f"{stored.id} was begun on another copy of {data} than the one here; bring that copy "
            f"back, use another --results, or {stored.train_again}"
        )


def _sessions(stated: object, trainer: Trainer) -> tuple[SessionRecord, ...]:
    """The sessions before a checkpoint, as far as it describes them."""
    if not trainer.iteration:
        return ()
    try:
        sessions = _SESSIONS.validate_python(stated)
    except ValidationError:
        return (UNKNOWN,)
    position = (trainer.iteration, trainer.seconds - ROUNDING)
    useful = tuple(s for s in sessions if (s.first_iteration, s.first_second) < position)
    whole = follow_each_other(useful, trainer.iteration, trainer.seconds)
    return useful if whole else (UNKNOWN,)


def _continued(
    run: Run, sources: Sources, state: dict[str, Any], note: Callable[[str], None]
) -> Trainer:
    """A trainer that continues from a checkpoint's state, in its precision."""
    backend = sources.backend(run.precision)
    precision = state.get("precision")
    if precision in ("fp32", "bf16") and precision != backend.precision:
        note(f"{run.id} was begun in {precision} and continues in {precision}")
        backend = backend.with_precision(precision)
    trainer = sources.trainer(run, backend)
    trainer.load_state(state)
    if len(trainer.bn_sizes) > len(state["bn_sizes"]):  # the size had to change
        before, now = trainer.bn_sizes[-2:]
        note(
            f"{run.id}: batch normalisation saw {before} images before and sees {now} now: "
            f"{before} do not divide the {trainer.share} that a process has of each batch"
        )
    return trainer
