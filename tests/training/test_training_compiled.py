"""`--compile`: batch normalisation, shortcut and ReLU in one, by torch's compiler."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from short_runs import Quiet, short_runner
from torch import Tensor, nn

from resnet_repro.base.errors import ConfigError
from resnet_repro.bench.measure import measure_here
from resnet_repro.data.dataset import Dataset
from resnet_repro.measure.gradients import measure_gradients
from resnet_repro.networks import blocks, fused
from resnet_repro.networks.blocks import BatchNorm, fuse, norm_relu
from resnet_repro.networks.network import build_network
from resnet_repro.plan.estimator import Estimator
from resnet_repro.spec.recipe import Recipe
from resnet_repro.spec.run import Run
from resnet_repro.store.store import Store
from resnet_repro.training import precision_speed
from resnet_repro.training.device import Backend

CPU = torch.device("cpu")
SHAPE = (8, 16, 6, 5)
# Of what an error may be, for a value around 1: bf16 keeps eight digits of its two's power.
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 2**-7}


@pytest.fixture(scope="module")
def compiler() -> None:
    try:
        fused.check_compiler(CPU)
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.fixture
def as_if_compiled(compiler: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The formulas as they are, for what only has to know that they are used: compiling is slow."""
    monkeypatch.setattr(fused, "_compiled", lambda formula: formula)


