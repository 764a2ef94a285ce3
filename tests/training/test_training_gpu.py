"""The GPU trains what the CPU trains; skipped without one."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from resnet_repro.base.errors import ConfigError
from resnet_repro.data.dataset import Dataset
from resnet_repro.networks.fused import check_compiler
from resnet_repro.training.device import choose_backend
from resnet_repro.training.graph import BatchQueue

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def close_to(losses: list[float]) -> list[Any]:
    """Losses in fp32 as another device may have them.

    Before any update only rounding differs; TF32, which is not fp32, would be 1e-4 away. Every
    update makes the difference larger.
    """
    tolerances = [1e-5, 1e-4, 1e-4] + [1e-2] * len(losses)
    return [pytest.approx(loss, rel=rel) for loss, rel in zip(losses, tolerances, strict=False)]


def losses(trainer: Any) -> list[float]:
    return [point.train_loss for point in trainer.points]


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions that give the same bits every time, without a search for the fastest.

    As attributes: `torch.backends.cudnn.flags` raises once TF32 is forbidden in the newer way.
    """
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)


@pytest.mark.parametrize("network", ["resnet-8", "plain-8", "resnet-20"])
def test_fp32_losses_agree_with_the_cpus(network: str, small: Dataset, train: Any) -> None:
    recipe = {"iterations": 8, "milestones": (3, 6), "learning_rate": 0.01}
    cpu, gpu = (
        losses(train(small, network, device=device, precision="fp32", **recipe))
        for device in ("cpu", "cuda")
    )
    assert gpu == close_to(cpu)


def test_the_gpu_draws_the_batches_and_weights_of_the_cpu(small: Dataset, prepare: Any) -> None:
    cpu, gpu = (prepare(small, device=device) for device in ("cpu", "cuda"))
    ours, theirs = cpu.network.state_dict(), gpu.network.state_dict()
    assert all(torch.equal(value, theirs[name].cpu()) for name, value in ours.items())
    assert cpu.feed.normalisation == gpu.feed.normalisation


def test_test_errors_agree_with_the_cpus(small: Dataset, train: Any) -> None:
    recipe = {"iterations": 6, "learning_rate": 0.01, "evaluate_every": 6}
    cpu, gpu = (train(small, device=device, **recipe) for device in ("cpu", "cuda"))
    one_image = 100 / len(small.test_labels)
    assert gpu.points[-1].test_error == pytest.approx(cpu.points[-1].test_error, abs=one_image)
    assert gpu.points[-1].train_error == pytest.approx(cpu.points[-1].train_error, abs=1)


def test_micro_batches_and_warm_up_agree_with_the_cpus(small: Dataset, train: Any) -> None:
    recipe = {
        "micro_batch_size": 8,
        "learning_rate": 0.01,
        "warmup": {"learning_rate": 0.001, "until_train_error": 99.9, "window": 3},
    }
    cpu, gpu = (train(small, iterations=8, device=d, **recipe) for d in ("cpu", "cuda"))
    assert cpu.warmup_end == gpu.warmup_end == 3
    assert losses(gpu) == close_to(losses(cpu))


def test_bf16_learns_like_fp32(small: Dataset, train: Any) -> None:
    if choose_backend("cuda", "auto").precision != "bf16":
        pytest.skip("this GPU has no native bf16")
    recipe = {"iterations": 20, "learning_rate": 0.02, "evaluate_every": 5}
    exact, fast = (
        losses(train(small, device="cuda", precision=p, **recipe)) for p in ("fp32", "bf16")
    )
    assert fast == pytest.approx(exact, rel=0.1)


def test_compiled_it_learns_the_same(small: Dataset, train: Any) -> None:
    """In the graph, up to rounding."""
    try:
        check_compiler(torch.device("cuda"))
    except ConfigError as error:
        pytest.skip(str(error))
    recipe = {"device": "cuda", "iterations": 8, "milestones": (3, 6), "learning_rate": 0.01}
    plain, compiled = (losses(train(small, compiled=c, **recipe)) for c in (False, True))
    assert compiled == close_to(plain)


@pytest.mark.parametrize("stop_at", [2, 5])
def test_a_resumed_training_goes_on_where_it_was(
    small: Dataset, train: Any, prepare: Any, keep_going: Any, exact: None, stop_at: int
) -> None:
    recipe = {"device": "cuda", "iterations": 8, "milestones": (4,), "learning_rate": 0.01}
    whole, stopped = train(small, **recipe), prepare(small, **recipe)
    assert not stopped.train(keep_going(stop_at))
    resumed = prepare(small, **recipe)
    resumed.load_state(stopped.state())
    assert resumed.train(keep_going())
    assert losses(resumed) == losses(whole)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_graph_changes_nothing(
    small: Dataset, train: Any, monkeypatch: pytest.MonkeyPatch, exact: None, precision: str
) -> None:
    recipe = {"device": "cuda", "iterations": 20, "milestones": (7,), "learning_rate": 0.01}
    replay, replays = torch.cuda.CUDAGraph.replay, []
    counted = lambda graph: replays.append(replay(graph))  # noqa: E731
    monkeypatch.setattr(torch.cuda.CUDAGraph, "replay", counted)
    graphed = train(small, "resnet-20", precision=precision, **recipe)
    assert len(replays) == 17
    monkeypatch.setenv("RESNET_REPRO_GRAPH", "0")
    eager = train(small, "resnet-20", precision=precision, **recipe)
    assert len(replays) == 17
    assert losses(graphed) == losses(eager)
    ours, theirs = graphed.network.state_dict(), eager.network.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_nothing_in_an_iteration_waits_for_the_device(small: Dataset, prepare: Any) -> None:
    trainer = prepare(small, device="cuda")
    queue = BatchQueue(trainer.feed)
    for iteration in range(4):
        queue.prepare(iteration)
        torch.cuda.set_sync_debug_mode("error" if iteration else "default")
        try:
            trainer._learn(queue.take())  # raises where something waits, and says what
        finally:
            torch.cuda.set_sync_debug_mode("default")
