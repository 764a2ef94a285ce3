"""Signals and gradients (section 4.1): right numbers, and a training that does not notice."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from short_runs import KeepGoing, Quiet, short_runner, small_synthetic
from torch import Tensor, nn

from resnet_repro.data.dataset import Dataset
from resnet_repro.measure.gradients import GradientObserver, measure_gradients
from resnet_repro.networks.initialise import initialise
from resnet_repro.networks.network import build_network
from resnet_repro.runner.measuring import Asked
from resnet_repro.runner.runner import Runner
from resnet_repro.runner.session import Session
from resnet_repro.spec.measurements import GradientRow
from resnet_repro.spec.recipe import Recipe
from resnet_repro.spec.run import Run
from resnet_repro.store.store import Store
from resnet_repro.training.device import Backend
from resnet_repro.training.feed import make_feed
from resnet_repro.training.trainer import Trainer

pytestmark = pytest.mark.usefixtures("narrow")

FP32 = Backend(torch.device("cpu"), "fp32")
RECIPE = Recipe(iterations=8, milestones=(6,), batch_size=16, evaluate_every=3)


@pytest.fixture(scope="module")
def small() -> Dataset:
    return small_synthetic()


def by_hand(model: nn.Module, x: Tensor, labels: Tensor, residual: bool) -> list[tuple[Any, ...]]:
    """(std of the response, norms of the gradients in the weights and in the response).

    Of an 8-layer network's layers, in float64.
    """
    weights = {n: v.detach().double().requires_grad_() for n, v in model.named_parameters()}
    responses: list[Tensor] = []
    used: list[Tensor] = []

    def layer(x: Tensor, conv: str, bn: str, stride: int = 1) -> Tensor:
        used.append(weights[f"{conv}.weight"])
        out = F.conv2d(x, used[-1], stride=stride, padding=1)
        centred = out - out.mean(dim=(0, 2, 3), keepdim=True)
        variance = centred.square().mean(dim=(0, 2, 3), keepdim=True)
        scale, shift = (weights[f"{bn}.{key}"][:, None, None] for key in ("weight", "bias"))
        responses.append(centred / torch.sqrt(variance + 1e-5) * scale + shift)
        return responses[-1]

    x = layer(x.double(), "conv1", "bn1").clamp(min=0)
    for stage in (1, 2, 3):
        block, stride = f"layer{stage}.0", 1 if stage == 1 else 2
        out = layer(x, f"{block}.conv1", f"{block}.bn1", stride).clamp(min=0)
        out = layer(out, f"{block}.conv2", f"{block}.bn2")
        if residual:
            short = x[:, :, ::stride, ::stride]
            out = torch.cat([out[:, : x.shape[1]] + short, out[:, x.shape[1] :]], dim=1)
        x = out.clamp(min=0)
    logits = x.mean(dim=(2, 3)) @ weights["fc.weight"].T + weights["fc.bias"]
    loss = (torch.logsumexp(logits, 1) - logits[torch.arange(len(labels)), labels]).mean()
    gradients = torch.autograd.grad(loss, [*used, *responses])
    in_weights, in_responses = gradients[: len(used)], gradients[len(used) :]
    return [
        (response.std(correction=0).item(), weights.norm().item(), back.norm().item())
        for response, weights, back in zip(responses, in_weights, in_responses, strict=True)
    ]


@pytest.mark.parametrize("network", ["plain-8", "resnet-8"])
def test_numbers_are_those_of_an_independent_computation(network: str, small: Dataset) -> None:
    model = build_network(network)
    initialise(model, 3)
    random = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # as if trained: at the start all stds are 1
            nn.init.uniform_(module.weight, 0.3, 1.5, generator=random)
    images = torch.tensor(small.train_images).float()
    inputs, labels = (images - images.mean(dim=0))[::8], torch.tensor(small.train_labels)[::8]
    rows = measure_gradients(model, inputs, labels, contextlib.nullcontext)
    expected = by_hand(model, inputs, labels, network == "resnet-8")
    assert [row.layer for row in rows] == [1, 2, 3, 4, 5, 6, 7]
    assert rows[1].module == "layer1.0.bn1"
    stds, in_weights, in_responses = zip(*expected, strict=True)
    assert [row.forward_std for row in rows] == pytest.approx(stds, rel=1e-4)
    assert [row.gradient_norm for row in rows] == pytest.approx(in_weights, rel=1e-3)
    assert [row.signal_norm for row in rows] == pytest.approx(in_responses, rel=3e-3)
    assert rows[0].weight_norm == pytest.approx(model.conv1.weight.norm().item())  # type: ignore[union-attr]


@pytest.mark.parametrize("training", [True, False])
def test_measuring_leaves_no_trace(training: bool, small: Dataset) -> None:
    model = build_network("resnet-8").train(training)
    initialise(model, 0)
    model(torch.zeros(2, 3, 32, 32)).sum().backward()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    random = torch.get_rng_state()
    images, labels = torch.tensor(small.train_images).float(), torch.tensor(small.train_labels)
    with torch.no_grad():  # whatever context it is called in
        rows = measure_gradients(model, images[:8], labels[:8], contextlib.nullcontext)
    assert rows[0].gradient_norm > 0
    assert model.training == training
    assert not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    after = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(after, gradients, strict=True))
    assert torch.equal(torch.get_rng_state(), random)


def test_the_batch_is_spread_over_the_data_set(small: Dataset) -> None:
    """Copies made from folders are sorted by class."""
    images = small.train_images
    dataset = dataclasses.replace(small, train_labels=np.arange(10).repeat(10))
    run = Run(network="plain-8", dataset="synthetic", recipe=RECIPE, seed=0)
    feed = make_feed(run, dataset, FP32)
    inputs, chosen = feed.fixed_batch(10)
    assert chosen.tolist() == list(range(10))
    expected = torch.tensor(images[::10] - images.mean(axis=0))
    assert torch.allclose(inputs, expected.float(), atol=1e-3)
    assert len(feed.fixed_batch(1000).targets) == 100


class Watching(KeepGoing):
    """Passes a training's points on."""

    def __init__(self, record: GradientObserver | None) -> None:
        super().__init__()
        self.record = record

    def on_point(self, trainer: Trainer) -> None:
        if self.record is not None:
            self.record.on_point(trainer)


