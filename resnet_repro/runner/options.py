"""How to run, as opposed to what, and where progress is reported."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from resnet_repro.spec.run import Resolved, Run
from resnet_repro.store.models import Summary

__all__ = ["Options", "Outcome", "Progress"]

Outcome = Literal["done", "failed", "stopped", "locked"]


@dataclass(frozen=True)
class Options:
    """How to run, as opposed to what."""

    data_dir: Path
    folders: dict[str, Path] = field(default_factory=dict)  # NAME -> PATH of `folder:NAME`
    device: str = "auto"
    force: bool = False
    fail_fast: bool = False
    checkpoint_every: float = 60.0  # seconds
    command: str = "resnet-repro run"
    observe_gradients: frozenset[str] = frozenset()  # ids of runs to measure while they train
    tensorboard: bool = False
    # What a precision of `auto` comes to, where whoever started this process has decided.
    auto_precision: Resolved | None = None


class Progress(Protocol):
    """Where the progress of the work is reported."""

    def started(self, run: Run, iteration: int) -> None:
        """A run starts, or continues after `iteration`."""

    def advanced(self, run: Run, summary: Summary) -> None:
        """A run has got further; reported a few times a second at most."""

    def ended(self, run: Run, outcome: Outcome, summary: Summary | None) -> None:
        """A run ended or was left to another process."""

    def note(self, text: str) -> None:
        """Something the user should know."""
