"""What makes a number here and now: code, command, machine."""

from __future__ import annotations

import torch

from resnet_repro.base import provenance
from resnet_repro.store.models import Origin
from resnet_repro.training.backend import Backend
from resnet_repro.training.device import hardware_name

__all__ = ["origin_here"]


def origin_here(backend: Backend, command: str, processes: int = 1) -> Origin:
    """The origin of what so many processes with such a backend compute for a command."""
    code, dirty = provenance.code_version()
    return Origin(
        code=code,
        dirty=dirty,
        command=command,
        device=backend.device.type,
        hardware=hardware_name(backend.device),
        precision=backend.precision,
        threads=torch.get_num_threads(),
        versions=provenance.versions(),
        processes=processes,
    )