@pytest.fixture
def traced(compiler: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Traced by torch but computed as they are: what kernels compute is another test's business."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    fused._compiled.cache_clear()
    yield
    fused._compiled.cache_clear()


def _drawn(kind: torch.dtype) -> Tensor:
    """A channels-last map, rounded to a type."""
    return torch.randn(SHAPE).contiguous(memory_format=torch.channels_last).to(kind)


@pytest.mark.parametrize("kind", TOLERANCE)
@pytest.mark.parametrize("adds", [False, True])
def test_outputs_statistics_and_gradients_are_those_of_the_formulas(
    compiler: None, one_thread: None, kind: torch.dtype, adds: bool
) -> None:
    """In float64, as torch's own operations have them; the channels are far from zero."""
    torch.manual_seed(0)
    x = (_drawn(kind).float() + 3 * torch.arange(16).view(1, -1, 1, 1)).to(kind)
    shortcut = _drawn(kind) if adds else None
    layer = BatchNorm(16, momentum=0.3)
    torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
    torch.nn.init.normal_(layer.bias)
    upstream = _drawn(kind)

    exact = layer.double()
    inputs = [t.double().requires_grad_() for t in (x, shortcut) if t is not None]
    expected = norm_relu(exact, *inputs)
    expected.backward(upstream.double())
    gradients = [t.grad for t in (*inputs, exact.weight, exact.bias)]
    statistics = [exact.running_mean.clone(), exact.running_var.clone()]

    layer = exact.float()
    layer.zero_grad()
    layer.reset_running_stats()
    fuse(layer)
    inputs = [t.clone().requires_grad_() for t in (x, shortcut) if t is not None]
    out = norm_relu(layer, *inputs)
    out.backward(upstream)

    assert out.dtype == inputs[0].grad.dtype == kind
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert inputs[0].grad.is_contiguous(memory_format=torch.channels_last)
    found = [t.grad for t in (*inputs, layer.weight, layer.bias)]
    for ours, theirs in [(out, expected), *zip(found, gradients, strict=True)]:
        error = (ours.double() - theirs).abs().max() / theirs.abs().max()
        assert error < TOLERANCE[kind]
    for ours, theirs in zip((layer.running_mean, layer.running_var), statistics, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-6, atol=1e-6)


def test_a_single_value_a_channel_is_refused_as_by_torch(compiler: None) -> None:
    layer = BatchNorm(4)
    fuse(layer)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm_relu(layer, torch.ones(1, 4, 1, 1))


def test_what_is_no_number_stays_none(compiler: None) -> None:
    """Or else a training that diverged would go on."""
    layer = BatchNorm(16)
    fuse(layer)
    x = _drawn(torch.float32)
    x[3, 5, 2, 2] = torch.nan
    out = norm_relu(layer, x)
    assert out[:, 5].isnan().all()
    assert out[:, :5].isfinite().all()


def test_another_momentum_compiles_nothing_anew(compiler: None) -> None:
    """Or else the average over many batches, each with its own, exceeds torch's limit."""
    layer = BatchNorm(16)
    fuse(layer)
    x = _drawn(torch.float32)
    norm_relu(layer, x)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for seen in (1, 2, 3):
            layer.momentum = 1 / seen
            norm_relu(layer, x)
    expected = x.transpose(0, 1).flatten(1).mean(1)  # three times the same
    torch.testing.assert_close(layer.running_mean, expected)


def test_only_training_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """In evaluation the running statistics count, and there is nothing to fuse."""
    monkeypatch.setattr(fused, "_compiled", None)
    network, images = build_network("resnet-8"), torch.zeros(2, 3, 32, 32)
    fuse(network)
    network.eval()(images)
    with pytest.raises(TypeError):  # what is None cannot be called
        network.train()(images)
    fuse(network, False)
    network(images)


def test_watched_gradients_are_those_of_the_layers_themselves(monkeypatch: Any) -> None:
    """Each layer's own output is looked at, which would never be there."""
    monkeypatch.setattr(fused, "_compiled", None)
    torch.manual_seed(0)
    network, images = build_network("resnet-8"), torch.randn(4, 3, 32, 32)
    labels = torch.arange(4)

    def rows() -> Any:
        autocast = Backend(CPU, "fp32").autocast
        return measure_gradients(network, images, labels, autocast, 0, "training")

    plain = rows()
    fuse(network)
    assert rows() == plain


def test_a_training_learns_the_same_compiled(
    traced: None, one_thread: None, small: Dataset, train: Any, monkeypatch: Any
) -> None:
    """Micro-batches too, each of which counts in another way for the running statistics."""
    made = blocks.batch_norm_relu
    layers: list[nn.Module] = []
    counted = lambda layer, *maps: (layers.append(layer), made(layer, *maps))[1]  # noqa: E731
    monkeypatch.setattr(blocks, "batch_norm_relu", counted)
    recipe = {"iterations": 3, "learning_rate": 0.01, "micro_batch_size": 16}
    plain = train(small, **recipe)
    assert not layers
    compiled = train(small, compiled=True, **recipe)
    assert len(layers) == 7 * 2 * 3, "layers, micro-batches and iterations"
    for ours, theirs in zip(compiled.points, plain.points, strict=True):
        assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-3)
    name = "layer3.0.bn2.running_var"
    ours, theirs = (t.network.get_buffer(name) for t in (compiled, plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-3)


def test_a_network_learns_the_same_compiled(traced: None, one_thread: None) -> None:
    """One step of it, up to rounding, in the original order and in that of pre-activation."""
    torch.manual_seed(0)
    images, labels = torch.randn(16, 3, 32, 32), torch.arange(16) % 10
    images = images.contiguous(memory_format=torch.channels_last)
    for name in ("resnet-8", "preact-8"):
        torch.manual_seed(0)
        network = build_network(name).to(memory_format=torch.channels_last)
        gradients = []
        for wanted in (False, True):
            fuse(network, wanted)
            network.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
        error = (gradients[1] - gradients[0]).norm() / gradients[0].norm()
        assert error < 2e-2, name  # a value that rounding takes over a ReLU's edge makes 5e-3


def test_a_stopped_training_goes_on_to_the_same_bits(
    traced: None, one_thread: None, small: Dataset, tmp_path: Path
) -> None:
    """And both say in their provenance that they were compiled."""
    recipe = Recipe(iterations=6, milestones=(4,), batch_size=16, evaluate_every=3)
    fields = {"network": "resnet-8", "dataset": "synthetic", "precision": "fp32", "seed": 0}
    run, curves = Run(recipe=recipe, **fields), []
    for name, stop_after in (("whole", None), ("stopped", 4)):
        runner = short_runner(tmp_path / name, small, Quiet(stop_after), compiled=True)
        outcome = runner.run_all([run])[run.id]
        if stop_after:
            assert outcome == "stopped"
            runner = short_runner(tmp_path / name, small, compiled=True)
            outcome = runner.run_all([run])[run.id]
        assert outcome == "done"
        summary = runner.store.get(run).summary
        assert summary is not None
        assert [s.compiled for s in summary.provenance.trained_by] == [True] * (
            2 if stop_after else 1
        )
        curves.append([p._replace(seconds=0) for p in runner.store.get(run).rows("curve")])
    assert curves[0] == curves[1]


def test_what_has_nothing_to_fuse_is_refused(command: Callable[..., Any], tmp_path: Path) -> None:
    answer = command("run", "table7", "--preset", "demo", "--compile")
    assert answer.code == 2
    assert "--compile is for plain and residual networks" in answer.err


def test_without_a_compiler_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, command: Callable[..., Any], tmp_path: Path
) -> None:
    def broken(_: object) -> Any:
        raise RuntimeError("no g++ here\nand a long log")

    monkeypatch.setattr(fused, "_compiled", broken)
    fused.check_compiler.cache_clear()
    answer = command("run", "fig1", "--preset", "demo", "--compile")
    assert answer.code == 2
    assert "torch's compiler does not work here; it needs a C++ compiler" in answer.err
    assert "no g++ here" in answer.err
    assert "long log" not in answer.err
    assert not list(tmp_path.glob("results/runs/*"))


