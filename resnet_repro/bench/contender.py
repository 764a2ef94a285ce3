"""A training loop in a process of its own, so that contenders share neither memory nor threads."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from pydantic import ValidationError

from resnet_repro.base.errors import ConfigError, ReproError
from resnet_repro.spec.network_names import parse_network
from resnet_repro.spec.presets import preset_recipe
from resnet_repro.spec.run import Precision, Run

__all__ = ["Contender", "LoopChoice", "bench_run"]

# Iterations before the clock of a process's first turn counts; later turns have one. On a GPU the
# fourth is captured as a graph.
WARM_UP = 4
PATIENCE = 10.0  # seconds that a process gets to end by itself


@dataclass(frozen=True)
class LoopChoice:
    """Which loop trains what, and where: everything that a process needs to set it up."""

    loop: Literal["ours", "textbook"]
    network: str
    dataset: str
    data_dir: Path
    device: str  # as torch names it
    precision: Precision


def bench_run(network: str, dataset: str) -> Run:
    """What is benchmarked: the paper's recipe; for photographs but ImageNet's, the reduced one.

    Raises:
        ConfigError: unknown network, or one that does not go with the data set.
    """
    reduced = parse_network(network).family == "imagenet" and dataset != "imagenet"
    recipe = preset_recipe("short" if reduced else "paper", network, dataset)
    try:
        return Run(network=network, dataset=dataset, recipe=recipe, seed=0)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(f"bench: {reason}") from error


class _Loop(Protocol):
    def step(self) -> object: ...


class Contender:
    """A training loop in its own process, timed a few seconds at a time; a context manager."""

    def __init__(self, choice: LoopChoice) -> None:
        self.choice = choice
        context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        self._pipe, theirs = context.Pipe()
        # Not a daemon: the textbook loop's DataLoader starts processes of its own.
        self._process = context.Process(target=_serve, args=(theirs, choice), daemon=False)
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def speed(self, seconds: float) -> float:
        """Images per second over at least `seconds` and two iterations.

        Raises:
            ReproError: the process ended, for want of memory perhaps; or what the loop raised.
        """
        return float(self._ask(seconds))

    def peak_memory(self) -> float | None:
        """Most bytes in use so far: on the GPU, else of the process (Linux only)."""
        peak: float | None = self._ask("peak")
        return peak

    def work(self) -> tuple[int, int]:
        """Operations of one iteration, and the bytes that they read and write.

        Only as the first question: later iterations may be a graph, which does not tell.
        """
        operations, moved = self._ask("work")
        return int(operations), int(moved)

    def _ask(self, question: Any) -> Any:
        try:
            self._pipe.send(question)
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise ReproError(
                f"bench: the process that trained {self.choice.network} ({self.choice.loop}) "
                "ended unexpectedly, perhaps for want of memory"
            ) from error
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(OSError):
            self._pipe.close()
        self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()


def _serve(pipe: Connection, choice: LoopChoice) -> None:
    """Answer questions until the pipe is closed."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which closes the pipe
    loop = None
    with contextlib.suppress(EOFError, OSError):
        while True:
            question = pipe.recv()
            try:
                if loop is None:
                    loop = _TimedLoop(choice)
                asked = {"peak": loop.peak, "work": loop.work}.get(question)
                answer: Any = asked() if asked else loop.speed(question)
            except Exception as error:  # any: the parent raises it
                answer = _portable(error)
            pipe.send(answer)
    if loop is not None:
        loop.close()


def _portable(error: Exception) -> Exception:
    """The error, or its text where it would not survive the pipe."""
    if isinstance(error, ReproError):
        return error
    return ReproError(f"bench: {type(error).__name__}: {str(error).splitlines()[0][:300]}")


class _TimedLoop:
    """The loop of a choice, set up in this process."""

    def __init__(self, choice: LoopChoice) -> None:
        import torch

        from resnet_repro.bench.textbook import TextbookLoop
        from resnet_repro.data import datasets
        from resnet_repro.training.device import Backend, choose_backend
        from resnet_repro.training.feeds import make_feed
        from resnet_repro.training.trainer import Trainer

        dataset = datasets.load(choice.dataset, choice.data_dir)
        run = bench_run(choice.network, choice.dataset)
        self.batch_size = run.recipe.batch_size
        self.close: Callable[[], None] = lambda: None
        loop: _Loop
        if choice.loop == "ours":
            self.backend = choose_backend(choice.device, choice.precision)
            feed = make_feed(run, dataset, self.backend, data_dir=choice.data_dir)
            self.close = feed.close
            loop = trainer = Trainer(run, feed, self.backend)
            trainer.network.train()
        else:
            # Neither the memory allocator nor TF32 are touched, which such scripts leave alone.
            self.backend = Backend(torch.device(choice.device), "fp32")
            loop = textbook = TextbookLoop(run, dataset, self.backend.device)
            self.close = textbook.close
        self.step = loop.step
        self.fresh = True

    def speed(self, seconds: float) -> float:
        for _ in range(WARM_UP if self.fresh else 1):
            self.step()
        self.fresh = False
        self.backend.synchronize()
        iterations, start = 0, time.perf_counter()
        while True:
            self.step()
            iterations += 1
            if iterations >= 2 and time.perf_counter() - start >= seconds:
                self.backend.synchronize()
                return iterations * self.batch_size / (time.perf_counter() - start)

    def work(self) -> tuple[int, int]:
        from resnet_repro.bench.limits import WorkCounter

        self.step()  # which makes the momentum
        with WorkCounter() as counter:
            self.step()
        return counter.operations, counter.bytes

    def peak(self) -> float | None:
        import torch

        if self.backend.device.type == "cuda":
            return float(torch.cuda.max_memory_allocated(self.backend.device))
        with contextlib.suppress(OSError):
            for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
                if line.startswith("VmHWM:"):
                    return float(line.split()[1]) * 1024
        return None
