"""A whole iteration as one CUDA graph: forward, backward, update and metrics.

A batch of 128 images of 32x32 pixels keeps a large GPU busy for a fraction of what launching its
hundreds of kernels from Python takes. Captured once, they are launched as one.
"""

from __future__ import annotations

import contextlib
import gc
import os
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from resnet_repro.base.errors import ReproError, plain
from resnet_repro.training.cifar_feed import CifarFeed
from resnet_repro.training.memory import is_lack_of_memory
from resnet_repro.training.order import Batch

__all__ = ["BatchQueue", "GraphedStep", "fastest_convolutions", "graph_wanted"]

Update = Callable[[Batch], tuple[Tensor, Tensor]]
"""From a batch to a changed network; returns the loss and the number of errors, on the device."""

EAGER_ITERATIONS = 3  # before the capture: libraries settle, and the momentum comes to be
QUEUED = 32  # iterations whose batches are augmented at once: 50 MB of 128 images each
SWITCH = "RESNET_REPRO_GRAPH"  # 0 in the environment: no graph, every iteration from Python


def graph_wanted(device: torch.device) -> bool:
    """Whether iterations on a device are captured; `RESNET_REPRO_GRAPH=0` turns that off."""
    return device.type == "cuda" and os.environ.get(SWITCH) != "0"


class BatchQueue:
    """The coming iterations' batches, augmented together, taken one after another on the device.

    `take` is made of tensor operations alone, whose effect is to advance, so that it can be part
    of a graph; `prepare` belongs before every iteration, outside of it.
    """

    def __init__(self, feed: CifarFeed, queued: int = QUEUED) -> None:
        self.feed, self.queued = feed, queued
        shape = (queued, feed.order.batch_size)
        channels, height, width = feed.mean.shape
        self._inputs = feed.mean.new_empty((*shape, height, width, channels))
        self._targets = torch.empty(shape, dtype=torch.int64, device=feed.device)
        self._next = torch.zeros(1, dtype=torch.int64, device=feed.device)
        self._first = self._coming = -queued  # iterations: of the first batch, and of the next one

    def prepare(self, iteration: int) -> None:
        """Make `iteration` the next one to be taken; augments new batches where that is needed."""
        inside = self._first <= iteration < self._first + self.queued
        if not inside:
            inputs, targets = self.feed.batches(iteration, self.queued)
            self._inputs.copy_(inputs.permute(0, 2, 3, 1).reshape(self._inputs.shape))
            self._targets.copy_(targets.view_as(self._targets))
            self._first = iteration
        if not inside or iteration != self._coming:
            self._next.fill_(iteration - self._first)
        self._coming = iteration + 1

    def take(self) -> Batch:
        """The next iteration's batch, in memory of its own."""
        inputs = self._inputs.index_select(0, self._next).squeeze(0)
        targets = self._targets.index_select(0, self._next).squeeze(0)
        self._next += 1
        return Batch(inputs.permute(0, 3, 1, 2), targets)


class GraphedStep:
    """Iterations of a training on a CUDA device, captured after the first few.

    The learning rate has to be a tensor on the device and everything that `update` changes has to
    stay where it is in memory; whoever replaces it makes a new `GraphedStep`. `update` is given
    anew every time: kept here, it would keep its trainer, and a trainer that only the garbage
    collector frees takes its graph with it at any moment.
    """

    def __init__(self, feed: CifarFeed) -> None:
        self.queue = BatchQueue(feed)
        self._eager = EAGER_ITERATIONS
        self._stream = torch.cuda.Stream(feed.device)
        self._earlier = torch.cuda.Event()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._result: tuple[Tensor, Tensor] | None = None

    def __call__(self, iteration: int, update: Update) -> tuple[Tensor, Tensor]:
        """Make an iteration; its loss and number of errors stand until the next one.

        Raises:
            ReproError: something in `update` cannot be part of a graph.
        """
        self.queue.prepare(iteration)
        if iteration % QUEUED == 0:  # so that a stop never waits for more than twice as many
            self._earlier.synchronize()
            self._earlier.record(torch.cuda.current_stream(self._stream.device))
        if self._eager:
            self._eager -= 1
            return self._make_eagerly(update)
        if self._graph is None or self._result is None:
            # Capturing runs nothing, so the queue's place and the network are as they were.
            graph = torch.cuda.CUDAGraph()
            capturing = torch.cuda.graph(graph, stream=self._stream)
            with _naming_the_switch(), _no_collection(), fastest_convolutions(), capturing:
                self._result = update(self.queue.take())
            self._graph = graph
        self._graph.replay()
        return self._result

    def _make_eagerly(self, update: Update) -> tuple[Tensor, Tensor]:
        """On the stream of the capture, as torch asks of what goes before one.

        In the last of these iterations whatever waits for the device is an error with a name.
        """
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream), contextlib.ExitStack() as stack:
            stack.enter_context(fastest_convolutions())
            if not self._eager:
                stack.enter_context(_naming_the_switch())
                stack.enter_context(_nothing_waits())
            result = update(self.queue.take())
        torch.cuda.current_stream(self._stream.device).wait_stream(self._stream)
        for tensor in result:
            tensor.record_stream(torch.cuda.current_stream(self._stream.device))
        return result


@contextlib.contextmanager
def fastest_convolutions() -> Iterator[None]:
    """Have cuDNN try its algorithms on the shapes that every iteration has, and keep the fastest.

    Its guess is often a poor one for 16 channels. Where the same bits are asked for every time
    (`torch.backends.cudnn.deterministic`) it stays at its guess.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.benchmark
    cudnn.benchmark = before or not cudnn.deterministic
    try:
        yield
    finally:
        cudnn.benchmark = before


@contextlib.contextmanager
def _naming_the_switch() -> Iterator[None]:
    """Turn what torch says of an iteration that cannot be captured into an error with a way out."""
    try:
        yield
    except RuntimeError as error:
        # The end of a capture that has failed is an error as well, which says nothing.
        first = error.__context__ if isinstance(error.__context__, RuntimeError) else error
        if is_lack_of_memory(first):
            raise first from None
        why = plain(str(first).partition("\n")[0], 200)
        raise ReproError(
            f"an iteration cannot be captured as a CUDA graph ({why}); "
            f"{SWITCH}=0 in the environment trains without one, more slowly"
        ) from error


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Collect garbage now and not inside: an old graph that is destroyed there ends the capture."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextlib.contextmanager
def _nothing_waits() -> Iterator[None]:
    """Have CUDA's operations raise where they wait for the device."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that this finds most of what waits, not all
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
