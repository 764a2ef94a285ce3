"""A checkpoint as bytes: everything that decides a training's future, with a checksum.

The layout is a magic word, the SHA-256 of the rest, and a torch archive that is only ever read
with `weights_only=True`: nothing in a checkpoint is executed, and nothing in it is taken on trust.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt

from resnet_repro.base.files import read_regular
from resnet_repro.spec.recipe import Recipe
from resnet_repro.spec.run import Run, ids_of
from resnet_repro.store.models import CurveRow, DetectionPoint
from resnet_repro.store.stored_run import StoredRun
from resnet_repro.training.memory import is_lack_of_memory

__all__ = [
    "BEFORE_THE_END",
    "OTHER_TRAINING",
    "CheckpointError",
    "final_state",
    "is_final",
    "matches_result",
    "newest",
    "newest_state",
    "pack",
    "read_position",
    "unpack",
    "weights_missing",
]

T = TypeVar("T")

MAGIC = b"resnet-repro checkpoint 1\n"
LARGEST_CHECKPOINT = 2**33  # bytes; VGG-16's has 1.1 GB
OTHER_TRAINING = "its checkpoint is of another training than curve.csv and summary.json"
BEFORE_THE_END = "its checkpoint is from before the end of its training"
_DIGEST = hashlib.sha256().digest_size


class CheckpointError(Exception):
    """A checkpoint is not whole and unchanged, not of this program, or not of this run."""


def pack(state: dict[str, Any]) -> bytes:
    """Tensors, numbers and texts, nested in dicts and lists, as bytes."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()
    return b"".join((MAGIC, hashlib.sha256(payload).digest(), payload))


def unpack(content: bytes) -> dict[str, Any]:
    """The inverse of `pack`, on the CPU.

    Raises:
        CheckpointError: empty, truncated, changed, foreign or from another version.
    """
    if not content:
        raise CheckpointError("empty")
    if not content.startswith(MAGIC):
        raise CheckpointError("not a checkpoint of this program")
    digest = content[len(MAGIC) : len(MAGIC) + _DIGEST]
    payload = memoryview(content)[len(MAGIC) + _DIGEST :]
    if hashlib.sha256(payload).digest() != digest:
        raise CheckpointError("damaged (its checksum does not match)")
    try:
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for one reason: these are not our tensors
        if is_lack_of_memory(error):
            raise
        raise CheckpointError(f"unreadable ({type(error).__name__})") from error
    if not isinstance(state, dict):
        raise CheckpointError("not a checkpoint of this program")
    return state


def newest(
    paths: Sequence[Path], use: Callable[[bytes, dict[str, Any]], T]
) -> tuple[T | None, list[tuple[Path, CheckpointError | OSError]]]:
    """What `use` makes of the newest checkpoint that it can use, and why newer ones failed.

    Args:
        paths: of checkpoints, the newest first.
        use: takes a checkpoint's bytes and the state in it; may raise CheckpointError.
    """
    failures: list[tuple[Path, CheckpointError | OSError]] = []
    for path in paths:
        try:
            content = read_regular(path, LARGEST_CHECKPOINT)
            return use(content, unpack(content)), failures
        except (CheckpointError, OSError) as error:
            failures.append((path, error))
    return None, failures


def newest_state(run: Run, paths: Sequence[Path]) -> tuple[dict[str, Any] | None, list[str]]:
    """The state in a run's newest readable checkpoint, and why newer ones are not used."""

    def use(_: bytes, state: dict[str, Any]) -> dict[str, Any]:
        if state.get("run") not in ids_of(run.id):
            raise CheckpointError("of another run")
        known = isinstance(state.get("network"), dict) and isinstance(state.get("precision"), str)
        if type(state.get("iteration")) is not int or not known:
            raise CheckpointError("not a checkpoint of this program")
        return state

    state, failures = newest(paths, use)
    return state, [
        f"{path.name} cannot be read: {error.strerror}"
        if isinstance(error, OSError)
        else f"{path.name} is {error}"
        for path, error in failures
    ]


def is_final(run: Run, state: Mapping[str, Any]) -> bool:
    """Whether a state is that of the finished training.

    That is after the curve's last point, before which BN's statistics are averaged: the last
    iteration alone does not make it final.
    """
    points = state.get("points") or [{}]
    return bool(points[-1].get("iteration") == run.recipe.iterations)


def matches_result(stored: StoredRun, points: Sequence[Mapping[str, Any]], precision: str) -> bool:
    """Whether the stored result is that of a training with this curve, in this precision.

    Trained elsewhere as well, a run has two: results travel with git, checkpoints do not.
    """
    if stored.summary and stored.summary.provenance.precision != precision:
        return False
    if "curve" in stored.damaged or not (curve := stored.curve()):
        return True
    row = curve[-1]._asdict()
    same = (p for p in reversed(points) if p.get("iteration") == row["iteration"])
    own: Mapping[str, Any] = next(same, {})
    return all(own.get(k) == value or _close(own.get(k), value) for k, value in row.items())


def _close(one: Any, other: Any) -> bool:
    """Whether two numbers differ by rounding alone."""
    numbers = isinstance(one, (int, float)) and isinstance(other, (int, float))
    return numbers and math.isclose(one, other, rel_tol=1e-6)


def final_state(run: Run, stored: StoredRun) -> tuple[dict[str, Any] | None, list[str]]:
    """As `newest_state`, but None unless it is the state that gave a run's stored result."""
    state, reasons = newest_state(run, stored.folder.checkpoints())
    if state is None:
        return None, reasons
    if not is_final(run, state):
        return None, [*reasons, BEFORE_THE_END]
    if not matches_result(stored, state["points"], state["precision"]):
        return None, [*reasons, OTHER_TRAINING]
    return state, reasons


def weights_missing(stored: StoredRun, reasons: Sequence[str] = ()) -> str:
    """What a user is told where a run's weights are needed and are not here, after its id.

    `reasons` say why its checkpoints are not used.
    """
    why = "; ".join(reasons) or "there is no checkpoint"
    return (
        f"its weights are not here ({why}); "
        f"bring its checkpoint from where it was trained, or {stored.train_again}"
    )


class Position(BaseModel):
    """The position of a training in its run: everything but its tensors."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    iteration: NonNegativeInt
    warmup_end: NonNegativeInt | None
    points: list[CurveRow] | list[DetectionPoint]
    seconds: NonNegativeFloat
    training_seconds: NonNegativeFloat
    # What each BN has seen, in images; more than one where a resume could not keep it.
    bn_sizes: Annotated[list[PositiveInt], Field(min_length=1)]


def read_position(state: Mapping[str, Any], recipe: Recipe, share: int) -> Position:
    """The position that a checkpoint's state holds, for a process that sees `share` images.

    BN goes on with as many images as before, where these divide the share; where they do not, the
    largest number that does is added to `bn_sizes`.

    Raises:
        ValueError: it holds none of such a recipe.
    """
    position = Position.model_validate(state)
    iterations = [point.iteration for point in position.points]
    for iteration in (*iterations, position.warmup_end or 0):
        if not 0 <= iteration <= position.iteration <= recipe.iterations:
            raise ValueError("an iteration that cannot be")
    if position.points and isinstance(position.points[0], CurveRow) is bool(recipe.detection):
        raise ValueError("a curve of another kind of training")
    sizes = position.bn_sizes
    if max(sizes) > recipe.batch_size:
        raise ValueError("a number of images that cannot be")
    if share % sizes[-1]:
        fitting = max(size for size in range(1, sizes[-1] + 1) if share % size == 0)
        return position.model_copy(update={"bn_sizes": [*sizes, fitting]})
    return position
