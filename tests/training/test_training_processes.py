"""A group of processes ends with its threads, before Python does."""

from __future__ import annotations

import gc
import re
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from resnet_repro.training import processes
from resnet_repro.training.order import Shard


def gloo_threads() -> list[str]:
    names = (p.read_text(encoding="utf-8") for p in Path("/proc/self/task").glob("*/comm"))
    return [name for name in names if "gloo" in name]


@pytest.mark.skipif(sys.platform != "linux", reason="threads are read in /proc")
def test_the_group_ends_with_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that frees a sent tensor while Python ends would abort the process."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    joined = iter([(dist.HashStore(), 0, 1)])
    monkeypatch.setattr(processes, "rendezvous", lambda *_, **__: joined)
    processes._join(Shard(0, 1))
    network = processes.in_parallel(nn.Linear(4, 4), torch.device("cpu"))
    network(torch.ones(2, 4)).sum().backward()
    dist.broadcast_object_list(["a result"], src=0, device=torch.device("cpu"))
    network.module.__dict__["trainer"] = network  # a circle, as trainers and hooks make them
    del network
    gc.disable()
    try:
        assert gloo_threads()
        processes._leave()
        assert not gloo_threads()
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "NCCL error in: x.cpp:1\nLast error:\nno shared memory",
            "unexpectedly (no shared memory);",
        ),
        ("got error: gone\n. This may indicate a possible crash on rank 0.", "unexpectedly; run"),
    ],
)
def test_what_nccl_says_is_told(said: str, told: str) -> None:
    def fail() -> None:
        with processes.Processes(Shard(0, 2)).communicating():
            raise dist.DistBackendError(said)

    with pytest.raises(processes.PeerLostError, match=re.escape(told)):
        fail()