def test_a_watched_training_is_the_same_bit_for_bit(small: Dataset, tmp_path: Path) -> None:
    run = Run(network="resnet-8", dataset="synthetic", recipe=RECIPE, seed=1)
    folder = Store(tmp_path).folder(run)
    folder.make()
    record = GradientObserver(folder)
    trainers = []
    for watching in (None, record):
        trainer = Trainer(run, make_feed(run, small, FP32), FP32)
        if watching is not None:
            watching.begin(trainer)
        assert trainer.train(Watching(watching))
        trainers.append(trainer)
    plain, watched = (trainer.state() for trainer in trainers)
    assert {row.iteration for row in record.rows} == {0, 3, 6, 8}
    assert all(torch.equal(v, watched["network"][n]) for n, v in plain["network"].items())
    pairs = zip(plain["momentum"], watched["momentum"], strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    timeless = [
        [{k: v for k, v in p.items() if k != "seconds"} for p in state["points"]]
        for state in (plain, watched)
    ]
    assert timeless[0] == timeless[1]


class Bench:
    """One small run in a results folder of its own."""

    def __init__(self, root: Path, small: Dataset) -> None:
        self.store, self.small = Store(root), small
        self.run = Run(
            network="plain-8", dataset="synthetic", recipe=RECIPE, seed=0, precision="fp32"
        )

    def train(self, watch: bool, stop_after: int | None = None, **options: Any) -> Runner:
        options["observe_gradients"] = frozenset({self.run.id} if watch else ())
        runner = short_runner(self.store.root, self.small, Quiet(stop_after), **options)
        runner.run_all([self.run])
        return runner

    def rows(self) -> list[GradientRow]:
        return self.store.get(self.run).rows("gradients")


@pytest.fixture
def bench(tmp_path: Path, small: Dataset) -> Bench:
    return Bench(tmp_path / "results", small)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, small: Dataset) -> list[GradientRow]:
    """What is measured of the run when somebody looks on from its start to its end."""
    bench = Bench(tmp_path_factory.mktemp("watched"), small)
    bench.train(watch=True)
    return bench.rows()


