"""What the hardware can do: matrix products and memory, measured."""

from __future__ import annotations

import time

import torch

from resnet_repro.training.backend import Backend

__all__ = ["MatrixProduct", "memory_bandwidth"]

SIDE = {"cpu": 2048, "cuda": 8192, "mps": 4096}
COPIED_BYTES = {"cpu": 1 << 28, "cuda": 1 << 31, "mps": 1 << 28}


class MatrixProduct:
    """A large square matrix product in the backend's precision, ready to be timed."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.side = SIDE[backend.device.type]
        dtype = torch.bfloat16 if backend.precision == "bf16" else torch.float32
        generator = torch.Generator().manual_seed(0)
        random = torch.randn(self.side, self.side, generator=generator)
        self.a = random.to(backend.device, dtype)
        self.b = random.t().contiguous().to(backend.device, dtype)
        self.out = torch.empty_like(self.a)

    def rate(self, seconds: float = 0.5) -> float:
        """Floating-point operations per second (two per multiply-add), over at least `seconds`."""
        torch.mm(self.a, self.b, out=self.out)
        self.backend.synchronize()
        products, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds:
            torch.mm(self.a, self.b, out=self.out)
            self.backend.synchronize()
            products += 1
        return 2 * self.side**3 * products / elapsed


def memory_bandwidth(backend: Backend, repetitions: int = 5) -> float:
    """Bytes read and written per second by a large copy, the best of a few."""
    size = COPIED_BYTES[backend.device.type]
    source = torch.ones(size, dtype=torch.uint8, device=backend.device)
    target = torch.empty_like(source)
    best = float("inf")
    for _ in range(repetitions + 1):
        backend.synchronize()
        start = time.perf_counter()
        target.copy_(source)
        backend.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * size / best
