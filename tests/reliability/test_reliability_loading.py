"""What keeps a run from its weights is no damage: no good checkpoint is put aside for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from short_runs import Quiet, short_runner, small_synthetic
from tiny_experiment import tiny_experiment

from resnet_repro.base.errors import ReproError
from resnet_repro.spec.run import Run
from resnet_repro.training import checkpoint
from resnet_repro.training.trainer import Trainer
from resnet_repro.training.updates import Updates

RUN = Run.model_validate(
    {
        "network": "resnet-8",
        "dataset": "synthetic",
        "seed": 0,
        "precision": "fp32",
        "recipe": {"iterations": 6, "batch_size": 4, "milestones": [], "evaluate_every": 2},
    }
)


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """The folder of a results folder's only run, which was stopped on its way; two checkpoints."""
    runner = short_runner(tmp_path, small_synthetic(), Quiet(stop_after=9), checkpoint_every=0.0)
    assert runner.run_all([RUN]) == {RUN.id: "stopped"}
    assert len(runner.store.folder(RUN).checkpoints()) == 2
    return runner.store.folder(RUN).path


def no_memory(*_: Any, **__: Any) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


@pytest.mark.parametrize(
    "place", [(Updates, "load"), (Trainer, "__init__"), (torch, "load")], ids=lambda p: p[1]
)
def test_a_lack_of_memory_leaves_the_checkpoints_as_they_are(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: tuple[Any, str]
) -> None:
    before = {path.name: path.read_bytes() for path in stopped.glob("checkpoint*")}
    with monkeypatch.context() as patch:
        patch.setattr(*place, no_memory)
        with pytest.raises(ReproError, match="not enough memory"):
            short_runner(tmp_path, small_synthetic()).run_all([RUN])
    assert {path.name: path.read_bytes() for path in stopped.glob("checkpoint*")} == before
    assert short_runner(tmp_path, small_synthetic()).run_all([RUN]) == {RUN.id: "done"}


def test_a_newest_checkpoint_that_cannot_be_read_is_named(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = checkpoint.read_regular

    def failing(path: Path, limit: int) -> bytes:
        if path.name == "checkpoint":
            raise OSError(5, "Input/output error", str(path))
        return read(path, limit)

    monkeypatch.setattr(checkpoint, "read_regular", failing)
    quiet = Quiet()
    assert short_runner(tmp_path, small_synthetic(), quiet).run_all([RUN]) == {RUN.id: "done"}
    said = "checkpoint cannot be read (Input/output error), an older one is used"
    assert any(said in note for note in quiet.notes)


@pytest.mark.usefixtures("few_synthetic")
def test_what_cannot_be_measured_for_want_of_weights_ends_with_1(
    command: Any, tmp_path: Path
) -> None:
    for measure in ("[]", "[responses]"):
        text = tiny_experiment("synthetic", 4, 2, measure=measure)
        (tmp_path / "tiny.yaml").write_text(text, encoding="utf-8")
        answer = command("run", "tiny.yaml")
        for path in tmp_path.glob("results/runs/*/checkpoint*"):
            path.unlink()
    assert answer.code == 1
    said = "not measured, its weights are not here (there is no checkpoint); bring its checkpoint"
    assert said in answer.err
    (state,) = json.loads(command("run", "tiny.yaml", "--json").out)["runs"].values()
    assert state == "unmeasured"


def test_a_whole_curve_without_a_summary_is_not_trained_over(tmp_path: Path) -> None:
    """As after a copy that was cut off; measurements of the old weights would stay beside it."""
    runner = short_runner(tmp_path, small_synthetic())
    assert runner.run_all([RUN]) == {RUN.id: "done"}
    folder = runner.store.folder(RUN)
    for path in (*folder.path.glob("checkpoint*"), folder.summary):
        path.unlink()
    curve, quiet = folder.curve.read_bytes(), Quiet()
    assert short_runner(tmp_path, small_synthetic(), quiet).run_all([RUN]) == {RUN.id: "failed"}
    said = f"{RUN.id}: summary.json is missing; train it again: resnet-repro run {folder.config}"
    assert any(note.startswith(said) for note in quiet.notes)
    assert folder.curve.read_bytes() == curve
