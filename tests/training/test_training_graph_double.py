"""A graphed training on the CPU, with a double for the graph: the same bits as from Python."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from graph_double import Calls, Graph, NotCapturableError, Tape, replace_graphs
from short_runs import short_runner, small_synthetic
from torch import Tensor

from resnet_repro.base.errors import ReproError
from resnet_repro.data.dataset import Dataset
from resnet_repro.spec.recipe import Recipe
from resnet_repro.spec.run import Run
from resnet_repro.training.trainer import Trainer

WARM_UP = {"learning_rate": 0.001, "until_train_error": 99.9, "window": 4}
CASES: dict[str, dict[str, Any]] = {
    "milestones": {"milestones": (5, 9)},
    "bf16": {"precision": "bf16", "milestones": (5, 9)},
    "micro-batches": {"network": "plain-8", "micro_batch_size": 4},
    "bf16 micro-batches": {"precision": "bf16", "micro_batch_size": 4, "milestones": (6,)},
    "torch's momentum": {
        "momentum_form": "torch",
        "weight_decay_scope": "weights",
        "milestones": (6,),
    },
    "warm-up": {"warmup": WARM_UP},
    "BN averaged, images held out": {
        "iterations": 5,
        "bn_average_iterations": 3,
        "validation_images": 20,
    },
    "no partial batches, no padding": {
        "partial_batch": "drop",
        "augmentation": {"pad": 0},
        "evaluate_every": 5,
    },
}

pytestmark = pytest.mark.usefixtures("narrow")


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> type[Graph]:
    replace_graphs(monkeypatch)
    return Graph


def prepared(prepare: Any, small: Dataset, rate_is_tensor: bool = True, **recipe: Any) -> Trainer:
    """A trainer of 14 iterations whose learning rate is a tensor, as on a GPU."""
    trainer: Trainer = prepare(
        small, **{"iterations": 12, "batch_size": 8, "learning_rate": 0.02} | recipe
    )
    for group in trainer.updates.optimizer.param_groups if rate_is_tensor else []:
        group["lr"] = torch.tensor(group["lr"])
    return trainer


def outcome(trainer: Trainer) -> tuple[list[Any], dict[str, Tensor]]:
    """The curve without the clock, and everything that a checkpoint has of the network."""
    state = trainer.state()
    momentum = {f"momentum {n}": value for n, value in enumerate(state["momentum"])}
    return [p._replace(seconds=0) for p in trainer.points], {**state["network"], **momentum}


def same(one: Trainer, other: Trainer) -> bool:
    (curve, tensors), (other_curve, others) = outcome(one), outcome(other)
    equal = (torch.equal(value, others[name]) for name, value in tensors.items())
    return curve == other_curve and tensors.keys() == others.keys() and all(equal)


@pytest.mark.parametrize("case", CASES)
def test_a_graphed_training_is_the_same_bit_for_bit(
    case: str, small: Dataset, prepare: Any, keep_going: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    eager = prepared(prepare, small, **CASES[case])
    assert eager.train(keep_going())
    replace_graphs(monkeypatch)
    graphed = prepared(prepare, small, **CASES[case])
    assert graphed.train(keep_going())
    assert Graph.captured == 1
    assert same(graphed, eager)


def test_a_graphed_training_that_was_stopped_goes_on(
    small: Dataset, prepare: Any, keep_going: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = {"milestones": (5, 9), "evaluate_every": 4}
    eager = prepared(prepare, small, **recipe)
    assert eager.train(keep_going())
    replace_graphs(monkeypatch)
    stopped = prepared(prepare, small, **recipe)
    assert not stopped.train(keep_going(8))
    resumed = prepared(prepare, small, **recipe)
    resumed.load_state(stopped.state())
    assert resumed.train(keep_going())
    assert same(resumed, eager)
    assert stopped.train(keep_going()), "in the same process, with a graph of its own"
    assert same(stopped, eager)


def test_the_double_notices_what_a_graph_would_keep(
    small: Dataset, prepare: Any, keep_going: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A learning rate that is a number stays what it was at the capture."""
    eager = prepared(prepare, small, milestones=(6,))
    assert eager.train(keep_going())
    replace_graphs(monkeypatch)
    graphed = prepared(prepare, small, rate_is_tensor=False, milestones=(6,))
    assert graphed.train(keep_going())
    losses = [[point.train_loss for point in trainer.points] for trainer in (graphed, eager)]
    assert losses[0][:7] == losses[1][:7]
    assert losses[0][7:] != losses[1][7:]


