"""The processes that train a run together, one per GPU, as `torchrun` starts them.

The first of them (rank 0) decides, writes and prints; the others follow it. They exchange few and
small messages: two numbers before every iteration, sums where a result is needed. These go from
host to host (gloo), so that no GPU has to be waited for.
"""

from __future__ import annotations

import contextlib
import gc
import inspect
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from resnet_repro.base.errors import ConfigError, ReproError, plain
from resnet_repro.base.machine import trains_together
from resnet_repro.training.memory import is_lack_of_memory
from resnet_repro.training.order import WHOLE, Shard

__all__ = ["ALONE", "Processes", "in_parallel", "process_group"]

T = TypeVar("T")

_COLLECTIVE_TIMEOUT = timedelta(hours=12)  # the others wait while the first one measures
_RENDEZVOUS_TIMEOUT = timedelta(minutes=10)  # for all processes to appear
_FAILURE_TIMEOUT = timedelta(seconds=5)  # for another process to say why it ends
# In the store that the processes share: the exit code of a failure, and how many have reported it.
_FAILURE, _REPORTS = "resnet-repro/failure", "resnet-repro/reports"


class PeerLostError(ReproError):
    """Another process does not answer: it has ended, or an error has ended it."""

    def __init__(self, why: str = "") -> None:
        super().__init__(
            f"one of the processes ended unexpectedly{f' ({why})' if why else ''}; run again, it "
            "continues from the last checkpoint"
        )


class Processes:
    """This process among those that train together; alone, everything here does nothing."""

    def __init__(self, shard: Shard = WHOLE, local_rank: int = 0) -> None:
        self.shard, self.local_rank = shard, local_rank

    @property
    def count(self) -> int:
        """How many train together."""
        return self.shard.world

    @property
    def first(self) -> bool:
        """Whether this is the one that decides, writes and prints."""
        return self.shard.rank == 0

    @contextlib.contextmanager
    def communicating(self) -> Iterator[None]:
        """Turn what torch raises where another process does not answer into one error.

        Gloo has no class for that: whatever else fails meanwhile is taken for it, but for a lack of
        memory and what a GPU reports.

        Raises:
            PeerLostError: another process does not answer.
        """
        try:
            yield
        except RuntimeError as error:
            own = is_lack_of_memory(error) or isinstance(error, torch.AcceleratorError)
            if self.count == 1 or own:
                raise
            why = plain(str(error).partition("Last error:")[2].strip(), 200)  # NCCL's
            raise PeerLostError(why) from error

    def sum_(self, value: Tensor) -> Tensor:
        """Replace a tensor by its sum over all processes."""
        if self.count > 1:
            with self.communicating():
                dist.all_reduce(value)
        return value

    def average_(self, value: Tensor) -> Tensor:
        """Replace a tensor by its average over all processes."""
        return self.sum_(value).div_(self.count) if self.count > 1 else value

    def largest(self, values: Sequence[int]) -> list[int]:
        """The largest of each number over all processes."""
        if self.count == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.int64)
        with self.communicating():
            dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return [int(value) for value in tensor]

    def broadcast(self, value: T) -> T:
        """The first process's value, in all of them."""
        if self.count == 1:
            return value
        box = [value]
        with self.communicating():
            dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]

    def gather(self, value: T) -> list[T]:
        """Every process's value, by rank, in all of them."""
        if self.count == 1:
            return [value]
        found: list[Any] = [None] * self.count
        with self.communicating():
            dist.all_gather_object(found, value)
        return found

    def share_error(self, error: ReproError | None) -> None:
        """Raise the first error that any process has, in all of them, or go on in all.

        Raises:
            ReproError: this process's own error, or another one's.
        """
        told = None if error is None else (str(error), error.exit_code)
        for other in self.gather(told):
            if other is not None:
                if error is not None:
                    raise error
                theirs = ReproError(other[0])
                theirs.exit_code = other[1]
                raise theirs


ALONE = Processes()


