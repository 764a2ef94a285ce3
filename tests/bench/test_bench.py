"""The benchmark measures real work; how fast it is, is no test's business."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from resnet_repro.base.errors import DataError, ReproError
from resnet_repro.bench.files import record
from resnet_repro.bench.limits import LargeProducts, WorkCounter
from resnet_repro.bench.measure import PATIENCE, Plan, measure_network
from resnet_repro.bench.textbook import TextbookLoop
from resnet_repro.data.datasets import load
from resnet_repro.networks.blocks import ZeroPadShortcut
from resnet_repro.networks.network import build_network
from resnet_repro.plan.estimator import BENCH, Estimator
from resnet_repro.spec.presets import preset_recipe
from resnet_repro.spec.run import Run
from resnet_repro.store.store import Store
from resnet_repro.training.device import Backend


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """On Linux measuring processes are forks of this one, which has imported torch."""
    if sys.platform == "linux":
        fork = multiprocessing.get_context("fork")
        monkeypatch.setattr("multiprocessing.get_context", lambda method: fork)


def test_large_products_are_as_large_as_they_are_said_to_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    products = LargeProducts(Backend(torch.device("cpu"), "fp32"))
    for product, operations in products.work:
        with FlopCounterMode(display=False) as counter:
            product()
        assert counter.get_total_flops() == operations
    assert len(products.work) == 2, "a product and a convolution"
    speeds = iter((2e9, 3e9))
    monkeypatch.setattr(products, "_rate", lambda *_: next(speeds))
    assert products.rate() == 3e9, "the faster one is the limit"


@pytest.mark.usefixtures("forked", "quick_limits")
def test_measurement_counts_images_and_shares(tmp_path: Path) -> None:
    plan = Plan("resnet-8", "synthetic", tmp_path, "cpu", "fp32", rounds=2, seconds=0.1)
    found = measure_network(plan)
    assert not multiprocessing.active_children(), "no contender outlives its turn"
    assert found.images_per_second_low <= found.images_per_second <= found.images_per_second_high
    assert found.textbook_images_per_second is not None
    assert found.ratio is not None
    assert found.ratio_low is not None
    assert found.ratio_low <= found.ratio
    operations = 6 * 12_239_232 * found.images_per_second  # 3 x forward multiply-adds x 2
    assert 0.2 < found.share_of_matrix_rate * found.matrix_tflops * 1e12 / operations < 5
    assert len(found.cells()) == 6
    assert 80 < found.operations < 200  # of 8 layers
    for name in ("matrix rate", "memory", "launches"):
        assert re.search(rf"{name} \d+%", found.limits)

    store = Store(tmp_path)
    path = record(store, BENCH, [found])
    assert path == store.csv_path(BENCH)
    estimator = Estimator(store, "cpu")
    assert estimator.images_per_second("resnet-8") == found.images_per_second

    def recorded(before: str) -> str:
        path.write_text(before, encoding="utf-8")
        return record(store, BENCH, [found]).read_text(encoding="utf-8")

    once = path.read_text(encoding="utf-8")
    assert recorded(once) == once, "replaced, not repeated"
    assert len(once.splitlines()) == 2
    assert recorded("not,a\nbenchmark,file\n") == once

    fewer = dataclasses.replace(found, threads=found.threads - 1, images_per_second=1.0)
    assert len(record(store, BENCH, [fewer]).read_text(encoding="utf-8").splitlines()) == 3
    estimator = Estimator(store, "cpu")
    assert estimator.images_per_second("resnet-8") == found.images_per_second, "of as many threads"

    gpu = dataclasses.replace(found, device="cuda", hardware="NVIDIA H100")
    record(store, BENCH, [gpu])
    fewer = dataclasses.replace(gpu, threads=gpu.threads - 1, images_per_second=2.0)
    assert len(record(store, BENCH, [fewer]).read_text(encoding="utf-8").splitlines()) == 4

    older = (Path(__file__).parents[2] / "results" / "bench.csv").read_text(encoding="utf-8")
    lines = zip(older.splitlines(), recorded(older).splitlines(), strict=False)
    assert all(now.startswith(before) for before, now in lines), "what earlier versions measured"


def test_work_is_what_operations_read_and_write() -> None:
    a, b, table = torch.ones(10), torch.ones(10), torch.ones(1000, 10)
    weight, gradient = torch.nn.Parameter(torch.ones(5)), torch.ones(5)
    weight.grad = gradient

    def counted(make: Any) -> tuple[int, int]:
        with WorkCounter() as counter:
            make()
        return counter.operations, counter.bytes

    assert counted(lambda: a + b) == (1, 120)
    assert counted(lambda: a.add_(b)) == (1, 120)
    assert counted(lambda: table[3:5].view(20, 1).squeeze()[:3].t()) == (0, 0)
    assert counted(lambda: table.index_select(0, torch.tensor([1, 2]))) == (1, 160)
    update = torch.optim.SGD([weight], lr=0.1, fused=True)
    operations, moved = counted(update.step)
    assert operations >= 1
    assert moved >= 3 * 20, "weights and gradients are read, weights are written"


def test_the_textbook_loop_learns(tmp_path: Path) -> None:
    recipe = preset_recipe("paper", "resnet-8", "cifar10").model_copy(update={"batch_size": 16})
    run = Run(network="resnet-8", dataset="synthetic", recipe=recipe, seed=0)
    loop = TextbookLoop(run, load("synthetic", tmp_path), torch.device("cpu"))
    before = [p.clone() for p in loop.network.parameters()]
    loop.step()
    loop.close()
    assert all(
        not torch.equal(a, b) for a, b in zip(before, loop.network.parameters(), strict=True)
    )


def test_the_textbook_loop_draws_its_weights_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch refuses a generator of another device; `meta` stands for a GPU's."""
    there: list[torch.device] = []

    def note(network: torch.nn.Module, seed: int) -> None:
        there.extend(p.device for p in network.parameters())

    monkeypatch.setattr("resnet_repro.bench.textbook.initialise", note)
    run = Run(
        network="resnet-8",
        dataset="synthetic",
        recipe=preset_recipe("paper", "resnet-8", "cifar10"),
        seed=0,
    )
    loop = TextbookLoop(run, load("synthetic", tmp_path), torch.device("meta"))
    loop.close()
    assert {device.type for device in there} == {"cpu"}
    assert {p.device.type for p in loop.network.parameters()} == {"meta"}