def moments(rows: list[GradientRow]) -> list[int]:
    return sorted({row.iteration for row in rows})


def test_every_point_of_the_curve_is_measured(watched: list[GradientRow]) -> None:
    assert moments(watched) == [0, 3, 6, 8]
    assert len(watched) == 4 * 7
    assert {row.measured for row in watched} == {"training"}


def test_a_stopped_and_resumed_training_measures_the_same(
    bench: Bench, watched: list[GradientRow]
) -> None:
    bench.train(watch=True, stop_after=7)
    assert 0 < len(bench.rows()) < len(watched)
    assert not bench.store.get(bench.run).finished
    bench.train(watch=True)
    assert bench.rows() == watched


def test_what_was_measured_is_stored_before_a_checkpoint(
    bench: Bench, watched: list[GradientRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that is killed later goes on from there and never measures those points again."""
    monkeypatch.setattr(Session, "end", lambda *_: None)
    bench.train(watch=True, stop_after=9, checkpoint_every=0.0)
    assert moments(bench.rows()) == [0, 3]
    monkeypatch.undo()
    bench.train(watch=True)
    assert bench.rows() == watched


def test_a_training_watched_from_the_middle_still_has_its_start(
    bench: Bench, watched: list[GradientRow]
) -> None:
    bench.train(watch=False, stop_after=7)
    bench.train(watch=True)
    rows = bench.rows()
    assert moments(rows) == [0, 6, 8]
    assert rows == [row for row in watched if row.iteration != 3]


def test_start_and_end_of_an_unwatched_training_are_measured_afterwards(
    bench: Bench, watched: list[GradientRow]
) -> None:
    runner = bench.train(watch=False)
    assert bench.rows() == []
    assert runner.measurer.measure_run(bench.run, [Asked("gradients")]) is None
    rows = bench.rows()
    assert {row.measured for row in rows} == {"afterwards"}
    assert [row._replace(measured="training") for row in rows] == [
        row for row in watched if row.iteration in (0, 8)
    ]
    path = bench.store.folder(bench.run).gradients
    before = path.stat().st_mtime_ns
    runner.measurer.measure_run(bench.run, [Asked("gradients")])
    assert path.stat().st_mtime_ns == before


def test_what_a_watched_training_lacks_is_filled_in(bench: Bench) -> None:
    bench.train(watch=True, stop_after=7)
    bench.train(watch=False).measurer.measure_run(bench.run, [Asked("gradients")])
    rows = bench.rows()
    assert moments(rows) == [0, 3, 8]
    assert {row.iteration for row in rows if row.measured == "afterwards"} == {8}


def test_rows_of_a_training_that_is_given_up_are_not_the_new_ones(bench: Bench) -> None:
    bench.train(watch=True, stop_after=7)
    assert bench.rows()
    for path in bench.store.folder(bench.run).checkpoints():
        path.write_bytes(b"torn")
    runner = bench.train(watch=False)
    assert bench.store.get(bench.run).finished
    assert bench.rows() == []
    runner.measurer.measure_run(bench.run, [Asked("gradients")])
    assert {row.measured for row in bench.rows()} == {"afterwards"}
    assert list(bench.store.folder(bench.run).path.glob("checkpoint*.damaged"))


def test_without_weights_nothing_is_measured_but_said(bench: Bench) -> None:
    runner = bench.train(watch=False)
    folder = bench.store.folder(bench.run)
    for path in folder.checkpoints():
        path.unlink()
    assert runner.measurer.measure_run(bench.run, [Asked("gradients")]) == "unmeasured"
    assert not folder.gradients.exists()


def test_a_torn_file_is_noticed_and_measured_anew(bench: Bench) -> None:
    bench.train(watch=True)
    path = bench.store.folder(bench.run).gradients
    path.write_text(path.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    assert "gradients.csv" in str(bench.store.get(bench.run).problem)
    bench.train(watch=False).measurer.measure_run(bench.run, [Asked("gradients")])
    assert bench.store.get(bench.run).finished
    assert moments(bench.rows()) == [0, 8]
