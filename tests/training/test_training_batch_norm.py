"""Batch normalisation's statistics: of micro-batches, and averaged truly at the end."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from resnet_repro.data.dataset import Dataset
from resnet_repro.networks.orders import CountedDropout
from resnet_repro.training.batch_norm import (
    average_over_processes,
    micro_batch_momentum,
    store_true_average,
)
from resnet_repro.training.checkpoint import is_final, pack, unpack
from resnet_repro.training.order import Shard
from resnet_repro.training.processes import Processes
from resnet_repro.training.trainer import Trainer


@pytest.mark.parametrize(("momentum", "count"), [(0.1, 1), (0.1, 4), (1.0, 3), (0.9, 8)])
def test_micro_batches_count_as_one_batch(momentum: float, count: int) -> None:
    values = torch.rand(count, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    running = 5.0
    for number, value in enumerate(values.tolist(), start=1):
        weight = micro_batch_momentum(momentum, number, count)
        running = (1 - weight) * running + weight * value
    assert running == pytest.approx((1 - momentum) * 5.0 + momentum * values.mean().item())


def test_a_whole_batch_has_the_very_momentum() -> None:
    assert micro_batch_momentum(0.1, 1, 1) == 0.1


def statistics(trainer: Trainer) -> dict[str, Tensor]:
    state = trainer.network.state_dict()
    return {name: value.clone() for name, value in state.items() if "running" in name}


def average_by_hand(trainer: Trainer, batches: int, part: int) -> dict[str, Tensor]:
    """The mean of means and of unbiased variances of what each BN is given, in float64."""
    seen = defaultdict(list)

    def look(name: str) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0].double()
            seen[f"{name}.running_mean"].append(x.mean(dim=(0, 2, 3)))
            seen[f"{name}.running_var"].append(x.var(dim=(0, 2, 3), correction=1))

        return hook

    handles = [
        module.register_forward_pre_hook(look(name))
        for name, module in trainer.network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    before = {name: value.clone() for name, value in trainer.network.state_dict().items()}
    trainer.network.train()
    with torch.no_grad():
        for iteration in range(batches):
            inputs = trainer.feed.batch(trainer.run.recipe.iterations + iteration).inputs
            for piece in inputs.split(part):
                trainer.network(piece)
    for handle in handles:
        handle.remove()
    trainer.network.load_state_dict(before)
    return {name: torch.stack(values).mean(dim=0) for name, values in seen.items()}


COMMON = {"iterations": 6, "evaluate_every": 3, "learning_rate": 0.01}


@pytest.mark.parametrize("part", [None, 8])
def test_the_statistics_at_the_end_are_the_true_average(
    small: Dataset, train: Any, part: int | None
) -> None:
    averaged = train(small, **COMMON, bn_average_iterations=5, micro_batch_size=part)
    plain = train(small, **COMMON, micro_batch_size=part)
    expected = average_by_hand(plain, 5, part or 32)
    ours = statistics(averaged)
    assert ours.keys() == expected.keys()
    for name, value in ours.items():
        assert value.double() == pytest.approx(expected[name].numpy(), rel=1e-4, abs=1e-4), name

    # Only statistics differ, from the last point on.
    weights = zip(averaged.network.parameters(), plain.network.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)
    assert averaged.network.bn1.num_batches_tracked == plain.network.bn1.num_batches_tracked
    first, last = zip(averaged.points, plain.points, strict=True)
    assert first[0].test_error == first[1].test_error
    assert last[0].train_loss == last[1].train_loss
    # The last point is tested with what the checkpoint keeps.
    again = train(small, **COMMON, bn_average_iterations=5, micro_batch_size=part)
    again.network.load_state_dict(unpack(pack(averaged.state()))["network"])
    errors = again._error_on("test", lambda: False)
    assert errors == last[0].test_error


def test_a_stop_while_averaging_leaves_the_running_statistics(
    small: Dataset, prepare: Any, train: Any, keep_going: Any
) -> None:
    whole = train(small, **COMMON, bn_average_iterations=4)
    plain = train(small, **COMMON)

    class StopsWhileAveraging(keep_going):  # type: ignore[misc, valid-type]
        asked = 0

        def should_stop(self) -> bool:
            self.asked += self.done == 6  # once before the point, then before each batch
            return self.asked == 4

    stopped = prepare(small, **COMMON, bn_average_iterations=4)
    assert not stopped.train(StopsWhileAveraging())
    assert [p.iteration for p in stopped.points] == [3]
    states = stopped.network.state_dict(), plain.network.state_dict()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())
    before, after = stopped.state(), whole.state()
    assert before["iteration"] == after["iteration"] == 6
    assert not is_final(stopped.run, before), "its statistics are to be averaged yet"
    assert is_final(stopped.run, after)
    resumed = prepare(small, **COMMON, bn_average_iterations=4)
    resumed.load_state(unpack(pack(stopped.state())))
    assert resumed.train(keep_going())
    ours, theirs = resumed.network.state_dict(), whole.network.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert resumed.points[-1].test_error == whole.points[-1].test_error


def test_averaging_leaves_what_dropouts_have_counted() -> None:
    """A stop in the test behind it has the same batches averaged once more."""
    network = nn.Sequential(nn.Conv2d(3, 4, 1), CountedDropout(0.5), nn.BatchNorm2d(4)).train()
    dropout = network[1]
    assert isinstance(dropout, CountedDropout)
    inputs = torch.randn(2, 8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    network(inputs[0])
    found = []
    for _ in range(2):
        store_true_average(network, iter(inputs), contextlib.nullcontext)
        found.append(network[2].running_var.clone())  # type: ignore[union-attr, operator]
        assert dropout.batches == 1
    assert torch.equal(*found)


def test_networks_without_statistics_have_nothing_to_average() -> None:
    """VGG-16, and detectors whose BN is frozen, in several processes."""
    average_over_processes(nn.Conv2d(3, 3, 1), Processes(Shard(0, 2)))
