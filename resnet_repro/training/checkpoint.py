"""A checkpoint as bytes: everything that decides a training's future, with a checksum.

The layout is a magic word, the SHA-256 of the rest, and a torch archive that is only ever read
with `weights_only=True`: nothing in a checkpoint is executed.
"""

from __future__ import annotations

import hashlib
import io
from typing import Any

import torch

__all__ = ["LARGEST_CHECKPOINT", "CheckpointError", "pack", "unpack"]

MAGIC = b"resnet-repro checkpoint 1\n"
LARGEST_CHECKPOINT = 2**33  # bytes; VGG-16's has 1.1 GB
_DIGEST = hashlib.sha256().digest_size


class CheckpointError(Exception):
    """The bytes are not a whole, unchanged checkpoint of this program."""


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
        raise CheckpointError(f"unreadable ({type(error).__name__})") from error
    if not isinstance(state, dict):
        raise CheckpointError("not a checkpoint of this program")
    return state
