"""What makes an iteration few operations, and that it computes what more of them did."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_repro.bench.limits import WorkCounter
from resnet_repro.data.dataset import Dataset
from resnet_repro.networks.network import build_network
from resnet_repro.training.casts import CastWeights
from resnet_repro.training.graph import BatchQueue
from resnet_repro.training.metrics import RunningMetrics
from resnet_repro.training.order import BatchOrder, Shard
from resnet_repro.training.processes import Processes

ERRORS = torch.zeros((), dtype=torch.int64)


@pytest.mark.parametrize(("precision", "most"), [("bf16", 170), ("fp32", 165)])
def test_an_iteration_of_resnet_20_is_few_operations(
    precision: str, most: int, small: Dataset, prepare: Any
) -> None:
    """In a graph each of them is a kernel or more; autocast and counters would be 75 more."""
    trainer = prepare(small, "resnet-20", precision=precision)
    trainer.step()
    queue = BatchQueue(trainer.feed, 2)
    queue.prepare(1)
    with WorkCounter() as inside:
        trainer._learn(queue.take())
    assert 19 * 6 < inside.operations <= most


@pytest.mark.parametrize("network", ["resnet-8", "resnet-8-b", "preact-20"])
@pytest.mark.parametrize("passes", [1, 2])
def test_weights_cast_at_once_have_autocasts_gradients(network: str, passes: int) -> None:
    theirs = build_network(network).to(memory_format=torch.channels_last).train()
    ours = copy.deepcopy(theirs)
    casts = CastWeights(ours)
    generator = torch.Generator().manual_seed(0)
    casts.cast()
    for _ in range(passes):
        x = torch.randn(4, 3, 32, 32, generator=generator)
        x = x.contiguous(memory_format=torch.channels_last)
        losses = []
        for forward in (theirs, casts):
            with torch.autocast("cpu", torch.bfloat16):
                logits = forward(x)
            losses.append(F.cross_entropy(logits.float(), torch.arange(4)))
            losses[-1].backward()
        casts.hand_over_gradients()
        assert torch.equal(*losses)
    for one, other in zip(theirs.parameters(), ours.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert (other.dtype, other.grad.dtype) == (torch.float32, torch.float32)
        assert torch.equal(one.grad, other.grad)
        assert one.grad.stride() == other.grad.stride()


@pytest.mark.parametrize("part", [None, 8])
def test_every_layer_has_counted_its_batches(part: int | None, small: Dataset, train: Any) -> None:
    trainer = train(small, iterations=3, micro_batch_size=part)
    layers = [m for m in trainer.network.modules() if isinstance(m, nn.BatchNorm2d)]
    counts = [int(layer.num_batches_tracked or 0) for layer in layers]
    assert counts == [3 * (32 // (part or 32))] * len(layers)


def recorded(losses: list[float], first: int = 1) -> RunningMetrics:
    metrics = RunningMetrics(ERRORS)
    for iteration, loss in enumerate(losses, start=first):
        metrics.record(torch.tensor(loss), torch.tensor(iteration))
        metrics.count(iteration, 10)
    return metrics


def test_losses_are_added_up_in_order_however_long_they_waited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    losses = np.random.default_rng(0).uniform(0.1, 3, 25).astype(np.float32)
    expected = np.cumsum(losses, dtype=np.float32)[-1]
    for slots in (512, 4, 25):
        monkeypatch.setattr("resnet_repro.training.metrics.SLOTS", slots)
        metrics = recorded(losses.tolist())
        assert metrics.state() == {
            "loss": float(expected), "wrong": sum(range(1, 26)), "batches": 25, "images": 250,
        }  # fmt: skip
        again = RunningMetrics(ERRORS)
        again.record(torch.tensor(5.0), torch.tensor(5))
        again.load(metrics.state())
        assert again.mean_loss() == metrics.mean_loss() == float(expected) / 25
        metrics.clear()
        metrics.record(torch.tensor(2.0), torch.tensor(1))
        metrics.count(26, 10)
        assert (metrics.mean_loss(), metrics.error()) == (2.0, 10.0)


def test_terms_of_a_loss_are_added_up_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resnet_repro.training.metrics.SLOTS", 2)
    metrics = RunningMetrics(torch.zeros(2))
    for iteration in (1, 2, 3):
        metrics.record(torch.tensor(3.0), torch.tensor([1.0, 2.0 * iteration]))
        metrics.count(iteration, 4)
    assert metrics.mean_terms() == [1.0, 4.0]
    assert metrics.state()["parts"] == [3.0, 12.0]


class Alike(Processes):
    """One of several processes, in all of which the numbers are the same."""

    def sum_(self, value: Tensor) -> Tensor:
        return value.mul_(self.count)

    def average_(self, value: Tensor) -> Tensor:
        return value


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_terms_of_a_loss_stay_in_another_number_of_processes(processes: int) -> None:
    nothing = torch.zeros(2)
    two = RunningMetrics(nothing, Alike(Shard(0, 2)))
    two.record(torch.tensor(3.0), torch.tensor([1.0, 2.0]))
    two.count(1, 4)
    for rank in range(processes):
        others = RunningMetrics(nothing, Alike(Shard(rank, processes)))
        others.load(two.state())
        assert (others.mean_loss(), others.mean_terms()) == (3.0, [1.0, 2.0])


@pytest.mark.parametrize("slots", [512, 4])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_the_first_loss_that_is_no_number_is_known_by_its_iteration(
    slots: int, bad: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resnet_repro.training.metrics.SLOTS", slots)
    assert recorded([1.0] * 9).first_bad_iteration() is None
    metrics = recorded([*[1.0] * 5, bad, 1.0, bad, 1.0], first=101)
    assert metrics.first_bad_iteration() == 106
    metrics.clear()
    assert metrics.first_bad_iteration() == 106


@pytest.mark.parametrize("partial_batch", ["wrap", "drop"])
def test_batches_drawn_together_are_those_drawn_one_by_one(partial_batch: Any) -> None:
    def order() -> BatchOrder:
        return BatchOrder(10, 4, 0, 4, True, partial_batch)

    one_by_one = [order().batch(iteration) for iteration in range(20)]
    for first, count in ((0, 1), (0, 20), (3, 7), (5, 2)):
        together = order().batches(first, count)
        for field in ("images", "top", "left", "mirrored"):
            parts: list[Tensor] = [getattr(d, field) for d in one_by_one[first : first + count]]
            assert torch.equal(getattr(together, field), torch.cat(parts))
