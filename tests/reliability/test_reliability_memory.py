"""Too little memory: a message says what helps, and the run continues where there is more."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from short_runs import short_runner
from tiny_experiment import tiny_experiment

from resnet_repro.base.errors import ReproError
from resnet_repro.base.stop import StopFlag
from resnet_repro.data.dataset import Dataset
from resnet_repro.runner.measuring import METHODS, Work
from resnet_repro.runner.runner import Runner
from resnet_repro.runner.together import in_every_process
from resnet_repro.spec.run import Run
from resnet_repro.training.cifar_feed import CifarFeed


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate"),
        MemoryError(),
        torch.AcceleratorError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        RuntimeError("Triton Error [CUDA]: out of memory"),
    ],
)
def test_it_says_what_helps_and_continues(
    error: Exception, small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = {"iterations": 6, "batch_size": 9, "milestones": [], "evaluate_every": 2}
    run = Run.model_validate(
        {"network": "plain-8", "dataset": "synthetic", "seed": 0, "recipe": recipe}
    )

    def runner() -> Runner:
        return short_runner(tmp_path, small_dataset, checkpoint_every=0.0)

    def hungry(self: CifarFeed, iteration: int) -> Any:
        if iteration == 3:
            raise error
        return batch(self, iteration)

    batch = CifarFeed.batch
    monkeypatch.setattr(CifarFeed, "batch", hungry)
    with pytest.raises(ReproError) as raised:
        runner().run_all([run])
    text = str(raised.value)
    assert f"{run.id}: not enough memory on cpu" in text
    assert "it continues from the last checkpoint when there is more" in text
    assert "--set recipe.micro_batch_size=3 instead of 9" in text
    monkeypatch.setattr(CifarFeed, "batch", batch)
    last = runner()
    assert last.run_all([run])[run.id] == "done"
    summary = last.store.get(run).summary
    assert summary is not None
    assert summary.provenance.first_iteration == 3, "it continued"


@pytest.mark.usefixtures("few_synthetic")
def test_what_cannot_be_measured_for_want_of_memory_keeps_nothing_else(
    command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tiny.yaml").write_text(
        tiny_experiment("synthetic", 2, 2, seeds=2, measure="[responses]"), encoding="utf-8"
    )
    responses, asked = METHODS["responses"], count()

    def hungry(work: Work) -> Any:
        if not next(asked):
            raise torch.OutOfMemoryError
        return responses(work)

    monkeypatch.setitem(METHODS, "responses", hungry)
    answer = command("run", "tiny.yaml", "--device", "cpu")
    assert answer.code == 1
    assert (
        "not enough memory to measure it; what is missing is made by the same command" in answer.err
    )
    assert "wrote results/tiny.csv" in answer.out
    assert len(list((tmp_path / "results").rglob("responses.csv"))) == 1
    quiet = command("run", "tiny.yaml", "--device", "cpu", "--quiet")
    assert (quiet.code, quiet.out, quiet.err) == (0, "", ""), "how well it went is no error"
    assert len(list((tmp_path / "results").rglob("responses.csv"))) == 2


def test_another_error_is_not_taken_for_it(
    small_dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: CifarFeed, iteration: int) -> Any:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(CifarFeed, "batch", broken)
    run = Run.model_validate(
        {
            "network": "plain-8",
            "dataset": "synthetic",
            "seed": 0,
            "recipe": {"iterations": 1, "milestones": [], "batch_size": 4},
        }
    )
    runner = short_runner(tmp_path, small_dataset)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        runner.run_all([run])


@pytest.mark.parametrize("processes", [1, 2])
def test_no_process_waits_for_one_that_lacks_memory(processes: int) -> None:
    """While it prepares, or tests its share: the others learn of it, and all end."""
    told: list[ReproError | None] = []

    def share(error: ReproError | None) -> None:
        told.append(error)
        if error:
            raise error

    def prepare() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    sources: Any = SimpleNamespace(
        processes=SimpleNamespace(count=processes, share_error=share), stop=StopFlag()
    )
    with pytest.raises(torch.OutOfMemoryError if processes == 1 else ReproError, match="memory"):
        in_every_process(sources, prepare)
    assert len(told) == processes - 1