@pytest.mark.usefixtures("forked")
def test_a_process_that_dies_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(_: str) -> None:
        for child in multiprocessing.active_children():
            child.kill()

    def measure(_: object, progress: Callable[[str], None]) -> None:
        progress("round 1 of 9")
        time.sleep(60)

    monkeypatch.setattr("resnet_repro.bench.measure.measure_here", measure)
    with pytest.raises(ReproError, match=r"resnet-8 ended unexpectedly"):
        measure_network(Plan("resnet-8", "synthetic", tmp_path, "cpu", "fp32"), kill)


@pytest.mark.usefixtures("forked")
def test_ctrl_c_ends_the_process_without_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupt(line: str) -> None:
        if line == "round 1 of 9":
            (child,) = multiprocessing.active_children()
            assert child.pid is not None
            os.kill(child.pid, signal.SIGINT)  # as a terminal does
            raise KeyboardInterrupt

    def measure(_: object, progress: Callable[[str], None]) -> None:
        progress("round 1 of 9")
        time.sleep(60)

    monkeypatch.setattr("resnet_repro.bench.measure.measure_here", measure)
    handler, began = signal.getsignal(signal.SIGINT), time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        measure_network(Plan("resnet-8", "synthetic", tmp_path, "cpu", "fp32"), interrupt)
    assert time.monotonic() - began < PATIENCE
    assert not multiprocessing.active_children()
    assert signal.getsignal(signal.SIGINT) is handler
    assert "Traceback" not in capfd.readouterr().err


def test_what_goes_wrong_in_the_process_is_raised(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no CIFAR-10"):
        measure_network(Plan("resnet-8", "cifar10", tmp_path, "cpu", "fp32"))


def test_the_textbook_has_none_of_our_shortcuts(tmp_path: Path) -> None:
    recipe = preset_recipe("paper", "resnet-8", "cifar10").model_copy(update={"batch_size": 16})
    run = Run(network="resnet-8", dataset="synthetic", recipe=recipe, seed=0)
    loop = TextbookLoop(run, load("synthetic", tmp_path), torch.device("cpu"))
    network = build_network("resnet-8")
    network.load_state_dict(loop.network.state_dict())
    assert not [m for m in loop.network.modules() if isinstance(m, ZeroPadShortcut)]
    images = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(loop.network(images), network(images))
    loop.close()


def test_that_nothing_can_be_written_is_said_before_measuring(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setattr("resnet_repro.bench.measure.measure_network", None)
    answer = command("bench", "--networks", "resnet-8", "--results", "file/results")
    assert answer.code == 1
    assert answer.err.startswith("resnet-repro: cannot write file/results: ")


@pytest.mark.parametrize("dataset", ["synthetic", "scenes"])
def test_detectors_are_refused_with_every_data_set(command: Any, dataset: str) -> None:
    answer = command("bench", "--networks", "faster-rcnn-resnet-18-a", "--dataset", dataset)
    assert answer.code == 2
    assert "faster-rcnn-resnet-18-a is a detector, not a classification network" in answer.err


def test_data_sets_are_named_as_everywhere(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = command("bench", "--dataset", "scenes")
    assert (answer.code, "does not go with scenes but with cifar10" in answer.err) == (2, True)
    for name in ("train/one/a.png", "train/two/b.png", "val/one/c.png", "val/two/d.png"):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True)
        Image.new("RGB", (40, 40)).save(tmp_path / "pictures" / name)
    plans: list[Plan] = []

    def planned(plan: Plan, _: object) -> None:
        plans.append(plan)
        raise ReproError("enough")

    monkeypatch.setattr("resnet_repro.bench.measure.measure_network", planned)
    answer = command("bench", "--networks", "resnet-18-b", "--dataset", "folder:pictures")
    assert answer.err.endswith("resnet-repro: enough\n")
    (plan,) = plans
    assert load(plan.dataset, plan.data_dir, plan.folders).identity.name == "folder:pictures"