def in_parallel(network: nn.Module, device: torch.device) -> DistributedDataParallel:
    """The network with gradients averaged over all processes in every backward pass.

    Batch normalisation is per process, as in the paper: its buffers are the first process's in the
    beginning (frozen statistics are read by that one alone), and never synchronised again.
    """
    for buffer in network.buffers():
        dist.broadcast(buffer, 0)  # torch 2.11 does not, once told not to synchronise them later
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    # The name has changed over torch's versions.
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    own_buffers: dict[str, Any] = {name: False}
    return DistributedDataParallel(
        network,
        device_ids=[device] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,
        **own_buffers,
    )


@contextlib.contextmanager
def process_group() -> Iterator[Processes]:
    """Join the processes that `torchrun` (or whatever sets RANK and WORLD_SIZE) has started.

    An error in one of them ends all, with its exit code. That one prints it; all the others end
    silently.

    Raises:
        ConfigError: the variables make no sense, or the processes cannot reach each other.
    """
    shard, local_rank = _environment()
    if shard.world == 1:
        yield ALONE
        return
    store = _join(shard)
    try:
        yield Processes(shard, local_rank)
    except Exception as error:
        _end(error, store, shard)
    else:
        _leave()


def _environment() -> tuple[Shard, int]:
    """(this process among all, its number on this machine) as the launcher says."""
    given = {name: os.environ.get(name) or "" for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    if not trains_together():
        return WHOLE, 0
    try:
        rank, count = int(given["RANK"]), int(given["WORLD_SIZE"])
        # Without it each machine should have as many processes as GPUs, by number.
        local_rank = int(given["LOCAL_RANK"] or rank % max(1, torch.cuda.device_count()))
    except ValueError:
        rank, count, local_rank = -1, 0, 0
    if not 0 <= rank < count or local_rank < 0:
        told = ", ".join(f"{name}={value}" for name, value in given.items())
        raise ConfigError(f"{told}: no number of processes; start them with torchrun")
    return Shard(rank, count), local_rank


def _join(shard: Shard) -> Store:
    # It takes the group of all processes as a default argument when it is first imported, which
    # DistributedDataParallel does: that group would never be freed, nor would its threads end.
    import torch.distributed.nn.functional

    gpus = torch.cuda.is_available() and dist.is_nccl_available()
    alone = ""
    if "TORCHELASTIC_RESTART_COUNT" not in os.environ:  # a cluster may set the rest for every shell
        alone = "; to train alone, unset WORLD_SIZE"
        told = "process %d of %d, by RANK and WORLD_SIZE: waiting for the others%s"
        logging.getLogger(__name__).info(told, shard.rank, shard.world, alone)
    try:
        store, _, _ = next(
            rendezvous("env://", shard.rank, shard.world, timeout=_RENDEZVOUS_TIMEOUT)
        )
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if gpus else "gloo",
            store=PrefixStore("resnet-repro", store),
            rank=shard.rank,
            world_size=shard.world,
            timeout=_COLLECTIVE_TIMEOUT,
        )
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        raise ConfigError(
            f"the {shard.world} processes do not find each other: {reason}{alone}"
        ) from error
    return store


def _leave() -> None:
    """End the group of all processes and its threads.

    A thread of gloo may still hold tensors that have been sent. If it frees them after Python has
    begun to end, the process aborts ("terminate called without an active exception").
    """
    gc.collect()  # trainers, whose networks hold the group
    dist.destroy_process_group()


def _end(error: Exception, store: Store, shard: Shard) -> NoReturn:
    """End this process because of its own error, or because another process has ended."""
    if isinstance(error, dist.DistError):  # of a collective that torch began by itself
        error = PeerLostError()
    if isinstance(error, PeerLostError):
        with contextlib.suppress(RuntimeError):
            store.wait([_FAILURE], _FAILURE_TIMEOUT)
            raise SystemExit(int(store.get(_FAILURE)))
    code = error.exit_code if isinstance(error, ReproError) else 1
    try:
        store.set(_FAILURE, str(code))
        reported = store.add(_REPORTS, 1) > 1
    except RuntimeError:  # the process that held the store has ended
        reported = shard.rank > 0
    if not isinstance(error, ReproError):
        raise error  # a bug, shown where it is
    if reported:
        raise SystemExit(code)
    if shard.rank == 0:
        raise error
    print(f"resnet-repro: {error}", file=sys.stderr)
    raise SystemExit(code)
