"""What surrounds a graphed iteration, tested without a GPU: its draws, its switch, its error."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
import torch
from graph_double import replace_graphs

from resnet_repro.base.errors import ReproError
from resnet_repro.data.dataset import Dataset
from resnet_repro.spec.recipe import Recipe
from resnet_repro.spec.run import Run
from resnet_repro.training.cifar_feed import CifarFeed
from resnet_repro.training.device import Backend
from resnet_repro.training.graph import (
    EAGER_ITERATIONS,
    QUEUED,
    BatchQueue,
    GraphedStep,
    _naming_the_switch,
)
from resnet_repro.training.order import Batch


@pytest.fixture
def feed(small: Dataset) -> CifarFeed:
    recipe = Recipe(batch_size=30, iterations=20, milestones=())  # an epoch is 3 1/3 batches
    run = Run(network="resnet-8", dataset="synthetic", recipe=recipe, seed=3)
    return CifarFeed(run, small, torch.device("cpu"))


@pytest.mark.parametrize("queued", [1, 2, 5])
def test_the_queue_gives_every_iteration_its_batch(feed: CifarFeed, queued: int) -> None:
    queue = BatchQueue(feed, queued)
    for iteration in (0, 1, 2, 3, 4, 9, 10, 3, 4, 3):  # as after a stop and a resume as well
        queue.prepare(iteration)
        taken, expected = queue.take(), feed.batch(iteration)
        assert torch.equal(taken.inputs, expected.inputs)
        assert torch.equal(taken.targets, expected.targets)


@pytest.mark.parametrize(("said", "graphed"), [(None, True), ("1", True), ("0", False)])
def test_the_environment_turns_the_graph_off(
    prepare: Any, small: Dataset, monkeypatch: pytest.MonkeyPatch, said: str | None, graphed: bool
) -> None:
    trainer = prepare(small)
    trainer.backend = Backend(torch.device("cuda"), "fp32")
    monkeypatch.setattr(trainer, "_learn", lambda batch: "from Python")
    captured = lambda feed: lambda iteration, update: "captured"  # noqa: E731
    monkeypatch.setattr("resnet_repro.training.trainer.GraphedStep", captured)
    if said is not None:
        monkeypatch.setenv("RESNET_REPRO_GRAPH", said)
    assert trainer._update() == ("captured" if graphed else "from Python")


@pytest.mark.parametrize("first", ["operation not permitted", "CUDA error: out of memory"])
def test_the_error_before_that_of_the_captures_end_is_told(first: str) -> None:
    memory = "memory" in first
    said = first if memory else rf"captured as a CUDA graph \({first}\)"

    def capture() -> None:
        with _naming_the_switch():
            try:
                raise RuntimeError(first)
            finally:
                raise RuntimeError("operation failed due to a previous error during capture")

    with pytest.raises(RuntimeError if memory else ReproError, match=said):
        capture()


@pytest.mark.parametrize("deterministic", [False, True])
def test_cudnn_tries_its_algorithms_unless_the_same_bits_are_asked_for(
    feed: CifarFeed, monkeypatch: pytest.MonkeyPatch, deterministic: bool
) -> None:
    replace_graphs(monkeypatch)
    cudnn, seen = torch.backends.cudnn, []
    monkeypatch.setattr(cudnn, "deterministic", deterministic)

    def update(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(cudnn.benchmark)
        return batch.inputs.mean(), batch.targets.sum()

    step = GraphedStep(feed)
    for iteration in range(EAGER_ITERATIONS + 1):  # the last of them is captured
        step(iteration, update)
        assert not cudnn.benchmark, "on for nothing else"
    assert set(seen) == {not deterministic}
    assert len(seen) > EAGER_ITERATIONS


def test_the_host_waits_for_what_it_launched_before(
    feed: CifarFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that a stop never finds hundreds of iterations on the device."""
    replace_graphs(monkeypatch)
    event = Mock()
    monkeypatch.setattr("torch.cuda.Event", lambda: event)
    monkeypatch.setattr("resnet_repro.training.graph.EAGER_ITERATIONS", 10**6)
    step = GraphedStep(feed)
    calls = []
    for iteration in range(2 * QUEUED + 1):
        step(iteration, lambda batch: (batch.targets, batch.targets))
        calls.append([name for name, *_ in event.method_calls])
        event.reset_mock()
    assert calls == [["synchronize", "record"], *[[]] * (QUEUED - 1)] * 2 + [calls[0]]
