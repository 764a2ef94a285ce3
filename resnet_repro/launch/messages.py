"""What a worker process is told and what it tells: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from resnet_repro.runner.options import Options, Outcome
from resnet_repro.spec.run import Run
from resnet_repro.store.models import Summary

__all__ = [
    "Event",
    "SpeedOrder",
    "TrainOrder",
    "as_line",
    "options_elsewhere",
    "read_events",
    "read_order",
]

_CONFIG = ConfigDict(frozen=True, extra="forbid")


class TrainOrder(BaseModel):
    """Train a run into a results folder.

    A result that was begun up to `force_before` (UTC) is trained again; what was begun later comes
    from this very order, given for the second time after a process died or a job was requeued.
    """

    model_config = _CONFIG

    do: Literal["train"] = "train"
    run: Run
    results: Path
    options: Options  # its `force` is False: `force_before` decides
    force_before: str | None = None


class SpeedOrder(BaseModel):
    """Train a few iterations of a run, for their speed only.

    The worker says "warm" after the first iterations, goes on, and counts from the moment that it
    is told to until `seconds` later.
    """

    model_config = _CONFIG

    do: Literal["speed"] = "speed"
    run: Run
    options: Options
    seconds: float


_ORDER: TypeAdapter[TrainOrder | SpeedOrder] = TypeAdapter(
    Annotated[TrainOrder | SpeedOrder, Field(discriminator="do")]
)


def as_line(message: TrainOrder | SpeedOrder | Event) -> str:
    """A message as JSON; paths may be no UTF-8, which pydantic's own JSON does not allow."""
    return json.dumps(message.model_dump(mode="json", exclude_defaults=isinstance(message, Event)))


def read_order(line: str) -> TrainOrder | SpeedOrder:
    """The order in a line."""
    return _ORDER.validate_python(json.loads(line))


class Event(BaseModel):
    """Something that a worker tells of the run it is at.

    `started`, `advanced`, `ended` and `note` are the calls of `runner.Progress`; `result` ends an
    order (outcome None: not looked at), `error` as well. `warm` and `speed` answer a `SpeedOrder`.
    `died` comes from the one who watches the process.
    """

    model_config = _CONFIG

    kind: Literal[
        "started", "advanced", "ended", "note", "result", "error", "warm", "speed", "died"
    ]
    iteration: int = 0
    summary: Summary | None = None
    outcome: Outcome | None = None
    text: str = ""
    error: str = ""  # name of the exception's class
    images_per_second: float = 0.0
    memory_share: float = 0.0  # of the device's memory, what this process took at most


def read_events(lines: Iterable[str]) -> list[Event]:
    """The events in lines that a worker wrote."""
    return [Event.model_validate(json.loads(line)) for line in lines]


def options_elsewhere(options: Options) -> Options:
    """Options for another machine, or another working directory: with whole paths."""
    folders = {name: path.resolve() for name, path in options.folders.items()}
    return replace(options, data_dir=options.data_dir.resolve(), folders=folders)