REFUSED: dict[str, Callable[[Tensor], object]] = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x.sum()),
    "a branch": lambda x: bool(x.sum() > 0),
    "equal": lambda x: torch.equal(x, x),
    "nonzero": lambda x: x.nonzero(),
    "a mask": lambda x: x[x > 0],
    "a mask's assignment": lambda x: x.index_put_((x > 0,), torch.zeros(())),
    "masked_select": lambda x: x.masked_select(x > 0),
    "unique": lambda x: x.unique(),
    "repeated as often as a tensor says": lambda x: x.repeat_interleave(x.long()),
    "counts": lambda x: x.long().bincount(),
    "to a list": lambda x: x.tolist(),
    "to the host": lambda x: x.cpu(),
    "to a device": lambda x: x.to(torch.device("cpu")),
    "to an array": lambda x: x.numpy(),
    "from a number": lambda x: x + torch.tensor(1.0),
    "from a list": lambda x: torch.as_tensor([1.0, 2.0]),
    "another size": lambda x: x.resize_(8),
    "random numbers": lambda x: torch.rand_like(x),
}


@pytest.mark.parametrize("what", REFUSED)
def test_the_double_refuses_what_a_capture_would(what: str) -> None:
    x = torch.arange(4.0)
    REFUSED[what](x.clone())
    with pytest.raises(NotCapturableError), Calls(), Tape():
        REFUSED[what](x)


def test_an_iteration_that_cannot_be_captured_names_the_switch(
    small: Dataset, prepare: Any, keep_going: Any, graphs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = prepared(prepare, small)
    learn = trainer._learn

    def reading(*arguments: Any) -> Any:
        result = learn(*arguments)
        trainer.network.fc.bias.sum().item()
        return result

    monkeypatch.setattr(trainer, "_learn", reading)
    with pytest.raises(ReproError, match=r"capturing: aten\._local.*; RESNET_REPRO_GRAPH=0 in"):
        trainer.train(keep_going())
    assert trainer.iteration == 3


def test_what_waits_is_an_error_in_the_last_iteration_before_the_capture(
    small: Dataset, prepare: Any, graphs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, modes, learn = prepared(prepare, small), [], Trainer._learn
    mode: list[object] = [0]

    def learning(*arguments: Any) -> Any:
        modes.append(mode[0])
        return learn(*arguments)

    monkeypatch.setattr(Trainer, "_learn", learning)
    monkeypatch.setattr("torch.cuda.get_sync_debug_mode", lambda: mode[0])
    monkeypatch.setattr("torch.cuda.set_sync_debug_mode", lambda new: mode.__setitem__(0, new))
    for _ in range(6):
        trainer.step()
    assert modes == [0, 0, "error", 0], "and the capture; replays call nothing"


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_a_trainer_is_freed_with_its_graph_without_the_collector(
    small: Dataset, prepare: Any, graphs: Any
) -> None:
    """An old graph that is collected while a new one is captured would end that capture."""
    trainer = prepared(prepare, small)
    for _ in range(6):
        trainer.step()
    assert trainer._graphed is not None
    there = [weakref.ref(x) for x in (trainer, trainer._graphed._graph, trainer.network)]
    del trainer
    assert [ref() for ref in there] == [None] * 3


@pytest.mark.usefixtures("no_collector")
def test_a_runner_keeps_no_trainer_and_no_graph_of_a_run_that_ended(
    tmp_path: Path, graphs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[weakref.ref[Any]] = []
    loop = Trainer._loop

    def looped(trainer: Trainer, hooks: Any) -> bool:
        assert all(ref() is None for ref in there), "of the network before"
        ended = loop(trainer, hooks)
        assert trainer._graphed is not None
        there.extend(weakref.ref(x) for x in (trainer, trainer._graphed._graph))
        return ended

    monkeypatch.setattr(Trainer, "_loop", looped)
    recipe = Recipe(iterations=6, milestones=(), batch_size=16, evaluate_every=6)
    runs = [
        Run(network=n, dataset="synthetic", recipe=recipe, seed=0) for n in ("plain-8", "resnet-8")
    ]
    outcomes = short_runner(tmp_path, small_synthetic()).run_all(runs)
    assert set(outcomes.values()) == {"done"}
    assert [ref() for ref in there] == [None] * 4


def test_nothing_is_collected_during_a_capture(
    small: Dataset, prepare: Any, graphs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    collect, learn = gc.collect, Trainer._learn

    def learning(*arguments: Any) -> Any:
        told.append("on" if gc.isenabled() else "off")
        return learn(*arguments)

    monkeypatch.setattr(gc, "collect", lambda: told.append("collected") or collect())
    monkeypatch.setattr(Trainer, "_learn", learning)
    trainer = prepared(prepare, small)
    for _ in range(5):
        trainer.step()
    assert told == ["on", "on", "on", "collected", "off"]
    assert gc.isenabled()


def test_a_training_that_has_ended_holds_no_graph(
    small: Dataset, prepare: Any, keep_going: Any, graphs: Any
) -> None:
    trainer = prepared(prepare, small)
    assert not trainer.train(keep_going(8))
    assert graphs.captured == 1
    assert trainer._graphed is None
