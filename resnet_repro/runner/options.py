"""How a command trains and measures, and how a run ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from resnet_repro.spec.run import Resolved, Run
from resnet_repro.store.store import Store

__all__ = ["Options", "Outcome", "to_replace"]

Outcome = Literal["done", "failed", "stopped", "locked"]


@dataclass(frozen=True)
class Options:
    """How a command trains and measures: what is not in a run's configuration."""

    data_dir: Path
    # NAME -> PATH of `folder:NAME` or `voc:NAME`.
    folders: dict[str, Path] = field(default_factory=dict)
    device: str = "auto"
    compiled: bool = False  # batch normalisation, shortcut and ReLU fused by torch's compiler
    force: bool = False
    fail_fast: bool = False
    checkpoint_every: float = 60.0  # seconds
    command: str = "resnet-repro run"
    observe_gradients: frozenset[str] = frozenset()  # ids of runs to measure while they train
    tensorboard: bool = False
    # The precision for `auto`, if the process that started this one has decided.
    auto_precision: Resolved | None = None


def to_replace(run: Run, store: Store, force: bool) -> str | None:
    """With `force`, the last session of the result that is there, and is to be replaced.

    Not the time now: clocks of other machines may differ. None if another process is training it,
    whose result is a new one.
    """
    if not force:
        return None
    stored = store.get(run)
    if stored.state in ("running", "stopped"):  # or it is continued, and has not said so yet
        with stored.folder.locked() as held:
            if not held:
                return None
    return stored.last_session
