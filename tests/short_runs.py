"""Runs inside the test's process: on a few synthetic images, followed by nobody."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from resnet_repro.data import datasets
from resnet_repro.data.dataset import Dataset
from resnet_repro.data.synthetic import generate
from resnet_repro.runner.options import Options
from resnet_repro.runner.runner import Runner
from resnet_repro.store.store import Store
from resnet_repro.training.trainer import Trainer


def small_synthetic(train: int = 100, test: int = 30) -> Dataset:
    """The first images of `synthetic`."""
    whole = generate()
    return dataclasses.replace(
        whole,
        train_images=whole.train_images[:train],
        train_labels=whole.train_labels[:train],
        test_images=whole.test_images[:test],
        test_labels=whole.test_labels[:test],
    )


def serving(dataset: Dataset) -> Callable[..., Any]:
    """`datasets.load` whose synthetic images are these; other data sets stay as they are."""
    load = datasets.load
    return lambda name, *more, **options: (
        dataset if name == "synthetic" else load(name, *more, **options)
    )


class Quiet:
    """Progress that keeps its notes, and a stop flag that is set after so many questions."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after, self.asked = stop_after, 0
        self.notes: list[str] = []

    @property
    def reason(self) -> str | None:
        self.asked += 1
        return "signal" if self.stop_after is not None and self.asked > self.stop_after else None

    def note(self, text: str) -> None:
        self.notes.append(text)

    news = note
    started = advanced = ended = lambda *_: None


class KeepGoing:
    """Hooks that never stop a training, or after `stop_at` iterations, and remember the rates."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at, self.done = stop_at, 0
        self.rates: list[float | None] = []

    def should_stop(self) -> bool:
        return self.done == self.stop_at

    def on_iteration(self, trainer: Trainer) -> None:
        self.done = trainer.iteration
        self.rates.append(trainer.updates.rate)

    def on_point(self, trainer: Trainer) -> None:
        pass


def short_runner(
    root: Path, dataset: Dataset | None, quiet: Quiet | None = None, **options: Any
) -> Runner:
    """A runner on the CPU whose synthetic images are these."""
    told: Any = quiet or Quiet()
    chosen = Options(**{"data_dir": root / "data", "device": "cpu"} | options)
    runner = Runner(Store(root), chosen, told, told)
    if dataset is not None:
        runner.sources.datasets["synthetic"] = dataset
    return runner