@pytest.mark.usefixtures("as_if_compiled", "quick_limits")
def test_bench_keeps_both_measurements(
    command: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each is what trainings of its own kind are estimated from."""
    monkeypatch.setattr(precision_speed, "measure_rates", lambda: {"fp32": 2.0, "bf16": 1.0})
    # A process of its own would compile.
    monkeypatch.setattr("resnet_repro.bench.measure.measure_network", measure_here)
    quick = ("--networks", "resnet-8", "--no-textbook", "--rounds", 1, "--seconds", 0.1)
    for more in ((), ("--compile",)):
        answer = command("bench", *quick, *more)
        assert answer.code == 0, answer.err
    rows = list(csv.DictReader((tmp_path / "results/bench.csv").open(encoding="utf-8")))
    assert [row["compiled"] for row in rows] == ["", "True"]
    assert rows[0]["operations"] == rows[1]["operations"]
    for compiled, row in zip((False, True), rows, strict=True):
        estimator = Estimator(Store(tmp_path / "results"), "cpu", compiled=compiled)
        assert estimator.images_per_second("resnet-8") == float(row["images_per_second"])


def test_the_report_says_so(
    as_if_compiled: None, command: Callable[..., Any], tmp_path: Path, one_thread: None
) -> None:
    tiny = """
name: mine
title: A tiny network
dataset: synthetic
preset: demo
recipe: {iterations: 4, milestones: [], batch_size: 16, evaluate_every: 4}
runs: [{networks: [resnet-8]}]
table: {kind: errors}
"""
    (tmp_path / "mine.yaml").write_text(tiny, encoding="utf-8")
    answer = command("run", "mine.yaml", "--compile")
    assert answer.code == 0, answer.err
    (summary,) = tmp_path.glob("results/runs/*/summary.json")
    provenance = json.loads(summary.read_text(encoding="utf-8"))["provenance"]
    assert provenance["compiled"] is True
    assert provenance["command"] == "resnet-repro run mine.yaml --compile"
    assert command("report").code == 0
    report = (tmp_path / "results/report.md").read_text(encoding="utf-8")
    assert "1 thread, compiled (1 run)" in report
