"""What the hardware can do, measured, and how much of it an iteration asks for.

Three things can bind: matrix arithmetic, memory traffic and launching operations. Whichever has
the largest share of an iteration's time is the limit that it is closest to.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from resnet_repro.training.device import Backend

__all__ = ["LargeProducts", "WorkCounter", "launch_seconds", "memory_bandwidth"]

SIDE = {"cpu": 2048, "cuda": 8192, "mps": 4096}  # of matrices
IMAGES = {"cpu": 16, "cuda": 1024, "mps": 128}  # convolved at a time
CHANNELS, MAP = 256, 16
COPIED_BYTES = {"cpu": 1 << 28, "cuda": 1 << 31, "mps": 1 << 28}
PRODUCT_SECONDS = 0.5  # for which each of the large products is repeated
LAUNCHES = 1000  # of the smallest operation there is
REPETITIONS = 6  # of which the fastest counts
# They read as much as they write, of however large a tensor; and those that start nothing.
INDEXING = {"index", "index_select", "gather"}
NOTHING = {
    *("detach", "lift_fresh", "empty", "empty_like", "empty_strided", "new_empty", "as_strided_"),
    *("_record_function_enter_new", "_record_function_exit"),  # marks for the profiler
    "record_stream",  # a note for the allocator
}


class LargeProducts:
    """A large square matrix product and a large convolution, ready to be timed.

    In the backend's precision. Convolutions may come from another library than matrix products: in
    fp32 on an AMD EPYC (Zen 5) they are more than twice as fast.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        side, images = SIDE[backend.device.type], IMAGES[backend.device.type]
        a, b = self._random(side, side), self._random(side, side)
        maps = self._random(images, CHANNELS, MAP + 2, MAP + 2)
        filters = self._random(CHANNELS, CHANNELS, 3, 3)
        out = torch.empty_like(a)
        multiply_adds = 9 * CHANNELS * images * CHANNELS * MAP**2
        self.work = [
            (lambda: torch.mm(a, b, out=out), 2 * side**3),
            (lambda: conv2d(maps, filters), 2 * multiply_adds),
        ]

    def _random(self, *shape: int) -> Tensor:
        dtype = torch.bfloat16 if self.backend.precision == "bf16" else torch.float32
        drawn = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
        return drawn.to(self.backend.device, dtype, memory_format=layout)

    def rate(self) -> float:
        """Operations per second (two per multiply-add) of the faster."""
        return max(self._rate(product, operations) for product, operations in self.work)

    def _rate(self, product: Callable[[], Tensor], operations: int) -> float:
        product()
        self.backend.synchronize()
        products, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < PRODUCT_SECONDS:
            product()
            self.backend.synchronize()
            products += 1
        return operations * products / elapsed


def memory_bandwidth(backend: Backend) -> float:
    """Bytes read and written per second by a large copy, the best of a few."""
    size = COPIED_BYTES[backend.device.type]
    source = torch.ones(size, dtype=torch.uint8, device=backend.device)
    target = torch.empty_like(source)
    return 2 * size / _fastest(backend, lambda: target.copy_(source))


def launch_seconds(backend: Backend, *, graphed: bool) -> float:
    """Seconds that launching one operation takes: from Python, or as a node of a CUDA graph."""
    number = torch.zeros((), device=backend.device)

    def launch() -> None:
        for _ in range(LAUNCHES):
            number.add_(1)

    if graphed:
        launch()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            launch()
        launch = graph.replay
    return _fastest(backend, launch) / LAUNCHES


def _fastest(backend: Backend, work: Callable[[], object]) -> float:
    """Seconds that it takes, the best of a few times."""
    best = float("inf")
    for _ in range(REPETITIONS):
        backend.synchronize()
        start = time.perf_counter()
        work()
        backend.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


class WorkCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts tensor operations and the bytes that they read and write, views left out.

    As a context around an iteration that is made from Python. Nothing is taken to stay in a cache
    between two operations; what an operation does inside itself is not seen.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations = 0
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        schema = func._schema
        name = func.overloadpacket.__name__
        view = any(r.alias_info is not None and not r.alias_info.is_write for r in schema.returns)
        if view or name in NOTHING:
            return result
        self.operations += 1
        read, written = _bytes((args, kwargs)), _bytes(result)
        if schema.is_mutable:
            # Of foreach and fused operations nothing is returned: the first arguments change.
            changed = [a.alias_info is not None and a.alias_info.is_write for a in schema.arguments]
            written = _bytes([value for value, write in zip(args, changed, strict=False) if write])
        self.bytes += written + (written if name in INDEXING else read)
        return result


def _bytes(values: Any) -> int:
    """Of all tensors among `values`."""
    tensors = (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor))
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
