"""A CUDA graph's double on the CPU: it records every tensor operation and makes them again.

As a graph does, it reads and writes the tensors that were there when it was recorded, and keeps
whatever came from Python (a number, a branch) as it was then. What a capture would not allow,
it refuses. Recording runs the operations, which capturing does not: the first replay makes none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# From the host or to it: torch's calls that make no operation on the CPU, or none that shows.
FROM_HOST = {torch.tensor, torch.as_tensor, torch.from_numpy, torch.scalar_tensor}
TO_HOST = {Tensor.cpu, Tensor.numpy, Tensor.tolist, Tensor.__array__}
OTHERWISE = {Tensor.cuda, Tensor.pin_memory, Tensor.resize_, Tensor.set_}


class NotCapturableError(RuntimeError):
    """As CUDA says it of what may not be in a graph."""

    def __init__(self, what: object) -> None:
        super().__init__(f"operation not permitted when stream is capturing: {what}")


class Operation(NamedTuple):
    function: Any
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    result: Any


class Calls(TorchFunctionMode):
    """Refuses calls that bring data from the host or to it, or that allocate in another way."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = [*args, *(kwargs or {}).values()]
        moved = func is Tensor.to and any(isinstance(g, str | torch.device) for g in given)
        if moved or func in FROM_HOST | TO_HOST | OTHERWISE:
            raise NotCapturableError(func.__name__)
        return func(*args, **(kwargs or {}))


class Tape(TorchDispatchMode):
    """Records operations; refuses those that wait for the device, and random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        arguments, keywords = tuple(args), kwargs or {}
        if not capturable(func, arguments):
            raise NotCapturableError(func)
        result = func(*arguments, **keywords)
        self.operations.append(Operation(func, arguments, keywords, result))
        return result


def capturable(function: Any, arguments: tuple[Any, ...]) -> bool:
    """Whether an operation's shape and effect are known without a look at numbers."""
    tags, name = function.tags, function.overloadpacket.__name__
    if torch.Tag.data_dependent_output in tags or torch.Tag.nondeterministic_seeded in tags:
        return False
    if name in ("index", "index_put", "index_put_", "_index_put_impl_"):  # a mask is counted first
        indices = (leaf for leaf in tree_leaves(arguments[1]) if isinstance(leaf, Tensor))
        return not any(index.dtype in (torch.bool, torch.uint8) for index in indices)
    return torch.Tag.dynamic_output_shape not in tags and name != "lift_fresh"


class Graph:
    """Stands in for `torch.cuda.CUDAGraph`."""

    captured = 0  # by all of them

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1
        if self.replays == 1:
            return
        with torch.no_grad():
            for operation in self.operations:
                again(operation)


def again(operation: Operation) -> None:
    """Make an operation a second time, on the tensors of the first."""
    function, arguments, keywords, result = operation
    schema = function._schema
    views = [r.alias_info is not None and not r.alias_info.is_write for r in schema.returns]
    if any(views):
        return
    fresh = function(*arguments, **keywords)
    if schema.is_mutable:
        return
    for old, new in zip(tree_leaves(result), tree_leaves(fresh), strict=True):
        if isinstance(old, Tensor):
            old.detach().copy_(new)


@contextlib.contextmanager
def capture(graph: Graph, stream: object = None) -> Iterator[None]:
    """Stands in for `torch.cuda.graph`."""
    with Calls(), Tape() as tape:
        yield
    graph.operations = tape.operations
    Graph.captured += 1


class Event:
    def synchronize(self) -> None:
        pass

    def record(self, stream: object) -> None:
        pass


class Stream:
    device = torch.device("cpu")

    def wait_stream(self, other: object) -> None:
        pass


def replace_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have trainings on the CPU capture their iterations, with doubles for all that CUDA does."""
    monkeypatch.setattr(Graph, "captured", 0)
    monkeypatch.setattr("resnet_repro.training.trainer.graph_wanted", lambda device: True)
    doubles = {
        "CUDAGraph": Graph,
        "graph": capture,
        "Event": Event,
        "Stream": lambda device: Stream(),
        "current_stream": lambda device: Stream(),
        "stream": lambda stream: contextlib.nullcontext(),
        "get_sync_debug_mode": lambda: 0,
        "set_sync_debug_mode": lambda mode: None,
    }
    for name, double in doubles.items():
        monkeypatch.setattr(torch.cuda, name, double)
    monkeypatch.setattr(Tensor, "record_stream", lambda tensor, stream: None)
